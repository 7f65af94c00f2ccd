import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import net, { type AddressInfo } from 'node:net';
import path from 'node:path';
import { expect, test } from 'vitest';
import { eventually, startIn, startServer } from '../e2e/server.ts';
import { at, mandate } from './run.ts';

/** `mandate audit tail` has no end of its own: it says which other end it came to. */

const CHECK = ['check', '-t', 'acme', '-s', 'user:alice', '-a', 'document.read', '-r', 'document:roadmap'];
const TAIL = ['audit', 'tail', '-t', 'acme', '--from', '0'];

test('outlasts --timeout, and says so when the server stops', async () => {
  await using server = await startServer();
  const tailing = mandate(['--timeout', '1', '--admin', server.admin, ...TAIL]);
  await at(server)(...CHECK);
  await new Promise((resolve) => setTimeout(resolve, 2_000));
  await at(server)(...CHECK);
  await server.stop();
  const { code, stdout, stderr } = await tailing;
  expect({ code, stderr }).toEqual({
    code: 2,
    stderr: `mandate: unavailable: the server at ${server.admin} stopped; there may be more records\n`,
  });
  expect(stdout.match(/ decision /g)).toHaveLength(2);
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
  const tailing = mandate(['--admin', server.admin, ...TAIL]);
  await new Promise((resolve) => setTimeout(resolve, 2_000));
  await server.stop();
  const { stdout, stderr } = await tailing;
  expect(stderr).toMatch(
    /^mandate: record \d+ is not there: archived or removed \(.*\), or damaged\nmandate: unavailable: /,
  );
  expect(stdout.match(/ decision /g)).toHaveLength(2);
});

/** Beside them there are records of the tail itself, and of the server. */
const decisions = <T extends { kind: string }>(lines: readonly T[]): T[] =>
  lines.filter(({ kind }) => kind === 'decision');

test('with --follow goes on after the server was away, with no record left out or twice', async () => {
  const first = await startServer();
  const port = Number(new URL(first.admin).port);
  const tailing = spawnTail(first.admin);
  try {
    // It takes its time to connect, and begins with what comes then.
    for (let turn = 0; turn < 20 && decisions(tailing.lines()).length < 3; turn += 1)
      await at(first)(...CHECK);
    await tailing.until((lines) => decisions(lines).length >= 3);
    const seen = decisions(tailing.lines()).length;
    await first.stop();
    await tailing.until(() => tailing.stderr().includes('connecting again'));
    await using second = await startIn(first.folder, { overrides: { admin: `127.0.0.1:${port}` } });
    for (let turn = 0; turn < 3; turn += 1) await at(second)(...CHECK);
    const lines = await tailing.until((all) => decisions(all).length >= seen + 3);
    const indexes = lines.map(({ index }) => index);
    expect(indexes).toEqual(indexes.map((_, n) => (indexes[0] ?? 0) + n));
  } finally {
    tailing.child.kill('SIGKILL');
  }
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

/** A tail that goes on until it is killed. */
function spawnTail(admin: string) {
  const args = ['src/cli/mandate.ts', '--json', '--admin', admin, 'audit', 'tail', '-t', 'acme', '--follow'];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  let [stdout, stderr] = ['', ''];
  child.stdout.on('data', (chunk: Buffer) => {
    stdout += chunk.toString();
  });
  child.stderr.on('data', (chunk: Buffer) => {
    stderr += chunk.toString();
  });
  const lines = () =>
    stdout
      .split('\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line) as { index: number; record: { kind: string } })
      .map(({ index, record: { kind } }) => ({ index, kind }));
  return {
    child,
    lines,
    stderr: () => stderr,
    until: (holds: (all: ReturnType<typeof lines>) => boolean) =>
      eventually(() => Promise.resolve(lines()), holds),
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
