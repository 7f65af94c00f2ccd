import { type CryptoKey, exportJWK, generateKeyPair, type JWK } from 'jose';
import { beforeAll, describe, expect, test } from 'vitest';
import { KeySet } from '../../src/tenancy/key-set.ts';

/** The keys of an issuer, by a clock that the test turns and an issuer that says what the test wants. */

let first: JWK;
let second: JWK;
beforeAll(async () => {
  const made = async (): Promise<JWK> => exportJWK((await generateKeyPair('ES256')).publicKey);
  [first, second] = [await made(), await made()];
});

class Played {
  now = 1_000_000;
  fetched = 0;
  keys: unknown[];
  broken = false;
  readonly set: KeySet;

  constructor(keys: unknown[]) {
    this.keys = keys;
    this.set = new KeySet(
      async () => {
        this.fetched += 1;
        if (this.broken) throw new Error('no answer');
        return { keys: this.keys };
      },
      () => this.now,
    );
  }

  /** The `x` of each key that is tried. */
  async tried(kid?: string, alg = 'ES256'): Promise<unknown[]> {
    const keys: CryptoKey[] = [];
    for await (const key of this.set.candidates(alg, kid)) keys.push(key);
    return Promise.all(keys.map(async (key) => (await exportJWK(key)).x));
  }
}

describe('which keys are tried', () => {
  test('a key that stands twice is one key', async () => {
    const set = new Played([
      { ...first, kid: 'a' },
      { ...first, kid: 'a' },
    ]);
    expect(await set.tried('a')).toEqual([first.x]);
  });

  test('two keys of one kid are both tried, and without a kid all are, up to a bound', async () => {
    const twins = new Played([
      { ...first, kid: 'a' },
      { ...second, kid: 'a' },
    ]);
    expect(await twins.tried('a')).toEqual([first.x, second.x]);
    expect(await twins.tried()).toEqual([first.x, second.x]);
    const many = new Played(Array.from({ length: 300 }, (_, at) => ({ ...first, kid: `k${at}` })));
    expect(await many.tried()).toHaveLength(16);
  });

  test('a key without a kid may be the one, after those of the kid', async () => {
    const set = new Played([{ ...first }, { ...second, kid: 'a' }]);
    expect(await set.tried('a')).toEqual([second.x, first.x]);
  });

  test('one that cannot be used is left out, and takes no other with it', async () => {
    const bad: unknown[] = [
      null,
      7,
      'key',
      [],
      {},
      { ...first, use: 'enc' },
      { ...first, key_ops: ['sign'] },
      { ...first, key_ops: 'verify' },
      { ...first, alg: 'ES384' },
      { ...first, x: 'AAAA' },
      { ...first, crv: 'P-521' },
      { kty: 'oct', k: 'AAAA', kid: 'a' },
      { kty: 'RSA', n: 'AQAB', e: 'AQAB', kid: 'a' },
    ];
    const set = new Played([...bad, { ...second, kid: 'a', use: 'sig', key_ops: ['verify'], alg: 'ES256' }]);
    expect(await set.tried('a')).toEqual([second.x]);
    expect(await set.tried('a', 'RS256')).toEqual([]);
    expect(await set.tried('a', 'HS256')).toEqual([]);
    expect(await set.tried('a', '__proto__')).toEqual([]);
  });

  test('what is no set of keys is an error, and the next one asks again', async () => {
    const set = new Played([]);
    set.keys = undefined as unknown as unknown[];
    await expect(set.tried('a')).rejects.toThrow('no JSON Web Key Set');
    set.keys = [first];
    expect(await set.tried('a')).toEqual([first.x]);
  });
});

describe('how long keys are good', () => {
  test('a key that was withdrawn is gone after ten minutes, by the clock that nobody sets', async () => {
    const set = new Played([{ ...first, kid: 'a' }]);
    expect(await set.tried('a')).toEqual([first.x]);
    set.keys = [{ ...second, kid: 'b' }];
    set.now += 299_999;
    expect(await set.tried('a')).toEqual([first.x]);
    expect(set.fetched).toBe(1);
    set.now += 300_001;
    expect(await set.tried('a')).toEqual([]);
  });

  test('from five minutes on they are fetched beside the requests, and a failure costs none of them', async () => {
    const set = new Played([{ ...first, kid: 'a' }]);
    await set.tried('a');
    set.broken = true;
    set.now += 400_000;
    expect(await set.tried('a')).toEqual([first.x]);
    await Promise.resolve();
    expect(set.fetched).toBe(2);
    set.now += 200_000;
    await expect(set.tried('a')).rejects.toThrow('no answer');
    set.broken = false;
    expect(await set.tried('a')).toEqual([first.x]);
  });

  test('an unknown kid has them fetched anew, once in ten seconds', async () => {
    const set = new Played([{ ...first, kid: 'a' }]);
    await set.tried('a');
    set.keys.push({ ...second, kid: 'b' });
    expect(await set.tried('b')).toEqual([]);
    set.now += 10_000;
    expect(await set.tried('b')).toEqual([second.x]);
    for (let round = 0; round < 20; round += 1) await set.tried(`made-up-${round}`);
    expect(set.fetched).toBe(2);
  });

  test('a token without a kid whose key was not there is tried by the new ones alone', async () => {
    const set = new Played([{ ...first }]);
    await set.tried();
    set.keys.push({ ...second });
    set.now += 10_000;
    expect(await set.tried()).toEqual([first.x, second.x]);
  });
});
