import { createHash, createPublicKey, verify } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { toBase64 } from '../../src/merkle/base64.ts';
import { checkpointText } from '../../src/merkle/checkpoint.ts';
import { SignatureType, vkeyOf } from '../../src/merkle/keys.ts';
import { cosignatureLine, signatureLine, signNote } from '../../src/merkle/note.ts';
import { Witness } from '../../src/merkle/witness.ts';
import { emptyRoot, noise, ReferenceTree } from './reference.ts';
import { newSigner } from './signers.ts';
import { bodyOf, log, MemoryState, other, SECONDS, tree, type WitnessedLog, witness } from './witnessed.ts';

/** C2SP tlog-witness, add-checkpoint: each answer of a witness. */

/** A witness that has signed the first so many leaves. */
function seen(size: number): WitnessedLog {
  const made = witness();
  if (size > 0) expect(made.add(bodyOf(0, size)).status).toBe(200);
  return made;
}

describe('200', () => {
  test.each([
    [0, 0],
    [0, 1],
    [0, 300],
    [1, 1],
    [1, 2],
    [2, 3],
    [3, 7],
    [4, 8],
    [255, 257],
    [256, 300],
    [300, 300],
  ])('from %i to %i: the line of a witness, and that is what was signed last', (old, size) => {
    const { add, state } = seen(old);
    const answer = add(bodyOf(old, size));
    expect(answer).toMatchObject({ status: 200, type: 'text/plain; charset=utf-8' });
    expect(state.of(log.name)).toEqual({ size, root: tree.mth(0, size) });
  });

  test('the line is verified by node:crypto alone (C2SP tlog-cosignature)', () => {
    const { add, key } = seen(0);
    const { body } = add(bodyOf(0, 5));
    const [, name = '', encoded = ''] = /^— (\S+) (\S+)\n$/.exec(body) ?? [];
    const bytes = Buffer.from(encoded, 'base64');
    const [id, time, signature] = [bytes.subarray(0, 4), bytes.readBigUInt64BE(4), bytes.subarray(12)];
    const [vname = '', vid, ...rest] = vkeyOf(key).split('+');
    const material = Buffer.from(rest.join('+'), 'base64');
    const expected = createHash('sha256').update(`${vname}\n`).update(material).digest().subarray(0, 4);
    expect([name, id.toString('hex'), vid, material[0], bytes.length]).toEqual([
      'witness.example/w1',
      expected.toString('hex'),
      expected.toString('hex'),
      4,
      4 + 8 + 64,
    ]);
    expect(Number(time)).toBe(Math.floor(SECONDS));
    const der = Buffer.concat([Buffer.from('302a300506032b6570032100', 'hex'), material.subarray(1)]);
    const publicKey = createPublicKey({ key: der, format: 'der', type: 'spki' });
    const text = `log.example/a\n5\n${toBase64(tree.mth(0, 5))}\n`;
    const isOver = (message: string) => verify(null, Buffer.from(message), publicKey, signature);
    expect(isOver(`cosignature/v1\ntime ${time}\n${text}`)).toBe(true);
    expect(isOver(`cosignature/v1\ntime ${time + 1n}\n${text}`)).toBe(false);
    expect(isOver(text)).toBe(false);
  });

  test('what others signed, and lines of unknown keys, are passed by', () => {
    const { add } = seen(0);
    const text = checkpointText({ origin: log.name, size: 4, root: tree.mth(0, 4) });
    const stranger = newSigner(log.name, SignatureType.ED25519);
    const more = [
      signatureLine(stranger, Buffer.alloc(64)),
      signatureLine({ ...log, id: stranger.id }, Buffer.alloc(9)),
      cosignatureLine('another text\n', newSigner('witness.example/w2', SignatureType.COSIGNATURE), 1n),
    ];
    const [, own = ''] = signNote(text, log).split('\n\n');
    expect(add(`old 0\n\n${text}\n${more.join('')}${own}`).status).toBe(200);
  });

  test('extension lines are signed as they are', () => {
    const { add } = seen(0);
    const text = `${checkpointText({ origin: log.name, size: 4, root: tree.mth(0, 4) })}more\n`;
    expect(add(`old 0\n\n${signNote(text, log)}`).status).toBe(200);
  });

  test('a log with two keys has it by either, and each log has a place of its own', () => {
    const second = newSigner(log.name, SignatureType.ED25519);
    const { add } = witness([log, second, other]);
    expect(add(bodyOf(0, 3, { by: second })).status).toBe(200);
    expect(add(bodyOf(3, 5)).status).toBe(200);
    expect(add(bodyOf(0, 9, { by: other })).status).toBe(200);
    expect(add(bodyOf(5, 9)).status).toBe(200);
  });
});

