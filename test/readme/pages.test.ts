import { execFile } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { readConfig } from '../../src/config.ts';
import { type Mandate, start } from '../../src/main.ts';
import { freePort } from '../../tools/fleet/ports.ts';
import { patternOf, stepsIn } from './steps.ts';

/** The pages under docs/, and of the examples: their commands, their links, and their tables of what is configured. */

const repository = path.resolve(import.meta.dirname, '../..');
const MARK = '==== ended with';

const textOf = (file: string): Promise<string> => readFile(path.join(repository, file), 'utf8');
const pages = new Map<string, string>();
for (const name of [
  'README.md',
  'examples/mcp-server/README.md',
  ...(await readdir(path.join(repository, 'docs'))).map((each) => `docs/${each}`),
])
  pages.set(name, await textOf(name));

let folder: string;
let server: Mandate;

/** As `make run` does it. */
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'mandate-pages-'));
  server = await start(
    readConfig(
      {},
      {
        dev: true,
        tenants: [path.join(repository, 'policies/acme')],
        data_dir: folder,
        data: '127.0.0.1:0',
        admin: '127.0.0.1:0',
        log_level: 'silent',
      },
    ),
  );
});

afterAll(async () => {
  await server[Symbol.asyncDispose]();
  await rm(folder, { recursive: true });
});

describe('commands', () => {
  const withSteps = [...pages].filter(
    ([name, text]) => name !== 'README.md' && name !== 'docs/fleet.md' && stepsIn(text).length > 0,
  );

  test('stand on most pages', () => {
    expect(withSteps.length).toBeGreaterThan(5);
  });

  test.for(withSteps)(
    'of %s, pasted into a shell, give the output they show',
    { timeout: 300_000 },
    async ([, page]) => {
      const steps = stepsIn(page);
      const [data, admin] = [server.dataPort, server.adminPort].map((port) => `http://127.0.0.1:${port}`);
      const ports = new Map([
        ['7400', server.dataPort],
        ['7401', server.adminPort],
        ['7500', await freePort()],
        ['7501', await freePort()],
      ]);
      const script = steps.map(({ command }) => `${command}\nprintf '\n${MARK} %s\n' $?`).join('\n');
      const { stdout } = await promisify(execFile)(
        'bash',
        [
          '-c',
          // A terminal shows what goes wrong, too.
          `exec 2>&1\n${script}`.replaceAll(
            /(?<=127\.0\.0\.1:)(7\d{3})/g,
            (port) => `${ports.get(port) ?? port}`,
          ),
        ],
        {
          cwd: repository,
          env: { ...process.env, MANDATE_DATA_URL: data, MANDATE_ADMIN_URL: admin },
          timeout: 290_000,
        },
      );
      const answers = stdout.split(new RegExp(`\n${MARK} (\\d+)\n`));
      for (const [at, { command, output }] of steps.entries()) {
        const lines = (answers[2 * at] ?? '').split('\n').filter((line) => line !== '');
        if (output.length === 0) {
          // What it prints is left out on the page: it did what it says.
          expect(answers[2 * at + 1], command).toBe('0');
          continue;
        }
        expect(lines, command).toHaveLength(output.length);
        for (const [index, expected] of output.entries())
          expect(lines[index], command).toMatch(patternOf(expected));
      }
    },
  );
});

describe('links', () => {
  test.for([...pages])('of %s lead somewhere', async ([name, page]) => {
    const folders = new Map<string, readonly string[]>();
    for (const [, target = ''] of page.matchAll(/\]\(([^)\s]+)\)/g)) {
      // Specifications, by their permanent names.
      if (target.startsWith('https://c2sp.org/')) continue;
      const [file = '', anchor] = target.split('#');
      const to = file === '' ? name : path.join(path.dirname(name), file);
      const parent = path.dirname(to);
      if (!folders.has(parent)) folders.set(parent, await readdir(path.join(repository, parent)));
      expect(folders.get(parent), target).toContain(path.basename(to));
      if (anchor !== undefined) expect(anchorsIn(pages.get(to) ?? ''), target).toContain(anchor);
    }
  });
});

/** Of headings, as forges make them. */
const anchorsIn = (page: string): string[] =>
  [...page.matchAll(/^#+ (.*)$/gm)].map(([, heading = '']) =>
    heading
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-'),
  );

describe('tables', () => {
  test('of docs/operators.md have every member of the configuration', async () => {
    const members = membersIn(await textOf('src/config.ts'), 'const schema = z.strictObject({');
    expect(members.length).toBeGreaterThan(20);
    expect(
      firstCells(pages.get('docs/operators.md') ?? '', 'Configuration')
        .slice(0, members.length)
        .sort(),
    ).toEqual(members.sort());
  });

  test.for([
    ['const manifest = z.strictObject({', 'tenant.yaml'],
    ['const principal = z.strictObject({', 'Principals'],
  ])('of docs/authors.md have every member of what begins with %s', async ([declared = '', section = '']) => {
    const members = membersIn(await textOf('src/tenancy/manifest.ts'), declared);
    expect(members.length).toBeGreaterThan(7);
    expect(firstCells(pages.get('docs/authors.md') ?? '', section).sort()).toEqual(members.sort());
  });
});

/** The members of a schema, at the first level of its declaration. */
const membersIn = (source: string, declared: string): string[] => {
  const body = source.split(declared)[1]?.split(/^\}\)/m)[0] ?? '';
  return [...body.matchAll(/^ {2}(\w+)[:,]/gm)].map(([, name = '']) => name);
};

/** What the first cells of the first table of a section name. */
const firstCells = (page: string, section: string): string[] => {
  const text = page.split(new RegExp(`^#+ ${RegExp.escape(section)}$`, 'm'))[1] ?? '';
  const rows =
    text
      .split(/^\|---.*$/m)[1]
      ?.trimStart()
      .split('\n\n')[0]
      ?.split('\n') ?? [];
  return rows.flatMap((row) =>
    [...(row.split('|')[1] ?? '').matchAll(/`(\w+)`/g)].map(([, name = '']) => name),
  );
};
