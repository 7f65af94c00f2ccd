import { randomBytes } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { envelopeOf, isEnvelope, isKeyOf, parseEnvelope } from '../../../src/delegation/keys/kms/envelope.ts';
import type { Kms } from '../../../src/delegation/keys/kms/kms.ts';
import { Transit } from '../../../src/delegation/keys/kms/transit.ts';
import { unwrapAll, wrapAll } from '../../../src/delegation/keys/kms/wrapping.ts';
import { describe as described } from '../../../src/errors.ts';
import { SECRET_ID, startTransit, TOKEN, type TransitServer } from './transit-server.ts';

/** A transit server that does what it is asked, and ones that would rather have the keys, the token, or the server. */

const key = randomBytes(32);
const binding = 'mandate-tenant-key acme';

let server: TransitServer;
let folder: string;
let tokenFile: string;
beforeEach(async () => {
  server = await startTransit();
  folder = await mkdtemp(path.join(tmpdir(), 'mandate-kms-'));
  tokenFile = path.join(folder, 'token');
  await writeFile(tokenFile, `${TOKEN}\n`);
});
afterEach(async () => {
  await server[Symbol.asyncDispose]();
  await rm(folder, { recursive: true });
});

const transit = (answerMs?: number): Kms =>
  new Transit(
    { url: server.url, mount: 'transit', key: 'mandate', login: { by: 'token', file: tokenFile } },
    answerMs,
  );

const failureOf = async (promise: Promise<unknown>): Promise<string> => {
  const error: unknown = await promise.then(
    () => 'nothing failed',
    (cause: unknown) => cause,
  );
  expect(error).toMatchObject({ code: 'unavailable' });
  const told = `${described(error)} ${JSON.stringify(error)} ${(error as Error).stack}`;
  for (const secret of [TOKEN, SECRET_ID, key.toString('base64')]) expect(told).not.toContain(secret);
  return described(error);
};

test('a key is wrapped and unwrapped again, by the version that is newest', async () => {
  const [first = ''] = await transit().wrap([{ key, binding }]);
  server.rotate();
  const [second = ''] = await transit().wrap([{ key, binding }]);
  expect([first, second].map((each) => transit().versionOf(each))).toEqual(['v1', 'v2']);
  const items = [first, second].map((wrapped) => ({ wrapped, binding }));
  expect(await transit().unwrap(items)).toEqual([key, key]);
});

test('many are wrapped some at a time, and one that does not open keeps no other closed', async () => {
  const keys = Array.from({ length: 450 }, (_, n) => ({ key: randomBytes(32), binding: `tenant ${n}` }));
  const sealed = await wrapAll(transit(), keys);
  expect(server.asked).toHaveLength(6);
  const stored = sealed.map((each, n) => ({ sealed: each, binding: n === 7 ? 'of another' : `tenant ${n}` }));
  const opened = await unwrapAll(transit(), stored);
  expect(opened[7]).toBe('transit/transit/mandate does not open it');
  expect(
    opened.filter((each, n) => n !== 7 && !Buffer.from(keys[n]?.key ?? []).equals(each as Buffer)),
  ).toEqual([]);
});

test('a token is read from its file anew, as it may have been renewed', async () => {
  const kms = transit();
  await kms.wrap([{ key, binding }]);
  server.tokens.delete(TOKEN);
  expect(await failureOf(kms.wrap([{ key, binding }]))).toContain('refuses the token');
  server.tokens.add('s.renewed');
  await writeFile(tokenFile, 's.renewed');
  await expect(kms.wrap([{ key, binding }])).resolves.toHaveLength(1);
});

test('a login is done once, and anew when its token has ended', async () => {
  await writeFile(tokenFile, SECRET_ID);
  const login = { by: 'approle', mount: 'approle', roleId: 'mandate', secretFile: tokenFile } as const;
  const kms = new Transit({ url: server.url, mount: 'transit', key: 'mandate', login });
  await kms.wrap([{ key, binding }]);
  await kms.wrap([{ key, binding }]);
  server.tokens.clear();
  await kms.wrap([{ key, binding }]);
  expect(server.asked.filter((each) => each.endsWith('/login'))).toHaveLength(2);
  await writeFile(tokenFile, 'of-somebody-else');
  server.tokens.clear();
  expect(await failureOf(kms.wrap([{ key, binding }]))).toContain('refuses the login (400)');
});