/** That it answers so, and has signed nothing. */
function expectRefused({ add, state }: WitnessedLog, body: string, status: number): void {
  const before = state.of(log.name);
  const answer = add(body);
  expect(answer).toMatchObject({ status });
  expect(answer.body).not.toContain('—');
  expect(state.of(log.name)).toEqual(before);
}

describe('404', () => {
  test('the origin is unknown, whoever signed it', () => {
    const unknown = newSigner('log.example/z', SignatureType.ED25519);
    expectRefused(seen(3), bodyOf(0, 3, { by: unknown }), 404);
    expectRefused(seen(3), bodyOf(3, 5, { origin: 'log.example/A' }), 404);
    expectRefused(seen(3), bodyOf(3, 5, { origin: ' log.example/a' }), 404);
    expectRefused(seen(3), bodyOf(9, 5, { by: unknown }), 404);
  });
});

describe('403', () => {
  const text = checkpointText({ origin: log.name, size: 5, root: tree.mth(0, 5) });
  const proof = tree.proof(3, 5).map((hash) => `${toBase64(hash)}\n`);
  const send = (lines: string): string => `old 3\n${proof.join('')}\n${text}\n${lines}`;
  const good = signNote(text, log).split('\n\n')[1] ?? '';

  test.each([
    [
      'a key of the same name',
      () => signNote(text, newSigner(log.name, SignatureType.ED25519)).split('\n\n')[1],
    ],
    ['the key of another log', () => signNote(text, other).split('\n\n')[1]],
    [
      'the key of another log under its name',
      () => signatureLine({ ...log, id: other.id }, Buffer.alloc(64)),
    ],
    ['it, over another text', () => signNote('another\n', log).split('\n\n')[1]],
    ['it, but for a bit', () => signatureLine(log, Buffer.alloc(64, 1))],
    ['it, with too few bytes', () => signatureLine(log, Buffer.alloc(63))],
    ['it, and once more over another text', () => good + (signNote('another\n', log).split('\n\n')[1] ?? '')],
    ['another text, and then it', () => (signNote('another\n', log).split('\n\n')[1] ?? '') + good],
    [
      'a witness by its name',
      () => cosignatureLine(text, newSigner(log.name, SignatureType.COSIGNATURE), 1n),
    ],
  ])('signed by %s', (_what, lines) => {
    expect(seen(3).add(send(good)).status).toBe(200);
    expectRefused(seen(3), send(lines() ?? ''), 403);
  });

  test('comes before what is wrong with its sizes', () => {
    const stranger = newSigner(log.name, SignatureType.ED25519);
    for (const [old, size] of [
      [9, 5],
      [2, 5],
      [3, 3],
    ] as const)
      expectRefused(seen(3), bodyOf(old, size, { by: stranger }), 403);
  });
});

describe('400', () => {
  test('the old size is larger than the checkpoint, also where it is what was signed last', () => {
    expectRefused(seen(3), bodyOf(6, 5, { proof: [] }), 400);
    expectRefused(seen(7), bodyOf(7, 5, { proof: [] }), 400);
    expectRefused(seen(0), bodyOf(1, 0, { proof: [] }), 400);
  });
});

