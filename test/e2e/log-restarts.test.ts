import { rm } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { verifyConsistency } from '../../src/merkle/proofs.ts';
import { consistencyProof, type TileHashes } from '../../src/merkle/tree.ts';
import { logIn } from '../fault/log.ts';
import { type ServeProcess, serveProcess } from '../fault/process.ts';
import { isProved, isSigned, keyOf, receiptOf, type Stated, stated, treeOf } from './log-by-hand.ts';
import { aliceReads, check, connect } from './requests.ts';
import { checkpointOf, checkpointStored, decide, decideOne, leavesOf } from './served-log.ts';
import { bearer, eventually, type Running, secrets, startIn, startServer } from './server.ts';

/** What a log states of itself before the server stops, and after: however it stops, one is the beginning of the other. */

type Planes = Pick<Running, 'admin' | 'data'>;

const keyServed = async (server: Planes): Promise<string> =>
  (await connect<{ key: string }>(server.admin, 'AuditService/DescribeLog', { tenant: 'acme' })).body.key;

/** Level 0 as it was served, for the proofs of `src/merkle`; the levels above are counted out. */
const tilesOver = (leaves: readonly Buffer[]): TileHashes => ({
  read: (level, from, end) => {
    const unit = 256 ** level;
    const hashes = Array.from({ length: end - from }, (_, n) =>
      treeOf(leaves.slice((from + n) * unit, (from + n + 1) * unit)),
    );
    return Buffer.concat(hashes);
  },
});

async function expectGrown(server: Planes, older: Stated): Promise<Stated> {
  const newer = stated(await checkpointOf(server, older.size + 1));
  const leaves = await leavesOf(server, newer.size);
  expect(treeOf(leaves)).toEqual(newer.root);
  expect(treeOf(leaves.slice(0, older.size))).toEqual(older.root);
  const proof = consistencyProof(tilesOver(leaves), older.size, newer.size);
  expect(verifyConsistency(older.size, newer.size, older.root, newer.root, proof)).toBe(true);
  return newer;
}

test('a server that starts again, on another port, goes on with the same log, origin and key', async () => {
  const first = await startServer();
  try {
    await decide(first, 300);
    const before = stated(await checkpointOf(first, 300));
    const key = await keyServed(first);
    await first.stop();
    const again = await startIn(first.folder);
    expect(again.admin).not.toBe(first.admin);
    expect(await keyServed(again)).toBe(key);
    // Of what came before it, without a record since.
    expect(stated(await checkpointOf(again, before.size)).origin).toBe(before.origin);
    await decide(again, 300);
    const after = await expectGrown(again, before);
    expect([after.origin, isSigned(after, keyOf(key))]).toEqual([before.origin, true]);
    await again.stop();
  } finally {
    await rm(first.folder, { recursive: true, force: true });
  }
});

test('the last records before a graceful stop are covered by a checkpoint in the store', async () => {
  await using server = await startServer();
  await decide(server, 20);
  const { index } = await decideOne(server);
  await server.stop();
  const { size } = stated(checkpointStored(server.folder));
  expect(size).toBe(logIn(`${server.folder}/data`).length);
  expect(size).toBeGreaterThan(index);
});

test('so they are where no checkpoint was made before the stop', async () => {
  await using server = await startServer();
  const { index } = await decideOne(server);
  await server.stop();
  expect(stated(checkpointStored(server.folder)).size).toBeGreaterThan(index);
});

test('after SIGKILL the checkpoint catches up, and what was answered is in the tree', async () => {
  await using server = await serveProcess();
  await decide(server, 200);
  const before = stated(await checkpointOf(server, 200));
  const key = await keyServed(server);
  const answered = load(server);
  await eventually(
    () => Promise.resolve(answered.length),
    (count) => count > 100,
  );
  await server.end('SIGKILL');
  const last = Math.max(...answered.map(({ index }) => index));
  await using again = await serveProcess({ folder: server.folder });
  expect(await keyServed(again)).toBe(key);
  // Nobody asks it anything: it catches up by itself.
  expect(stated(await checkpointOf(again, last + 1)).size).toBeGreaterThan(last);
  await expectGrown(again, before);
  for (const { decisionId, index } of [answered[0], answered.at(-1)].filter((each) => each !== undefined)) {
    const { body } = await connect<{ proof: string }>(again.admin, 'AuditService/Receipt', {
      tenant: 'acme',
      decisionId,
    });
    const receipt = receiptOf(body.proof);
    expect([receipt.index, isProved(receipt, keyOf(key))]).toEqual([index, true]);
  }
});

/** Callers that ask until they get no answer any more; what they were answered. */
function load(server: ServeProcess): { decisionId: string; index: number }[] {
  const answered: { decisionId: string; index: number }[] = [];
  const caller = async (): Promise<void> => {
    for (;;) {
      const answer = await check(server.data, aliceReads, bearer(secrets.api)).catch(() => undefined);
      if (answer?.status !== 200) return;
      const { decisionId, recordIndex } = answer.body;
      answered.push({ decisionId, index: Number(recordIndex) });
    }
  };
  for (let callers = 0; callers < 8; callers += 1) void caller();
  return answered;
}
