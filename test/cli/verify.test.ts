import { generateKeyPairSync } from 'node:crypto';
import { statSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { SignatureType, type SignerKey, verifierKey, vkeyOf } from '../../src/merkle/keys.ts';
import { cosignatureLine } from '../../src/merkle/note.ts';
import { isProved, keyOf, receiptOf, stated } from '../e2e/log-by-hand.ts';
import { checkpointOf, decide, decideOne } from '../e2e/served-log.ts';
import { type Running, secrets, startServer } from '../e2e/server.ts';
import { BEGUN, type Left, leftStore, SIZE } from './attacked.ts';
import { at, mandate, type Ran } from './run.ts';

/** `mandate audit key`, `checkpoint`, `receipt` and `verify`, as a shell runs them. */

let server: Running;
let left: Left;
let folder: string;
let dev: (...args: string[]) => Promise<Ran>;
beforeAll(async () => {
  [server, left] = await Promise.all([startServer(), leftStore()]);
  dev = at(server);
  folder = path.join(server.folder, 'given');
  await mkdir(folder);
  await decide(server, 300);
  await checkpointOf(server, 302);
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
  await left[Symbol.asyncDispose]();
});

const verify = (...args: string[]): Promise<Ran> => mandate(['audit', 'verify', ...args]);
const json = ({ stdout }: Ran): unknown => JSON.parse(stdout);
const ALARM = 'mandate: what stands there is not what was recorded, or was not recorded by these logs\n';

/** A file in the folder that is given to the command. */
async function file(name: string, text: string | Uint8Array): Promise<string> {
  const place = path.join(folder, name);
  await writeFile(place, text);
  return place;
}

async function keyServed(tenant = 'acme'): Promise<string> {
  return (await dev('audit', 'key', '-t', tenant)).stdout.trim();
}

describe('what a running server is asked', () => {
  test('key prints the verifier key of a log', async () => {
    const [plain, asJson, unknown] = await Promise.all([
      dev('audit', 'key', '-t', 'acme'),
      dev('audit', 'key', '-t', 'acme', '--json'),
      dev('audit', 'key', '-t', 'nowhere'),
    ]);
    expect(plain).toMatchObject({ code: 0, stderr: '' });
    expect(keyOf(plain.stdout.trim()).name).toMatch(/\/t\/acme\/log\/main$/);
    expect(json(asJson)).toEqual({ origin: keyOf(plain.stdout.trim()).name, key: plain.stdout.trim() });
    expect(unknown).toEqual({
      code: 2,
      stdout: '',
      stderr: expect.stringContaining('tenant_unknown') as string,
    });
  });

  test('checkpoint prints what the log states of itself, byte by byte', async () => {
    const [plain, asJson] = await Promise.all([
      dev('audit', 'checkpoint', '-t', 'globex'),
      dev('audit', 'checkpoint', '-t', 'globex', '--json'),
    ]);
    expect(plain).toEqual({ code: 0, stdout: await checkpointOf(server, 1, 'globex'), stderr: '' });
    expect(json(asJson)).toEqual({ checkpoint: plain.stdout });
  });

  test('receipt waits for the checkpoint that covers a decision which was just answered', async () => {
    const { decisionId, index } = await decideOne(server);
    const { code, stdout, stderr } = await dev('audit', 'receipt', decisionId, '-t', 'acme');
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    const receipt = receiptOf(stdout);
    expect([receipt.index, isProved(receipt, keyOf(await keyServed()))]).toEqual([index, true]);
  });

  test('receipt writes a file, or JSON; there is none of a record to come', async () => {
    const place = path.join(folder, '7.tlog-proof');
    const [written, writtenJson, asJson, unknown] = await Promise.all([
      dev('audit', 'receipt', '7', '-t', 'acme', '-o', place),
      dev('audit', 'receipt', '7', '-t', 'acme', '-o', `${place}2`, '--json'),
      dev('audit', 'receipt', '7', '-t', 'acme', '--json'),
      dev('audit', 'receipt', '99999', '-t', 'acme'),
    ]);
    expect(written).toEqual({ code: 0, stdout: `record 7 is proved by ${place}\n`, stderr: '' });
    expect(json(writtenJson)).toEqual({ index: 7, file: `${place}2` });
    expect(json(asJson)).toEqual({ index: 7, proof: expect.stringContaining('index 7\n') as string });
    expect(unknown).toEqual({
      code: 2,
      stdout: '',
      stderr: 'mandate: not_found: the log has no record 99999\n',
    });
    expect(statSync(place).mode & 0o777).toBe(0o600);
    const verified = await verify(place, '--key', await keyServed());
    expect(verified.code).toBe(0);
    expect(verified.stdout).toMatch(/^proved: record 7 of \S+, among \d+\n\{"v":1,.*\}\n$/);
  });
});

describe('verify', () => {
  test('a receipt, by a key or a file with it', async () => {
    const receipt = await file('r.tlog-proof', left.receipt(255));
    const vkey = await file('acme.vkey', `${left.keys.acme}\n`);
    const [byKey, byFile, asJson] = await Promise.all([
      verify(receipt, '--key', left.keys.acme),
      verify(receipt, '--key', vkey),
      verify(receipt, '--key', vkey, '--json'),
    ]);
    expect(byKey).toMatchObject({ code: 0, stderr: '' });
    expect(byFile).toEqual(byKey);
    expect(json(asJson)).toEqual({
      proved: true,
      origin: stated(left.checkpoints.newest).origin,
      index: 255,
      size: SIZE,
      record: expect.objectContaining({ v: 1, kind: 'decision' }) as object,
    });
    const bad = await file('bad.tlog-proof', left.receipt(255).replace('index 255', 'index 254'));
    const [refused, refusedJson] = await Promise.all([
      verify(bad, '--key', vkey),
      verify(bad, '--key', vkey, '--json'),
    ]);
    const fault = 'it does not prove that the entry stands at 254';
    expect(refused).toEqual({ code: 1, stdout: `NOT PROVED  ${fault}\n`, stderr: '' });
    expect(json(refusedJson)).toEqual({ proved: false, fault });
  });

  test('a store that is stopped: all of its logs, or one', async () => {
    const both = ['--key', left.keys.acme, left.keys.globex];
    const older = await file('older.checkpoint', left.checkpoints.older);
    const [all, one, asJson, withOlder] = await Promise.all([
      verify(left.store, ...both),
      verify(left.store, '-t', 'acme', '--key', left.keys.acme),
      verify(left.store, ...both, '--json'),
      verify(left.store, '-t', 'acme', '--key', left.keys.acme, '--checkpoint', older),
    ]);
    const [acme, globex] = [left.checkpoints.newest, left.checkpoints.globex].map(stated);
    expect(all).toEqual({
      code: 0,
      stdout: `proved      ${acme?.origin}: ${SIZE} entries\nproved      ${globex?.origin}: ${BEGUN + 1} entries\n`,
      stderr: '',
    });
    expect(one).toEqual({ code: 0, stdout: `proved      ${acme?.origin}: ${SIZE} entries\n`, stderr: '' });
    expect(withOlder).toEqual(one);
    const well = { faults: [], notes: [] };
    expect(json(asJson)).toMatchObject({
      proved: true,
      logs: [
        { origin: acme?.origin, entries: SIZE, proved: SIZE, ...well },
        { origin: globex?.origin, entries: BEGUN + 1, proved: BEGUN + 1, ...well },
      ],
    });
  });

  test('a store whose other logs have no key given says that they are not proved', async () => {
    const { code, stdout } = await verify(left.store, '--key', left.keys.globex);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^unproved +\S+\/t\/acme\/log\/main: 612 entries\n +no key of it was given/);
    const none = await file('none.policy', 'quorum none\n');
    expect(await verify(left.store, '--policy', none)).toMatchObject({ code: 1 });
    expect(await verify(left.store, '-t', 'acme', '--key', left.keys.globex)).toMatchObject({ code: 1 });
  });

  test('the store and the address of a running server', async () => {
    const key = await keyServed();
    const address = `${server.admin}/t/acme/log/main`;
    const [store, served, slash, credential, refused] = await Promise.all([
      verify(path.join(server.folder, 'data'), '-t', 'acme', '--key', key),
      verify(address, '--key', key),
      verify(`${address}/`, '--key', key, '--json'),
      at(server, secrets.api)('audit', 'verify', address, '--key', key),
      at(server, secrets.mcp)('audit', 'verify', address, '--key', key),
    ]);
    const well =
      /^proved {6}\S+\/t\/acme\/log\/main: \d{3} entries(?:; \d more came after the checkpoint)?\n$/;
    for (const { code, stdout, stderr } of [store, served, credential]) {
      expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
      expect(stdout).toMatch(well);
    }
    expect(json(slash)).toMatchObject({ proved: true, logs: [{ faults: [], notes: [] }] });
    expect(refused).toEqual({
      code: 2,
      stdout: '',
      stderr: `mandate: unavailable: ${address}/checkpoint answers 403\n`,
    });
  });

  test('a folder with the files of a log, and a checkpoint from before', async () => {
    const older = await file('older.checkpoint', left.checkpoints.older);
    const [plain, asJson, other] = await Promise.all([
      verify(left.files, '--key', left.keys.acme, '--checkpoint', older),
      verify(left.files, '--key', left.keys.acme, '--json'),
      verify(left.files, '--key', left.keys.globex),
    ]);
    const { origin } = stated(left.checkpoints.newest);
    expect(plain).toEqual({ code: 0, stdout: `proved      ${origin}: ${SIZE} entries\n`, stderr: '' });
    expect(json(asJson)).toEqual({
      proved: true,
      logs: [{ origin, entries: SIZE, proved: SIZE, faults: [], notes: [] }],
    });
    expect(other).toMatchObject({ code: 1, stderr: ALARM });
    expect(other.stdout).toContain(`its checkpoint proves nothing: no key is known of the log ${origin}`);
  });
});

