import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect, test } from 'vitest';
import { parseVkey, type VerifierKey, vkeyOf } from '../../src/merkle/keys.ts';
import { isNoteOf, parseNote } from '../../src/merkle/note.ts';
import { behaving, goodOf, type Peer } from '../audit/witnessed-store.ts';
import { audit } from '../cli/within.ts';
import { MemoryState } from '../merkle/witnessed.ts';
import { isProved, keyOf, receiptOf, stated } from './log-by-hand.ts';
import { aliceReads, check, connect, request } from './requests.ts';
import { checkpointStored, decide, decideOne, fileOf } from './served-log.ts';
import { bearer, eventually, type Running, secrets, startIn, startServer } from './server.ts';

/** A server whose logs witnesses sign: what they signed is what strangers are shown, and nobody waits for them. */

interface Described {
  readonly key: string;
  readonly checkpoint: string;
}

const described = async (server: Running): Promise<Described> =>
  (await connect<Described>(server.admin, 'AuditService/DescribeLog', { tenant: 'acme' })).body;

const receipt = async (server: Running, index: number): Promise<string> =>
  (await connect<{ proof: string }>(server.admin, 'AuditService/Receipt', { tenant: 'acme', index })).body
    .proof;

const signersOf = (note: string, peers: readonly Peer[]): string[] =>
  peers.filter(({ key }) => isNoteOf(parseNote(note), key)).map(({ key }) => key.name);

/** The checkpoint that is served, as soon as these have signed it and it covers so much. */
async function witnessed(server: Running, peers: readonly Peer[], size: number): Promise<string> {
  const { text } = await eventuallySlow(
    async () => {
      const { status, bytes } = await fileOf(server, 'checkpoint');
      const text = bytes.toString();
      const isThere =
        status === 200 && stated(text).size >= size && signersOf(text, peers).length === peers.length;
      return { text, isThere };
    },
    ({ isThere }) => isThere,
  );
  return text;
}

/** Witnesses are asked each ten seconds. */
async function eventuallySlow<T>(ask: () => Promise<T>, good: (value: T) => boolean): Promise<T> {
  for (let turn = 0; ; turn += 1)
    try {
      return await eventually(ask, good);
    } catch (error) {
      if (turn === 2) throw error;
    }
}

const readiness = async (server: Running): Promise<string> =>
  (await request<{ text: string }>(`${server.admin}/readyz?verbose`)).body.text;

test('two sign and one is silent; a stop, and a witness that has seen more than the store', async () => {
  const logs: VerifierKey[] = [];
  const state = new MemoryState();
  const one = await goodOf('w.example/1', logs);
  const two = await goodOf('w.example/2', logs, state);
  const silent = await behaving('w.example/silent', () => undefined);
  await using _ = new AsyncDisposableStack();
  for (const each of [one, two, silent]) _.use(each);
  const asked = (peers: readonly Peer[]) => ({
    overrides: { witnesses: peers.map(({ key, url }) => ({ key: vkeyOf(key), url })) },
  });
  await using server = await startServer(asked([one, two, silent]));
  const { key } = await described(server);
  logs.push(parseVkey(key));
  await decide(server, 300);

  // Whatever the witnesses do, whoever asks is answered.
  let slowest = 0;
  const over = new AbortController();
  const asking = (async () => {
    while (!over.signal.aborted) {
      const began = performance.now();
      expect((await check(server.data, aliceReads, bearer(secrets.api))).status).toBe(200);
      slowest = Math.max(slowest, performance.now() - began);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  })();
  const note = await witnessed(server, [one, two], 300);
  over.abort();
  await asking;
  expect(slowest).toBeLessThan(2_000);
  expect(signersOf(note, [one, two, silent])).toEqual(['w.example/1', 'w.example/2']);
  expect((await described(server)).checkpoint).toBe((await fileOf(server, 'checkpoint')).bytes.toString());

  const proof = await receipt(server, 0);
  expect(isProved(receiptOf(proof), keyOf(key))).toBe(true);
  expect(signersOf(proof.split('\n\n').slice(1).join('\n\n'), [one, two])).toHaveLength(2);
  await expectProofs(server, key, proof, [one, two, silent]);

  // A record that they have not seen yet has a receipt by the log alone.
  const { index } = await decideOne(server);
  const newest = await eventually(
    () => receipt(server, index),
    (text) => text !== undefined,
  );
  expect(isProved(receiptOf(newest), keyOf(key))).toBe(true);
  expect(await readiness(server)).toBe('ready\n');
  await server.stop();

  // A start is a record, so that what was stated last is signed, too. The second one has seen more by then.
  const last = stated(checkpointStored(server.folder));
  state.update(last.origin, () => ({ size: last.size + 50, root: last.root }));
  const again = await startIn(server.folder, asked([one, two]));
  try {
    const after = await witnessed(again, [one], last.size);
    expect(signersOf(after, [one, two])).toEqual(['w.example/1']);
    const said = await eventually(
      () => readiness(again),
      (text) => text.includes('has seen'),
    );
    expect(said.startsWith('ready\n')).toBe(true);
    expect(said).toContain(
      `tenant acme: its log is not the one of its checkpoint of ${last.size + 50} records: w.example/2 has seen that one, and the store ends with`,
    );
    // It has no proof: nobody is refused for what it says.
    expect((await check(again.data, aliceReads, bearer(secrets.api))).status).toBe(200);
  } finally {
    await again.stop();
  }
});

/** By policies that ask for one, for two and for all three of them. */
async function expectProofs(
  server: Running,
  key: string,
  proof: string,
  peers: readonly Peer[],
): Promise<void> {
  const folder = await mkdtemp(path.join(tmpdir(), 'mandate-policy-'));
  try {
    const file = path.join(folder, 'receipt.tlog-proof');
    await writeFile(file, proof);
    const lines = peers.map((peer, at) => `witness w${at} ${vkeyOf(peer.key)}`);
    for (const [quorum, code] of [
      ['w0', 0],
      ['any', 0],
      ['2', 0],
      ['all', 1],
      ['w2', 1],
    ] as const) {
      const policy = path.join(folder, 'policy');
      const group = quorum.startsWith('w') ? [] : [`group g ${quorum} w0 w1 w2`];
      const named = group.length === 0 ? quorum : 'g';
      await writeFile(policy, [`log ${key}`, ...lines, ...group, `quorum ${named}`, ''].join('\n'));
      for (const what of [file, `${server.admin}/t/acme/log/main`]) {
        const ran = await audit('verify', what, '--policy', policy);
        expect([quorum, what, ran.code], ran.stdout + ran.stderr).toEqual([quorum, what, code]);
      }
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
