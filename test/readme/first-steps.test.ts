import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Running, startServer } from '../e2e/server.ts';
import { patternOf, stepsIn } from './steps.ts';

const repository = path.resolve(import.meta.dirname, '../..');
const MARK = '==== next ====';

let server: Running;

beforeAll(async () => {
  server = await startServer();
});

afterAll(async () => {
  await server[Symbol.asyncDispose]();
});

test("the README's first steps, pasted into a shell, give the output they show", async () => {
  const page = await readFile(path.join(repository, 'README.md'), 'utf8');
  const [, block = ''] = page.split(/<!-- first-steps:(?:begin|end) -->/);
  const steps = stepsIn(block);
  expect(steps.length).toBeGreaterThan(10);
  const script = steps.map(({ command }) => `${command}\necho '${MARK}'`).join('\n');
  const { stdout } = await promisify(execFile)(
    'bash',
    ['-c', script.replaceAll('http://127.0.0.1:7400', server.data)],
    {
      cwd: repository,
      env: { ...process.env, MANDATE_DATA_URL: server.data, MANDATE_ADMIN_URL: server.admin },
      timeout: 290_000,
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
}, 300_000);