describe('what is refused of a server', () => {
  const wrap = (answerMs?: number) => transit(answerMs).wrap([{ key, binding }]);

  test.each([301, 302, 303, 307, 308])(
    'a redirect (%i), which would take the token elsewhere',
    async (status) => {
      const elsewhere = await startTransit();
      server.answer = (_, response) => {
        response.writeHead(status, { location: `${elsewhere.url}/v1/transit/encrypt/mandate` }).end();
        return true;
      };
      await failureOf(wrap());
      expect(elsewhere.asked).toEqual([]);
      await elsewhere[Symbol.asyncDispose]();
    },
  );

  test('no answer, a slow one, and one without an end', async () => {
    server.answer = () => true;
    expect(await failureOf(wrap(200))).toContain('gave no answer in 0.2 seconds');
    server.answer = (_, response) => {
      response.writeHead(200);
      const timer = setInterval(() => response.write(' '), 20);
      response.on('close', () => clearInterval(timer));
      return true;
    };
    expect(await failureOf(wrap(300))).toContain('gave no answer in 0.3 seconds');
    let sent = 0;
    server.answer = (_, response) => {
      response.writeHead(200);
      const more = (): void => {
        while (!response.destroyed && response.write(Buffer.alloc(65_536, 0x20))) sent += 65_536;
        if (!response.destroyed) response.once('drain', more);
      };
      more();
      return true;
    };
    expect(await failureOf(wrap())).toContain('more than 1048576 bytes');
    expect(sent).toBeLessThan(64 * 1_048_576);
  });

  test.each([
    ['no JSON', '<html>'],
    ['nothing', ''],
    ['an array', '[]'],
    ['results that are none', '{"data":{"batch_results":[null]}}'],
    ['no ciphertext', '{"data":{"batch_results":[{"ciphertext":"vault:v0:AAAA"}]}}'],
    ['the key itself', `{"data":{"batch_results":[{"ciphertext":"${key.toString('base64')}"}]}}`],
    ['fewer', '{"data":{"batch_results":[]}}'],
    ['more', '{"data":{"batch_results":[{"ciphertext":"vault:v1:AAAA"},{"ciphertext":"vault:v1:AAAA"}]}}'],
  ])('%s in the place of an answer', async (_, text) => {
    server.answer = (__, response) => {
      response.writeHead(200).end(text);
      return true;
    };
    await failureOf(wrap());
  });

  test('that it says in an error what it was told: nothing of it is repeated', async () => {
    for (const status of [400, 403, 404, 500, 503]) {
      server.answer = (request, response) => {
        const echoed = JSON.stringify({ errors: [`the token ${String(request.headers['x-vault-token'])}`] });
        response.writeHead(status).end(echoed);
        return true;
      };
      expect(await failureOf(wrap())).toContain(String(status));
    }
  });

  test.each([
    ['another key', () => ({ plaintext: randomBytes(32).toString('base64') })],
    ['a shorter one', () => ({ plaintext: randomBytes(16).toString('base64') })],
    ['what is no base64', () => ({ plaintext: `${key.toString('base64')}!` })],
    ['nothing', () => ({})],
  ])('%s than it wrapped', async (_, answered) => {
    const [sealed] = await wrapAll(transit(), [{ key, binding }]);
    server.twist = (what, results) => (what === 'decrypt' ? results.map(answered) : results);
    const [opened] = await unwrapAll(transit(), [{ sealed: sealed ?? Buffer.alloc(0), binding }]);
    expect(opened).toMatch(/answers (?:another key than the one it wrapped|what is no key)/);
    // Neither is what it could not open again kept.
    await failureOf(wrapAll(transit(), [{ key, binding }]));
  });

  test('two keys that it has changed for each other', async () => {
    const other = randomBytes(32);
    const keys = [
      { key, binding },
      { key: other, binding },
    ];
    const sealed = await wrapAll(transit(), keys);
    server.twist = (what, results) => (what === 'decrypt' ? results.toReversed() : results);
    const opened = await unwrapAll(
      transit(),
      sealed.map((each) => ({ sealed: each, binding })),
    );
    expect(opened).toEqual(Array(2).fill(expect.stringContaining('another key') as unknown));
  });
});

test.each([
  ['is not there', undefined],
  ['is empty', ''],
  ['would add a header', `${TOKEN}\r\nx-evil: 1`],
  ['is not of ASCII', `${TOKEN}ü`],
  ['is too long', 'a'.repeat(8_193)],
])('a token that %s is not sent', async (_, text) => {
  if (text === undefined) await rm(tokenFile);
  else await writeFile(tokenFile, text);
  expect(await failureOf(transit().wrap([{ key, binding }]))).toContain(tokenFile);
  expect(server.asked).toEqual([]);
});

describe('an envelope', () => {
  test('is what it was made as, and nothing else', () => {
    fc.assert(
      fc.property(
        fc.string(),
        fc.string(),
        fc.uint8Array({ minLength: 32, maxLength: 32 }),
        fc.string(),
        (kms, wrapped, of, to) => {
          fc.pre(kms.length + wrapped.length < 1_000);
          const stored = envelopeOf(kms, wrapped, of, to);
          expect(isEnvelope(stored)).toBe(true);
          const parsed = parseEnvelope(stored);
          expect(parsed).toMatchObject({ kms, wrapped });
          expect(isKeyOf(parsed, of, to)).toBe(true);
          expect(isKeyOf(parsed, of, `${to}x`)).toBe(false);
          expect(isKeyOf({ ...parsed, wrapped: `${wrapped}x` }, of, to)).toBe(false);
          expect(isKeyOf({ ...parsed, mac: '' }, of, to)).toBe(false);
        },
      ),
    );
  });

  test.each([
    ['without a member', '{"kms":"a","wrapped":"b"}'],
    ['with one more', '{"kms":"a","wrapped":"b","mac":"c","more":1}'],
    ['with a space', '{"kms":"a", "wrapped":"b","mac":"c"}'],
    ['with a member twice', '{"kms":"a","kms":"a","wrapped":"b","mac":"c"}'],
    ['that is long', `{"kms":"a","wrapped":"${'b'.repeat(9_000)}","mac":"c"}`],
  ])('%s is none', (_, text) => {
    expect(() => parseEnvelope(Buffer.from(text))).toThrow();
  });
});
