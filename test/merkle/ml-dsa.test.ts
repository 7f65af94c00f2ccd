import { createPublicKey, generateKeyPairSync, sign, verify } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { checkpointText, parseCheckpoint } from '../../src/merkle/checkpoint.ts';
import { parseVkey, SignatureType, type SignerKey, verifierKey, vkeyOf } from '../../src/merkle/keys.ts';
import { cosignatureLine, isNoteOf, parseNote, signatureLine, signNote } from '../../src/merkle/note.ts';
import { parsePolicy, refusalOf } from '../../src/merkle/policy.ts';
import { newSigner } from './signers.ts';

/** C2SP tlog-cosignature, of ML-DSA-44. */

const ORIGIN = 'example.com/t/acme/log/main';
const SECONDS = 1_767_225_600n;

function mlDsaSigner(name = ORIGIN): SignerKey {
  const { publicKey, privateKey } = generateKeyPairSync('ml-dsa-44');
  return { ...verifierKey(name, SignatureType.ML_DSA_44, publicKey), privateKey };
}

const root = Buffer.alloc(32, 7);
const text = checkpointText({ origin: ORIGIN, size: 300, root });
const log = newSigner(ORIGIN, SignatureType.ED25519);
const key = mlDsaSigner();
const note = signNote(text, log);

/** The structure `cosigned_message`, written out by hand. */
function messageByHand(name: string, seconds: bigint, origin: string, size: bigint, hash: Buffer): Buffer {
  const uint64 = (value: bigint): Buffer => Buffer.from(value.toString(16).padStart(16, '0'), 'hex');
  const opaque = (value: string): Buffer => Buffer.concat([Buffer.of(value.length), Buffer.from(value)]);
  return Buffer.concat([
    Buffer.from('73756274 7265652f 76310a00'.replaceAll(' ', ''), 'hex'),
    opaque(name),
    uint64(seconds),
    opaque(origin),
    uint64(0n),
    uint64(size),
    hash,
  ]);
}

describe('C2SP tlog-cosignature: ML-DSA-44', () => {
  test('a verifier key has type 6 and 1,312 bytes, and reads back as it was written', () => {
    const vkey = vkeyOf(key);
    const [name, id, encoded = ''] = vkey.split('+', 2).concat(vkey.split('+').slice(2).join('+'));
    expect([name, id]).toEqual([ORIGIN, Buffer.from(key.id).toString('hex')]);
    const material = Buffer.from(encoded, 'base64');
    expect([material[0], material.length]).toEqual([6, 1 + 1_312]);
    expect(vkeyOf(parseVkey(vkey))).toBe(vkey);
    expect(() => verifierKey(ORIGIN, SignatureType.ML_DSA_44, log.publicKey)).toThrow('none of ml-dsa-44');
    expect(() => verifierKey(ORIGIN, SignatureType.ED25519, key.publicKey)).toThrow('none of ed25519');
  });

  test('signs the structure that the text has, with the time before the signature', () => {
    const line = cosignatureLine(text, key, SECONDS);
    const bytes = Buffer.from(line.trim().split(' ')[2] ?? '', 'base64');
    expect(bytes.length).toBe(4 + 8 + 2_420);
    expect(bytes.subarray(0, 4)).toEqual(Buffer.from(key.id));
    expect(bytes.readBigUInt64BE(4)).toBe(SECONDS);
    const message = messageByHand(ORIGIN, SECONDS, ORIGIN, 300n, root);
    expect(verify(null, message, createPublicKey(key.privateKey), bytes.subarray(12))).toBe(true);
    expect(isNoteOf(parseNote(note + line), key)).toBe(true);
    // Of a line that is not there nothing is said.
    expect(isNoteOf(parseNote(note), key)).toBe(false);
  });

  test.each<[string, Buffer]>([
    ['another name', messageByHand('example.com/other', SECONDS, ORIGIN, 300n, root)],
    ['another time', messageByHand(ORIGIN, SECONDS + 1n, ORIGIN, 300n, root)],
    ['another log', messageByHand(ORIGIN, SECONDS, 'example.com/other', 300n, root)],
    ['another size', messageByHand(ORIGIN, SECONDS, ORIGIN, 301n, root)],
    ['another root', messageByHand(ORIGIN, SECONDS, ORIGIN, 300n, Buffer.alloc(32, 8))],
    ['the text, as Ed25519 signs it', Buffer.from(`cosignature/v1\ntime ${SECONDS}\n${text}`)],
  ])('a signature over %s is none', (_what, message) => {
    const time = Buffer.alloc(8);
    time.writeBigUInt64BE(SECONDS);
    const forged = signatureLine(key, Buffer.concat([time, sign(null, message, key.privateKey)]));
    expect(() => isNoteOf(parseNote(note + forged), key)).toThrow('is not over this text');
  });

  test('a note that is no checkpoint has no such signature', () => {
    expect(() => cosignatureLine('a\nb\nc\n', key, SECONDS)).toThrow(Error);
    expect(() =>
      cosignatureLine(`${'x'.repeat(256)}\n1\n${root.toString('base64')}\n`, key, SECONDS),
    ).toThrow(Error);
  });

  test('whoever names keys of both types wants both signatures', () => {
    const both = parseCheckpoint(note + cosignatureLine(text, key, SECONDS));
    const first = parseCheckpoint(note);
    const policy = parsePolicy(`log ${vkeyOf(log)}\nlog ${vkeyOf(key)}\nquorum none\n`);
    expect(refusalOf(policy, both)).toBeUndefined();
    expect(refusalOf(policy, first)).toBe(`the log ${ORIGIN} has not signed it by a known key of ML-DSA-44`);
    expect(refusalOf({ ...policy, logs: [log] }, first)).toBeUndefined();
    expect(refusalOf({ ...policy, logs: [key] }, both)).toBeUndefined();
    // One of each type is enough: a log may have had another key before.
    expect(refusalOf({ ...policy, logs: [log, mlDsaSigner(), key] }, both)).toBeUndefined();
  });

  test('a witness may sign so too', () => {
    const witness = mlDsaSigner('witness.example/w1');
    const policy = parsePolicy(`log ${vkeyOf(log)}\nwitness w1 ${vkeyOf(witness)}\nquorum w1\n`);
    const line = cosignatureLine(text, witness, SECONDS);
    expect(refusalOf(policy, parseCheckpoint(note + line))).toBeUndefined();
    expect(refusalOf(policy, parseCheckpoint(note))).toContain('w1');
  });
});