describe('a policy (C2SP tlog-policy)', () => {
  const witness = (name: string): SignerKey => {
    const { privateKey, publicKey } = generateKeyPairSync('ed25519');
    return { ...verifierKey(name, SignatureType.COSIGNATURE, publicKey), privateKey };
  };

  test('asks for a quorum of witnesses', async () => {
    const [a, b, c] = ['a.example', 'b.example', 'c.example'].map(witness) as [
      SignerKey,
      SignerKey,
      SignerKey,
    ];
    const policy = await file(
      'two-of-three.policy',
      [
        `log ${left.keys.acme}`,
        ...[a, b, c].map((each, n) => `witness w${n} ${vkeyOf(each)}`),
        'group most 2 w0 w1 w2',
        'quorum most',
        '',
      ].join('\n'),
    );
    const receipt = left.receipt(300);
    const { text } = stated(left.checkpoints.newest);
    const [one, two] = [[a], [a, c]].map((signers) =>
      signers.reduce((note, signer) => `${note}${cosignatureLine(text, signer, 1_800_000_000n)}`, receipt),
    );
    const outputs = await Promise.all([
      verify(await file('none.tlog-proof', receipt), '--policy', policy),
      verify(await file('one.tlog-proof', one ?? ''), '--policy', policy),
      verify(await file('two.tlog-proof', two ?? ''), '--policy', policy),
      verify(left.store, '-t', 'acme', '--policy', policy),
      verify(left.files, '--policy', policy),
    ]);
    expect(outputs.map(({ code }) => code)).toEqual([1, 1, 0, 1, 1]);
    const why = 'the witnesses of most have not signed it';
    for (const { stdout } of outputs.slice(0, 2)) expect(stdout).toBe(`NOT PROVED  ${why}\n`);
    for (const { stdout } of outputs.slice(3))
      expect(stdout).toContain(`its checkpoint proves nothing: ${why}`);
  });

  test('without witnesses is as good as its keys', async () => {
    const policy = await file('acme.policy', `log ${left.keys.acme}\nquorum none\n`);
    expect((await verify(left.store, '-t', 'acme', '--policy', policy)).code).toBe(0);
  });
});

