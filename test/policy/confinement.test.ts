import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { readConfig } from '../../src/config.ts';
import { PolicyInvalid } from '../../src/policy/diagnostics.ts';
import { confined, type Run } from '../../src/policy/opa/child.ts';
import { eventually } from '../e2e/server.ts';
import { compile, diagnosed, tested, withFolder } from './sources.ts';

/** What an author writes is read by a process that can take little, read nothing else and tell nothing else. */

const SECRET = 'sesame-0001';

/** A schema in an annotation of a rule, by YAML. */
const annotated = (schema: string): string =>
  `package authz.x\n\n# METADATA\n# scope: rule\n# schemas:\n#   - input: ${schema}\nx if input.subject.id == "a"\n`;

describe('a schema in an annotation', () => {
  const foreign: Record<string, string> = {
    'that is a file': '{"$ref": "file:///dev/zero"}',
    'that is another file': '{"$ref": "file:///etc/passwd#/a"}',
    'that is a host': '{"$ref": "http://127.0.0.1:1/schema.json"}',
    'whose reference is relative to a file': '{"$id": "file:///etc/", "$ref": "passwd"}',
    'whose old id is a file': '{"id": "file:///etc/passwd", "properties": {"a": {"$ref": "#/b"}}}',
    'whose draft is a host': '{"$schema": "http://127.0.0.1:1/draft", "type": "object"}',
    'that says so deep within':
      '{"type": "object", "properties": {"a": {"items": [{"$ref": "file:///dev/zero"}]}}}',
    'that says so in escapes': '{"\\u0024r\\x65f": "fi\\u006ce:///dev/zero"}',
    'that says so in blocks': '\n#       $ref: >-\n#         file:///dev/zero',
    'that says so by an alias': '{"a": &f "file:///dev/zero", "$ref": *f}',
  };

  test.concurrent.each(Object.keys(foreign))('%s is refused, and not looked at', async (name) => {
    const found = await diagnosed({ 'x.rego': annotated(foreign[name] ?? '') });
    expect(found).toMatchObject([{ file: 'x.rego' }]);
    expect(found[0]?.message).toMatch(/names nothing outside itself/);
  });

  test('is refused in a test, and of a whole package', async () => {
    const rego = `# METADATA\n# scope: package\n# schemas:\n#   - input: {"$ref": "file:///dev/zero"}\npackage authz_test\n\ntest_x if true\n`;
    await withFolder(
      { 'a.rego': 'package authz\n\nallow := true\n', 'x_test.rego': rego },
      async (folder) => {
        await expect(tested(folder)).rejects.toThrow(/names nothing outside itself/);
      },
    );
    expect(await diagnosed({ 'x.rego': rego.replace('authz_test', 'authz.x') })).toMatchObject([
      { file: 'x.rego', message: expect.stringContaining('file:///dev/zero') as string },
    ]);
  });

  test('that refers to itself and to a draft is checked by', async () => {
    const own =
      '{"$schema": "http://json-schema.org/draft-07/schema#", "definitions": {"s": {"type": "object", "properties": {"id": {"type": "string"}}}}, "type": "object", "properties": {"subject": {"$ref": "#/definitions/s"}}}';
    expect(await diagnosed({ 'x.rego': annotated(own) })).toEqual([]);
    const [found] = await diagnosed({ 'x.rego': annotated(own).replace('subject.id', 'subject.name') });
    expect(found).toMatchObject({ file: 'x.rego', line: 7 });
  });

  test('reaches no host and shows nothing of a file, whatever else may become of it', async () => {
    let asked = 0;
    const server = createServer((_, response) => {
      asked += 1;
      response.end('{}');
    }).listen(0, '127.0.0.1');
    const folder = await mkdtemp(path.join(tmpdir(), 'mandate-secret-'));
    try {
      await writeFile(path.join(folder, 'secret'), `${SECRET}\n`);
      const { port } = server.address() as { port: number };
      for (const target of [`http://127.0.0.1:${port}/a`, `file://${folder}/secret`])
        for (const file of ['x.rego', 'x_test.rego'])
          await withFolder(
            { 'a.rego': 'package authz\n\nallow := true\n', [file]: annotated(`{"$ref": "${target}"}`) },
            async (place) => {
              const said = await tested(place).then(JSON.stringify, String);
              expect(said).not.toContain(SECRET.slice(0, 4));
            },
          );
      expect(asked).toBe(0);
    } finally {
      server.close();
      await rm(folder, { recursive: true });
    }
  });
});

const runOpa = (opa: string, folder: string, args: readonly string[]): Promise<Run> =>
  confined(opa, folder, (run) => run(args));

