import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import net, { type AddressInfo } from 'node:net';
import path from 'node:path';
import { expect, test } from 'vitest';
import { freePort } from '../../tools/fleet/ports.ts';
import { eventually, startIn, startServer } from '../e2e/server.ts';
import { at, mandate } from './run.ts';

/** `mandate audit tail` has no end of its own: it says which other end it came to. */

const CHECK = ['check', '-t', 'acme', '-s', 'user:alice', '-a', 'document.read', '-r', 'document:roadmap'];
const TAIL = ['audit', 'tail', '-t', 'acme', '--from', '0'];

test('outlasts --timeout, and says so when the server stops', async () => {
  await using server = await startServer();
  using tailing = spawnTail(['--timeout', '1', '--admin', server.admin, ...TAIL]);
  await at(server)(...CHECK);
  await tailing.until((stdout) => decisionsIn(stdout) > 0);
  await new Promise((resolve) => setTimeout(resolve, 1_100));
  await at(server)(...CHECK);
  await tailing.until((stdout) => decisionsIn(stdout) > 1);
  await server.stop();
  const { code, stdout, stderr } = await tailing.ended;
  expect({ code, stderr }).toEqual({
    code: 2,
    stderr: `mandate: unavailable: the server at ${server.admin} stopped; there may be more records\n`,
  });
  expect(decisionsIn(stdout)).toBe(2);
});

test('passes by a record that is damaged in the store, and says which', async () => {
  const before = await startServer();
  for (let turn = 0; turn < 3; turn += 1) await at(before)(...CHECK);
  await before.stop();
  const file = path.join(before.folder, 'data', 'mandate.db');
  const bytes = readFileSync(file);
  // Of the first of the three; still JSON.
  const place = bytes.indexOf('"id":"roadmap"') + 6;
  bytes[place] = (bytes[place] ?? 0) ^ 1;
  writeFileSync(file, bytes);
  await using server = await startIn(before.folder);
  using tailing = spawnTail(['--admin', server.admin, ...TAIL]);
  await tailing.until((stdout) => decisionsIn(stdout) > 1);
  await server.stop();
  const { stdout, stderr } = await tailing.ended;
  expect(stderr).toMatch(
    /^mandate: record \d+ is not there: archived or removed \(.*\), or damaged\nmandate: unavailable: /,
  );
  expect(decisionsIn(stdout)).toBe(2);
});

/** Beside them there are records of the tail itself, and of the server. */
const decisionsIn = (table: string): number => table.match(/ decision /g)?.length ?? 0;

/** The whole lines of `--json`. */
const linesIn = (stdout: string): { index: number; kind: string }[] =>
  stdout
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line) as { index: number; record: { kind: string } })
    .map(({ index, record: { kind } }) => ({ index, kind }));
const decidedIn = (stdout: string): number =>
  linesIn(stdout).filter(({ kind }) => kind === 'decision').length;

test('with --follow goes on after the server was away, with no record left out or twice', async () => {
  const admin = `127.0.0.1:${await freePort()}`;
  const first = await startServer({ overrides: { admin } });
  const follow = ['--json', '--admin', first.admin, 'audit', 'tail', '-t', 'acme', '--follow'];
  using tailing = spawnTail(follow);
  // It takes its time to connect, and begins with what comes then.
  await eventually(
    async () => {
      await at(first)(...CHECK);
      return decidedIn(tailing.stdout());
    },
    (count) => count >= 3,
  );
  await first.stop();
  await tailing.until(() => tailing.stderr().includes('connecting again'));
  const seen = decidedIn(tailing.stdout());
  await using second = await startIn(first.folder, { overrides: { admin } });
  for (let turn = 0; turn < 3; turn += 1) await at(second)(...CHECK);
  const indexes = linesIn(await tailing.until((stdout) => decidedIn(stdout) >= seen + 3)).map(
    ({ index }) => index,
  );
  expect(indexes).toEqual(indexes.map((_, n) => (indexes[0] ?? 0) + n));
});

test('with --follow ends where it is refused', async () => {
  await using server = await startServer();
  const { code, stderr } = await mandate([
    '--admin',
    server.admin,
    'audit',
    'tail',
    '-t',
    'nowhere',
    '--follow',
  ]);
  expect({ code, stderr }).toEqual({ code: 2, stderr: 'mandate: tenant_unknown: no such tenant\n' });
});

/** A process that tails, and is watched meanwhile. */
function spawnTail(args: readonly string[]) {
  const child = spawn(process.execPath, ['src/cli/mandate.ts', ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let [stdout, stderr] = ['', ''];
  child.stdout.on('data', (chunk: Buffer) => {
    stdout += chunk.toString();
  });
  child.stderr.on('data', (chunk: Buffer) => {
    stderr += chunk.toString();
  });
  const ended = once(child, 'close').then(() => ({ code: child.exitCode, stdout, stderr }));
  return {
    stdout: () => stdout,
    stderr: () => stderr,
    ended,
    until: (holds: (stdout: string) => boolean) => eventually(() => Promise.resolve(stdout), holds),
    [Symbol.dispose]: () => void child.kill('SIGKILL'),
  };
}

test('says that the connection broke off', async () => {
  await using server = await startServer();
  await at(server)(...CHECK);
  await using cable = await cableTo(server.admin);
  const { code, stderr } = await mandate(['--admin', cable.address, ...TAIL]);
  expect({ code, stderr }).toEqual({
    code: 2,
    stderr: `mandate: unavailable: the connection to ${cable.address} broke off\n`,
  });
});

/** A way to the server that is cut half a second after its first answer. */
async function cableTo(server: string): Promise<AsyncDisposable & { readonly address: string }> {
  const { port, hostname } = new URL(server);
  const ends = new Set<net.Socket>();
  const cable = net.createServer((near) => {
    const far = net.connect(Number(port), hostname);
    near.pipe(far).pipe(near);
    for (const end of [near, far]) ends.add(end.on('error', () => {}));
    far.once('data', () => setTimeout(() => near.destroy(), 500));
  });
  await once(cable.listen(0, '127.0.0.1'), 'listening');
  return {
    address: `http://127.0.0.1:${(cable.address() as AddressInfo).port}`,
    [Symbol.asyncDispose]: async () => {
      for (const end of ends) end.destroy();
      await new Promise((resolve) => cable.close(resolve));
    },
  };
}
