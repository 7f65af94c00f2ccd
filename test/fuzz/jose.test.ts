import { KeyObject, sign } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Stage } from '../delegation/stage.ts';
import { aliceReads, check } from '../e2e/requests.ts';
import { bearer } from '../e2e/server.ts';

/**
 * Tokens whose header or payload is anything at all, at every door that takes one: each is refused by a code of its own,
 * and recorded where a caller is known. RFC 8725.
 */

const SEED = 20_261_125;
const ROUNDS = 100;

/** mulberry32, so that a failure comes again. */
function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}
const random = seeded(SEED);
const upTo = (max: number): number => Math.floor(random() * max);
const pick = <T>(items: readonly T[]): T => items[upTo(items.length)] as T;

let stage: Stage;
beforeAll(async () => {
  stage = await Stage.open({
    acme: (manifest) => {
      const [users] = manifest.issuers ?? [];
      const url = users?.issuer ?? '';
      manifest.issuers?.push({
        ...structuredClone(users),
        issuer: `${url}/services`,
        jwks_uri: `${url}/jwks`,
        subject_class: 'service',
      });
    },
  });
});
afterAll(() => stage[Symbol.asyncDispose]());

const deep = (depth: number): string => `${'{"a":'.repeat(depth)}1${'}'.repeat(depth)}`;

/** What stands in the place of a JSON object, or inside of a good one. */
const texts: readonly ((good: string) => string | Uint8Array)[] = [
  () => '',
  () => '{',
  () => 'null',
  () => '[]',
  () => '"text"',
  () => '7',
  () => 'true',
  () => '{}{}',
  () => ' ',
  () => '\ufeff{}',
  () => Uint8Array.of(0x7b, 0xff, 0x7d),
  () => Uint8Array.of(0xc0, 0x80),
  (good) => `\ufeff${good}`,
  (good) => good.slice(0, upTo(good.length)),
  (good) => `${good}x`,
  (good) => good.replace('{', '{"iss":"https://other.example",'),
  (good) => good.replace('{', '{"alg":"none",'),
  (good) => good.replace('{', '{"\\u0061lg":"none","alg":"ES256",'),
  (good) => good.replace('{', '{"sub":"mallory","s\\u0075b":"bob",'),
  (good) => good.replace('{', '{"x":{"y":1,"y":2},'),
  (good) => good.replace('{', '{"x":"\\ud800",'),
  (good) => good.replace('{', `{"x":${deep(100)},`),
  (good) => good.replace('{', `{"x":${'['.repeat(6_000)}`),
  (good) => good.replace('{', `{"x":"${'a'.repeat(pick([100, 5_000, 9_000, 20_000]))}",`),
  (good) => good.replace('{', '{"__proto__":{"alg":"ES256"},'),
  (good) => good.replace('{', `{"crit":${pick(['[]', '["exp"]', '["b64"]', 'null', '7'])},`),
  (good) => good.replace('{', `{"b64":${pick(['false', 'true', 'null'])},`),
  (good) =>
    good.replace(/"alg":"[^"]*"/, `"alg":${pick(['null', '7', '[]', '{}', '"ES512"', '"HS256"', '""'])}`),
  (good) => good.replace(/"kid":"[^"]*"/, `"kid":${pick(['null', '7', '["issuer-1"]', '{}', '"nobody"'])}`),
  (good) => good.replace(/"typ":"[^"]*"/, `"typ":${pick(['null', '7', '["at+jwt"]', '{}', '"jwe"', '""'])}`),
  (good) =>
    good.replace(/"(exp|iat)":\d+/, `"$1":${pick(['1e999', '-1', 'null', '"9999999999"', '[]', '1e300'])}`),
  (good) => good.replace(/"sub":"[^"]*"/, `"sub":${pick(['null', '{}', '["alice"]', '""', '7'])}`),
  (good) => good.replace(/"iss":"[^"]*"/, `"iss":${pick(['null', '{}', '[]', '7', '"x"'])}`),
  (good) => good.replace(/"aud":"[^"]*"/, `"aud":${pick(['null', '{}', '[]', '7', '[7]'])}`),
  (good) => Buffer.from(good).map((byte) => (random() < 0.02 ? upTo(256) : byte)),
];