describe('the process that compiles', () => {
  const { opa } = readConfig({ MANDATE_OPA: process.env['MANDATE_OPA'] });

  /** What a program in the compiler's place finds. */
  const found = async (script: string): Promise<string> => {
    const folder = await mkdtemp(path.join(tmpdir(), 'mandate-child-'));
    try {
      const program = path.join(folder, 'opa');
      await writeFile(program, `#!/bin/sh\n${script}\n`);
      await chmod(program, 0o700);
      return (await runOpa(program, folder, [])).stdout;
    } finally {
      await rm(folder, { recursive: true });
    }
  };

  test('is bounded in memory, processor time, files and their size', async () => {
    const limits = await found('ulimit -v; ulimit -t; ulimit -f; ulimit -n; ulimit -c; ulimit -H -v');
    const [memory = '', processor, size, files, core, hard] = limits.trim().split('\n');
    expect(Number(memory)).toBeLessThanOrEqual(4 * 1024 * 1024);
    expect(hard).toBe(memory);
    expect(Number(processor)).toBeLessThanOrEqual(60);
    expect(Number(size)).toBeLessThanOrEqual(262_144);
    expect([files, core]).toEqual(['256', '0']);
  });

  test('has nothing of this one’s environment, nor of its open files', async () => {
    const names = (await found('env | cut -d= -f1; ls /proc/self/fd')).trim().split('\n');
    const own = Object.keys(process.env).filter((name) => !['PWD', '_', 'SHLVL', 'OLDPWD'].includes(name));
    expect(names.filter((name) => own.includes(name))).toEqual([]);
    // Input, output, errors, and the folder that is listed.
    expect(names.filter((name) => /^\d+$/.test(name)).length).toBeLessThanOrEqual(5);
  });

  test('ends when it wants more memory than it may have, and the message says so', async () => {
    const greedy = withFolder({ 'x.rego': annotated('{"$ref": "file:///dev/zero"}') }, (folder) =>
      runOpa(opa, folder, ['check', 'x.rego']),
    );
    await expect(greedy).rejects.toMatchObject({
      code: 'policy_invalid',
      message: 'the policy takes more time or memory to compile than it may',
    });
  });

  test('does not outlive what it was run for', async () => {
    const folder = await mkdtemp(path.join(tmpdir(), 'mandate-child-'));
    try {
      const program = path.join(folder, 'opa');
      await writeFile(
        program,
        `#!/bin/sh\n[ $1 = fails ] && exit 126\necho $$ >${folder}/pid\nexec sleep 600\n`,
      );
      await chmod(program, 0o700);
      const pid = async (): Promise<number> =>
        Number(await readFile(path.join(folder, 'pid'), 'utf8').catch(() => ''));
      const work = confined(program, folder, async (run) => {
        const slow = run(['sleeps']);
        slow.catch(() => undefined);
        await eventually(pid, (found) => found > 0);
        await run(['fails']);
      });
      await expect(work).rejects.toMatchObject({ code: 'unavailable' });
      const slept = await pid();
      await eventually(
        () => Promise.resolve(isAlive(slept)),
        (alive) => !alive,
      );
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  test('that cannot be run is the machine’s fault, not the policy’s', async () => {
    await expect(runOpa('/nonexistent/opa', tmpdir(), ['version'])).rejects.toMatchObject({
      code: 'unavailable',
    });
    await expect(runOpa(opa, '/nonexistent', ['version'])).rejects.toMatchObject({ code: 'unavailable' });
  });
});

const isAlive = (pid: number): boolean => {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
};

describe('Rego that is nested deeply', () => {
  test.concurrent.each([
    ['in arrays', `x := ${'['.repeat(2_000)}${']'.repeat(2_000)}`],
    ['in arrays, beyond the parser', `x := ${'['.repeat(200_000)}${']'.repeat(200_000)}`],
  ])('%s is refused as a mistake', async (_name, rule) => {
    const compiled = compile({ 'deep.rego': `package authz.x\n\n${rule}\n` });
    await expect(compiled).rejects.toMatchObject({ code: 'policy_invalid' });
  });
});

describe('sources', () => {
  test('of a megabyte compile, and of more are refused by name', async () => {
    const rules = (bytes: number, name: string): string => {
      let text = `package authz.${name}\n\n`;
      for (let n = 0; text.length < bytes; n += 1) text += `r${n} if input.subject.id == "u${n}"\n`;
      return text;
    };
    expect((await compile({ 'big.rego': rules(250_000, 'big') })).files).toContain('big.rego');
    for (const name of ['two.rego', 'two_test.rego'])
      await expect(
        compile({ 'one.rego': rules(600_000, 'one'), [name]: rules(600_000, 'two') }),
      ).rejects.toSatisfy(
        (error) =>
          error instanceof PolicyInvalid &&
          error.message === `${name}: more than 1048576 bytes of Rego in all`,
      );
  });
});
