import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Running, startServer } from '../e2e/server.ts';

const repository = path.resolve(import.meta.dirname, '../..');
const MARK = '==== next ====';

interface Step {
  readonly command: string;
  readonly output: readonly string[];
}

let server: Running;

beforeAll(async () => {
  server = await startServer();
});

afterAll(async () => {
  await server[Symbol.asyncDispose]();
});

test("the README's first steps, pasted into a shell, give the output they show", async () => {
  const steps = stepsIn(await readFile(path.join(repository, 'README.md'), 'utf8'));
  expect(steps.length).toBeGreaterThan(10);
  const script = steps.map(({ command }) => `${command}\necho '${MARK}'`).join('\n');
  const { stdout } = await promisify(execFile)(
    'bash',
    ['-c', script.replaceAll('http://127.0.0.1:7400', server.data)],
    {
      cwd: repository,
      env: { ...process.env, MANDATE_DATA_URL: server.data, MANDATE_ADMIN_URL: server.admin },
      timeout: 50_000,
    },
  );
  const outputs = stdout.split(`${MARK}\n`);
  for (const [at, { command, output }] of steps.entries()) {
    const lines = (outputs[at] ?? '')
      .trimEnd()
      .split('\n')
      .filter((line) => line !== '');
    expect(lines, command).toHaveLength(output.length);
    for (const [index, expected] of output.entries())
      expect(lines[index], command).toMatch(patternOf(expected));
  }
});

/** Commands begin with `$ `; the lines after one are its output. */
function stepsIn(readme: string): Step[] {
  const block = readme.split('<!-- first-steps:begin -->')[1]?.split('<!-- first-steps:end -->')[0] ?? '';
  const steps: { command: string; output: string[] }[] = [];
  for (const line of block.split('\n')) {
    if (line.startsWith('```') || line === '') continue;
    if (line.startsWith('$ ')) steps.push({ command: line.slice(2), output: [] });
    else steps.at(-1)?.output.push(line);
  }
  return steps;
}

/** `…` stands for anything, a run of blanks for any other run of blanks. */
const patternOf = (line: string): RegExp =>
  new RegExp(
    `^${line
      .split('…')
      .map((part) =>
        part
          .split(/\s+/)
          .map((word) => RegExp.escape(word))
          .join('\\s+'),
      )
      .join('.*')}$`,
  );
