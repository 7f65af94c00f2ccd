import { createHash, generateKeyPairSync } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { isKeyName, parseVkey, SignatureType, verifierKey, vkeyOf } from '../../src/merkle/keys.ts';
import { newSigner } from './signers.ts';

/** C2SP signed-note, "Verifier keys". */

const example = 'example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k';

const { ED25519, COSIGNATURE } = SignatureType;

/** Of any type and material, with the id that belongs to it. */
function vkey(name: string, type: number, material: Uint8Array): string {
  const key = Buffer.concat([Buffer.of(type), material]);
  const id = createHash('sha256').update(`${name}\n`).update(key).digest('hex').slice(0, 8);
  return `${name}+${id}+${key.toString('base64')}`;
}

describe('C2SP signed-note: verifier keys', () => {
  test('the example', () => {
    const key = parseVkey(example);
    expect(key.name).toBe('example.com/foo');
    expect(Buffer.from(key.id).toString('hex')).toBe('530d903a');
    expect(key.type).toBe(ED25519);
    expect(vkeyOf(key)).toBe(example);
  });

  test.each([ED25519, COSIGNATURE])('one of type %i comes back, with the id of the formula', (type) => {
    // Some of these have a + in their key.
    for (let n = 0; n < 40; n += 1) {
      const signer = newSigner('log.example/a', type);
      const text = vkeyOf(signer);
      const { x = '' } = signer.publicKey.export({ format: 'jwk' });
      expect(text).toBe(vkey('log.example/a', type, Buffer.from(x, 'base64url')));
      const parsed = parseVkey(text);
      expect(vkeyOf(parsed)).toBe(text);
      expect(Buffer.from(parsed.id)).toEqual(Buffer.from(signer.id));
    }
  });

  test('the same key has another id under another name, and as another type', () => {
    const { publicKey } = generateKeyPairSync('ed25519');
    const ids = [
      verifierKey('a', ED25519, publicKey),
      verifierKey('b', ED25519, publicKey),
      verifierKey('a', COSIGNATURE, publicKey),
    ].map(({ id }) => Buffer.from(id).toString('hex'));
    expect(new Set(ids).size).toBe(3);
  });

  test('a name in another script', () => {
    const signer = newSigner('journal.exämple/日誌', ED25519);
    expect(vkeyOf(parseVkey(vkeyOf(signer)))).toBe(vkeyOf(signer));
  });

  const [name, id, key] = example.split('+') as [string, string, string];
  const raw = Buffer.from(key, 'base64').subarray(1);

  test.each([
    '',
    '+',
    '++',
    name,
    `${name}+${id}`,
    `${name}+${id}+`,
    `+${id}+${key}`,
    `${name} +${id}+${key}`,
    `${name}+${id} +${key}`,
    ` ${example}`,
    `${example} `,
    `${example}\n`,
    `${example}+`,
    `${example}=`,
    `${example}+${key}`,
    `${name}++${id}+${key}`,
    `${name}+${id.toUpperCase()}+${key}`,
    `${name}+0${id}+${key}`,
    `${name}+${id.slice(1)}+${key}`,
    `${name}+0x${id}+${key}`,
    `${name}+530d903b+${key}`,
    `${name}+00000000+${key}`,
    `example.com/fop+${id}+${key}`,
    `${name}+${id}+${key.replaceAll('/', '_')}.`,
    `${name}+${id}+${key.slice(0, -1)}`,
    `${name}+${id}+B${key.slice(1)}`,
    vkey(name, 2, raw),
    vkey(name, 3, raw),
    vkey(name, 5, raw),
    vkey(name, 6, raw),
    vkey(name, 0xff, raw),
    vkey(name, 1, raw.subarray(1)),
    vkey(name, 1, Buffer.concat([raw, Buffer.of(0)])),
    vkey(name, 1, Buffer.alloc(0)),
    vkey(name, 4, raw.subarray(1)),
    vkey('', 1, raw),
    vkey('a b', 1, raw),
    vkey('a\u00a0b', 1, raw),
    vkey('a\u2003b', 1, raw),
    vkey('a\tb', 1, raw),
    vkey('a\nb', 1, raw),
    vkey('a\u0085b', 1, raw),
  ])('%j is none', (text) => {
    expect(() => parseVkey(text)).toThrow(Error);
  });

  test('what was wrong is told by name', () => {
    expect(() => parseVkey(vkey('log', 7, raw))).toThrow(/log is of type 7/);
    expect(() => parseVkey(vkey('log', 6, raw))).toThrow(/not of 1312 bytes/);
    expect(() => parseVkey(`${name}+530d903b+${key}`)).toThrow(/does not have the id 530d903b/);
    expect(() => parseVkey(vkey('log', 1, raw.subarray(1)))).toThrow(/not of 32 bytes/);
    expect(() => parseVkey(`${name}+${id}+`)).toThrow('a verifier key is name+id+key');
  });

  test('a key of another kind is none, though it may have an x of 32 bytes', () => {
    const others = [
      generateKeyPairSync('x25519').publicKey,
      generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey,
      generateKeyPairSync('ed448').publicKey,
      generateKeyPairSync('rsa', { modulusLength: 2_048 }).publicKey,
    ];
    for (const other of others) expect(() => verifierKey('log', ED25519, other)).toThrow(Error);
  });
});

describe('C2SP signed-note: names of keys', () => {
  test.each([
    'a',
    'example.com/log42',
    'oid/1.3.6',
    'ä',
    '日誌',
    'a–b',
    'a:b@c',
    '—',
    'a\ufeffb',
    'a\x7fb',
    'a\x80b',
  ])('%j is one', (name) => {
    expect(isKeyName(name)).toBe(true);
    expect(vkeyOf(parseVkey(vkeyOf(newSigner(name, ED25519))))).toContain(`${name}+`);
  });

  test.each([
    '',
    ' ',
    'a b',
    'a+b',
    '+',
    'a\n',
    '\ta',
    'a\u00a0b',
    'a\u3000b',
    'a\u2028b',
    'a\u0085',
    'a\0b',
  ])('%j is none', (name) => {
    expect(isKeyName(name)).toBe(false);
    expect(() => newSigner(name, ED25519)).toThrow(Error);
  });

  test('half a character is no name', () => {
    expect(isKeyName('a\ud800')).toBe(false);
  });
});