describe('what cannot be looked at exits 2, with one line', () => {
  test('of why', async () => {
    const receipt = await file('e.tlog-proof', left.receipt(0));
    const policy = await file('e.policy', `log ${left.keys.acme}\nquorum none\n`);
    const broken = await file('broken.policy', `log ${left.keys.acme}\nquorum most\n`);
    const empty = path.join(folder, 'empty');
    await mkdir(empty);
    const { publicKey } = generateKeyPairSync('ed25519');
    const witness = vkeyOf(verifierKey('w.example', SignatureType.COSIGNATURE, publicKey));
    const key = ['--key', left.keys.acme];
    const changed = left.keys.acme.replace(/\+[0-9a-f]{8}\+/, '+00000000+');
    const table: [string[], string][] = [
      [[receipt], 'name what to trust, by --key or by --policy; `mandate audit key` prints the key of a log'],
      [[receipt, ...key, '--policy', policy], 'name what to trust, by --key or by --policy'],
      [[receipt, '--key', 'no.vkey'], 'no.vkey is neither a file nor a verifier key, which is name+id+key'],
      [[receipt, '--key', 'a+b+c'], '--key: a verifier key is name+id+key'],
      [[receipt, '--key', changed], 'does not have the id 00000000: a part of it was changed'],
      [[receipt, '--key', witness], "the key w.example is a witness's, not a log's"],
      [[receipt, '--policy', 'no.policy'], 'no.policy cannot be read'],
      [[receipt, '--policy', broken], `${broken}: line 2: there is no witness and no group most above`],
      [[receipt, ...key, '--checkpoint', 'no.checkpoint'], 'no.checkpoint cannot be read'],
      [['nowhere.tlog-proof', ...key], 'there is no nowhere.tlog-proof'],
      [
        [empty, ...key],
        `${empty} holds neither a store (mandate.db), nor a log (checkpoint), nor volumes (*.jsonl.zst)`,
      ],
      [[left.store, '-t', 'nowhere', ...key], 'the store has no log of nowhere'],
      [
        ['http://127.0.0.1:2/t/acme/log/main', ...key],
        'nothing answers at http://127.0.0.1:2/t/acme/log/main',
      ],
      [[`${server.admin}/t/acme/log/other`, ...key], '/t/acme/log/other/checkpoint answers 404'],
    ];
    const outputs = await Promise.all(table.map(([args]) => verify(...args)));
    for (const [n, { code, stdout, stderr }] of outputs.entries()) {
      expect(stderr).toContain(table[n]?.[1]);
      expect(stderr).not.toContain('    at ');
      expect({ code, stdout, lines: stderr.trimEnd().split('\n').length }).toEqual({
        code: 2,
        stdout: '',
        lines: 1,
      });
    }
  });
});