describe('409', () => {
  test.each([
    ['another size', 3, 2, 5],
    ['a larger size', 3, 4, 5],
    ['0, where there was one', 3, 0, 5],
    ['0, and a size before it: a rollback', 7, 0, 5],
    ['a size before it, and no more', 7, 5, 5],
    ['a size, where there was none', 0, 3, 5],
  ])('the old size is %s', (_what, last, old, size) => {
    const seenLog = seen(last);
    expectRefused(seenLog, bodyOf(old, size), 409);
    expect(seenLog.add(bodyOf(old, size))).toEqual({
      status: 409,
      type: 'text/x.tlog.size',
      body: `${last}\n`,
    });
  });

  test('a proof that is wrong besides is no matter', () => {
    expectRefused(seen(3), bodyOf(2, 5, { proof: [noise(1)] }), 409);
  });
});

describe('422', () => {
  const proof = tree.proof(3, 5);

  test.each([
    ['a proof where the old size is 0', 0, 5, { proof }],
    ['a line where the old size is 0', 0, 5, { proof: [noise(1)] }],
    ['an empty proof where one is needed', 3, 5, { proof: [] }],
    ['an empty proof from a perfect tree', 4, 8, { proof: [] }],
    ['the proof of another old size', 3, 5, { proof: tree.proof(2, 5) }],
    ['the proof of another size', 3, 5, { proof: tree.proof(3, 6) }],
    ['a proof with a line less', 3, 5, { proof: proof.slice(1) }],
    ['a proof with a line more', 3, 5, { proof: [...proof, noise(1)] }],
    ['a proof in another order', 3, 7, { proof: tree.proof(3, 7).toReversed() }],
    ['63 lines', 3, 5, { proof: Array.from({ length: 63 }, (_, at) => noise(at)) }],
    ['another root', 3, 5, { root: noise('fork') }],
    ['the same size and another root', 5, 5, { root: noise('fork') }],
    ['the same size and a proof', 5, 5, { proof }],
    ['the same size, a proof and another root', 5, 5, { proof, root: noise('fork') }],
    ['size 0 with a root', 0, 0, { root: noise('root') }],
    ['size 0 with 32 zeroes', 0, 0, { root: Buffer.alloc(32) }],
    ['size 0 with a proof', 0, 0, { proof: [emptyRoot] }],
  ])('%s', (_what, old, size, change) => {
    expectRefused(seen(old), bodyOf(old, size, change), 422);
  });

  test('another log that is proved in itself: a fork', () => {
    const fork = new ReferenceTree(Array.from({ length: 5 }, (_, at) => noise(`fork ${at}`)));
    expectRefused(seen(3), bodyOf(3, 5, { root: fork.mth(0, 5), proof: fork.proof(3, 5) }), 422);
  });
});

describe('what it keeps', () => {
  test('a state that cannot be written is no signature', () => {
    const key = newSigner('witness.example/w1', SignatureType.COSIGNATURE);
    const failing = new MemoryState();
    failing.fails = true;
    expect(() => new Witness(key, [log], failing).addCheckpoint(bodyOf(0, 3), SECONDS)).toThrow('disk');
    expect(failing.of(log.name)).toBeUndefined();
  });

  test('a time of the clock that has fractions is a whole second', () => {
    const { body } = witness().add(bodyOf(0, 3), 1_700_000_000.999);
    const bytes = Buffer.from(body.trimEnd().split(' ')[2] ?? '', 'base64');
    expect(bytes.readBigUInt64BE(4)).toBe(1_700_000_000n);
  });

  test('a key of a log signs for no witness', () => {
    const made = new Witness(log, [log], new MemoryState());
    expect(() => made.addCheckpoint(bodyOf(0, 3), SECONDS)).toThrow();
  });
});
