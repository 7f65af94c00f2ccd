import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';

const room = path.resolve(import.meta.dirname, '../../src/cli/room.ts');
let folder: string;
let script: string;

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'mandate-room-'));
  script = path.join(folder, 'script.mjs');
  await writeFile(
    script,
    `import { startOverWithRoom } from ${JSON.stringify(room)};
     startOverWithRoom(process.env);
     const { pid, execArgv, argv, env } = process;
     console.log(JSON.stringify({ pid, execArgv, args: argv.slice(2), kept: env.KEPT }));`,
  );
});
afterAll(() => rm(folder, { recursive: true, force: true }));

interface Started {
  pid: number;
  execArgv: string[];
  args: string[];
  kept: string;
}

async function start(
  flags: string[],
  env: Record<string, string> = {},
): Promise<Started & { spawned: number }> {
  const child = spawn(process.execPath, [...flags, script, 'serve', '--dev'], {
    env: { KEPT: 'yes', ...env },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let printed = '';
  child.stdout.on('data', (chunk: Buffer) => {
    printed += chunk.toString();
  });
  await once(child, 'close');
  return { ...(JSON.parse(printed) as Started), spawned: child.pid ?? 0 };
}

test('a server starts over once, in place, with room for many requests and all that it was told', async () => {
  const { pid, spawned, execArgv, args, kept } = await start(['--no-warnings']);
  expect(pid).toBe(spawned);
  expect(execArgv).toEqual(['--max-semi-space-size=32', '--no-warnings']);
  expect(args).toEqual(['serve', '--dev']);
  expect(kept).toBe('yes');
});

test("an operator's own size is left alone", async () => {
  expect((await start(['--max-semi-space-size=8'])).execArgv).toEqual(['--max-semi-space-size=8']);
  expect((await start([], { NODE_OPTIONS: '--max-semi-space-size=8' })).execArgv).toEqual([]);
});
