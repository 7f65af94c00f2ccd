import { rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { type Receiving, receivingAt } from '../../src/fleet/shipping/remote.ts';
import { NotTaken } from '../../src/fleet/shipping/shipper.ts';
import type { TenantNo } from '../../src/storage/rows.ts';
import { OtherLog } from '../audit/receiving/other-server.ts';
import { aliceReads, check } from '../e2e/requests.ts';
import { eventually } from '../e2e/server.ts';
import { logsAt, problems } from '../fleet/kept.ts';
import { rowOf } from '../storage/store.ts';
import { type ServeProcess, serveProcess } from './process.ts';

/** The thread that verifies other servers' logs ends or hangs: nothing is kept unverified, and all else goes on. */

async function open(stack: AsyncDisposableStack) {
  const authority = stack.use(await serveProcess({ preload: './test/fault/faults.mjs' }));
  const place = { secret: undefined, ca: undefined, cert: undefined, key: undefined };
  const to = stack.use(receivingAt({ url: new URL(authority.admin), ...place }));
  const log = new OtherLog();
  for (let at = 0; at < 20; at += 1) log.entries.push(Buffer.from(rowOf(1 as TenantNo).body));
  return { authority, ship: (from: number, end: number) => shipped(to, log, from, end) };
}

/** How many are kept, or what is said. */
const shipped = (to: Receiving, log: OtherLog, from: number, end: number): Promise<number | string> =>
  to
    .ship(
      { tenant: 'acme', size: log.entries.length, ...log.shipment(from, end) },
      new AbortController().signal,
    )
    .catch((error: unknown) => {
      if (error instanceof NotTaken) return error.message;
      throw error;
    });

const breakIn = (server: ServeProcess, fault: string): Promise<void> =>
  writeFile(path.join(server.folder, fault), '');

const keptAt = async (server: ServeProcess): Promise<string | undefined> =>
  (await logsAt(server)).find(({ node }) => node === 'other')?.kept;

const ENDED = /the thread that verifies .* ended/;

describe.concurrent('the thread that verifies other servers’ logs', () => {
  test('ends: who sends is told, what was kept stays, and the next one goes on from there', async () => {
    await using stack = new AsyncDisposableStack();
    const { authority, ship } = await open(stack);
    expect(await ship(0, 10)).toBe(10);
    await breakIn(authority, 'receiving.end');
    // It may take the same again before it sees the file.
    await eventually(
      () => ship(5, 10),
      (said) => typeof said === 'string' && ENDED.test(said),
    );
    expect(await problems(authority)).toMatch(ENDED);
    expect(await ship(10, 20)).toMatch(ENDED);
    expect((await check(authority.data, aliceReads)).status).toBe(200);
    expect(await keptAt(authority)).toBe('10');
    await rm(path.join(authority.folder, 'receiving.end'));
    // A while after it ended another is started.
    await eventually(
      () => delay(50).then(() => ship(10, 20)),
      (said) => said === 20,
    );
    expect(await problems(authority)).not.toMatch(ENDED);
    expect(await keptAt(authority)).toBe('20');
  });

  test('hangs: who waits is told, decisions go on, and the process ends when it is to', async () => {
    await using stack = new AsyncDisposableStack();
    const { authority, ship } = await open(stack);
    expect(await ship(0, 10)).toBe(10);
    await breakIn(authority, 'receiving.hang');
    const said = await eventually(
      () => ship(5, 10),
      (each) => each !== 10,
    );
    expect(said).toMatch(ENDED);
    expect((await check(authority.data, aliceReads)).status).toBe(200);
    expect(await keptAt(authority)).toBe('10');
    expect(await authority.end('SIGTERM')).toEqual({ code: 0, signal: null });
  });
});