/** What is done to the token as a whole. */
const wholes: readonly ((token: string) => string)[] = [
  (token) => `${token}=`,
  (token) => ` ${token}`,
  (token) => token.replace('.', '..'),
  (token) => `${token}.`,
  (token) => token.split('.').slice(0, 2).join('.'),
  () => '..',
  (token) => token.replace(/\.[^.]*$/, '.'),
  (token) => token.replace(/.$/, (last) => String.fromCharCode(last.charCodeAt(0) ^ 1)),
  (token) => token.replaceAll('-', '+').replaceAll('_', '/').concat('+'),
  (token) => `${token.slice(0, 40)}\u00e4${token.slice(40)}`,
];

const decoded = (part = ''): string => Buffer.from(part, 'base64url').toString();
const encoded = (text: string | Uint8Array): string => Buffer.from(text as string).toString('base64url');

function mangled(token: string): string {
  const [header, payload, signature] = token.split('.');
  const change = pick(texts);
  const chance = random();
  if (chance < 0.15) return pick(wholes)(token);
  if (chance < 0.6) return `${encoded(change(decoded(header)))}.${payload}.${signature}`;
  return `${header}.${encoded(change(decoded(payload)))}.${signature}`;
}

/** The same by an issuer that signs whatever it is given: what is wrong with it is not the signature. */
function mangledAndSigned(token: string): string {
  const [header, payload] = token.split('.').map(decoded);
  const inHeader = random() < 0.4;
  const change = pick(texts);
  const parts = inHeader ? [change(header ?? ''), payload ?? ''] : [header ?? '', change(payload ?? '')];
  const text = parts.map(encoded).join('.');
  const key = { key: KeyObject.from(stage.issuer.privateKey), dsaEncoding: 'ieee-p1363' as const };
  return `${text}.${sign('sha256', Buffer.from(text), key).toString('base64url')}`;
}

const sizeOf = async (): Promise<number> => Number((await stage.records({ pageSize: 1 }))[0]?.['index'] ?? 0);

/** How many records came behind an index; those of callers who were refused come when their second is over. */
const recordedSince = async (before: number): Promise<number> =>
  (await stage.records({ pageSize: 20 })).filter(
    ({ index = 0, kind }) => Number(index) > before && kind !== 'access',
  ).length;

test('no header and no payload is anything but a refusal with a code, and a record', async () => {
  const services = { iss: `${stage.issuer.url}/services`, sub: 'docs-api' };
  const goods = [await stage.issuer.sign(), await stage.granted()];
  const caller = await stage.issuer.sign(services);
  const asks = (credential: string) => check(stage.server.data, aliceReads, bearer(credential));
  expect((await asks(caller)).status).toBe(200);
  for (let round = 0; round < ROUNDS; round += 1) {
    const good = pick(goods);
    const token = mangled(good);
    if (token === good) continue;
    const before = await sizeOf();
    const exchanged = await stage.exchange(token);
    expect([token, exchanged.status, exchanged.body.code]).toEqual([
      token,
      400,
      token.trim() === '' ? 'invalid_request' : 'token_invalid',
    ]);
    const { decision, reasons } = await stage.check(token);
    // One that is too long to be asked about is no sound question; that is an error, and recorded too.
    if (token.length <= 16_384)
      expect([token, decision, reasons?.[0]?.code]).toEqual([token, 'DECISION_DENY', 'token_invalid']);
    else expect(decision).toBeUndefined();
    expect(await stage.introspect(token)).toEqual({ active: false });
    expect((await stage.revoke(token)).status).toBe(200);
    expect(await recordedSince(before)).toBe(4);
    const asCaller = mangled(caller);
    // What no header can hold is not for this test.
    if (asCaller === caller || !/^[\x21-\x7e]{1,12000}$/.test(asCaller)) continue;
    expect([asCaller, (await asks(asCaller)).status]).toEqual([asCaller, 401]);
  }
  for (let round = 0; round < ROUNDS; round += 1) {
    const token = mangledAndSigned(goods[0] ?? '');
    const before = await sizeOf();
    const { status, body } = await stage.exchange(token);
    expect([token, status]).toEqual([token, body.code === undefined ? 200 : 400]);
    const { decision } = await stage.check(token);
    expect([token, decision === undefined]).toEqual([token, token.length > 16_384]);
    expect(await recordedSince(before)).toBe(2);
    const asCaller = mangledAndSigned(caller).slice(0, 12_000);
    expect([asCaller, [200, 401].includes((await asks(asCaller)).status)]).toEqual([asCaller, true]);
  }
  // And it still serves.
  expect((await stage.exchange(await stage.issuer.sign())).status).toBe(200);
  expect(await stage.check(await stage.granted())).toMatchObject({ decision: 'DECISION_ALLOW' });
});
