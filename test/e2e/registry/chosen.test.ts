import { spawnSync } from 'node:child_process';
import { scryptSync } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { TenantNo } from '../../../src/storage/rows.ts';
import { Guesses } from '../../../src/tenancy/registry/guesses.ts';
import { isSecretOf, newScrypt, readScrypt } from '../../../src/tenancy/registry/scrypt.ts';
import { logIn } from '../../fault/log.ts';
import { aliceReads, check, connect, form } from '../requests.ts';
import { basic, bearer, eventually, type Running, startServer } from '../server.ts';

/** Secrets that somebody chose: kept by scrypt, presented with the client's name, and guessed at slowly. */

const SECRET = 'correct horse.battery.staple';
const OTHER = 'four candles and a fork handle';

let server: Running;
beforeAll(async () => {
  const [hash, other] = [await newScrypt(SECRET), await newScrypt(OTHER)];
  server = await startServer({
    acme: (manifest) => {
      const credentials = [{ secret_scrypt: hash }];
      manifest.principals.push(
        { class: 'service', id: 'typist', credentials, may: ['check', 'introspect'] },
        { class: 'service', id: 'flooded', credentials: [{ secret_scrypt: other }], may: ['introspect'] },
      );
    },
  });
});
afterAll(() => server[Symbol.asyncDispose]());

const ask = async (id: string, secret: string) =>
  (await form(server.data, 'introspect', { token: 'x' }, { id, secret })).status;

describe('a secret that was chosen', () => {
  test('lets its client in, over OAuth and gRPC, again and again', async () => {
    for (let turn = 0; turn < 30; turn += 1) expect(await ask('typist', SECRET)).toBe(200);
    expect((await check(server.data, aliceReads, basic('typist', SECRET))).status).toBe(200);
    const url = `${server.data}/mandate.v1.DecisionService/Check`;
    const headers = { 'content-type': 'application/json', authorization: basic('typist', SECRET) };
    const answer = await fetch(url, { method: 'POST', headers, body: JSON.stringify(aliceReads) });
    expect(answer.status).toBe(200);
  });

  test('lets nobody in alone, by another name, in another tenant, or nearly', async () => {
    expect((await check(server.data, aliceReads, bearer(SECRET))).status).toBe(401);
    for (const [id, secret] of [
      ['docs-api', SECRET],
      ['typist', OTHER],
      ['typist', `${SECRET} `],
      ['typist', ''],
    ] as const)
      expect(await ask(id, secret), `${id} ${secret}`).toBe(401);
    const there = await form(
      server.data,
      'introspect',
      { token: 'x' },
      { id: 'typist', secret: SECRET },
      'globex',
    );
    expect(there.status).toBe(401);
  });

  test('is in no answer, record or log, and neither is a guess at it', async () => {
    const shown = await connect(server.admin, 'TenantService/GetPrincipal', {
      tenant: 'acme',
      class: 'service',
      id: 'typist',
    });
    expect(JSON.stringify(shown.body)).toMatch(/"secretScrypt":"\$scrypt\$ln=15,r=8,p=1\$…"/);
    await ask('typist', 'a guess that nobody is to read');
    const guesses = () => logIn(`${server.folder}/data`).filter(({ kind }) => kind === 'access');
    const found = await eventually(
      async () => guesses().map(({ body }) => Buffer.from(body).toString()),
      (all) => all.some((text) => text.includes('"claimed":"service:typist"')),
    );
    const claimed = found.filter((text) => text.includes('"claimed"'));
    for (const text of claimed) expect(JSON.parse(text)).toMatchObject({ detail: { credential: '' } });
  });
});

test('guesses are slowed down, and who is known goes on', async () => {
  expect(await ask('flooded', OTHER)).toBe(200);
  const answers = await Promise.all(
    Array.from({ length: 40 }, (_, turn) => ask('flooded', `guess number ${turn}`)),
  );
  expect(answers.filter((status) => status === 401).length).toBeLessThanOrEqual(14);
  expect(answers.filter((status) => status === 429).length).toBeGreaterThan(20);
  expect(await ask('flooded', OTHER)).toBe(200);
  // Not even a right one is looked at that was not known before.
  expect([200, 429]).toContain(await ask('typist', SECRET));
  const more = await Promise.all(
    Array.from({ length: 20 }, (_, turn) =>
      form(server.data, 'introspect', { token: 'x' }, { id: 'flooded', secret: `one more guess ${turn}` }),
    ),
  );
  const slowed = more.filter(({ status }) => status === 429);
  expect(slowed.length).toBeGreaterThan(0);
  for (const { headers } of slowed) expect(headers.get('retry-after')).toBe('1');
  // Nobody else pays for it.
  expect((await check(server.data, aliceReads)).status).toBe(200);
});

test('tries at once are as many tries, and come back with time', () => {
  let now = 0;
  const guesses = new Guesses(() => now);
  const acme = 1 as TenantNo;
  for (let turn = 0; turn < 10; turn += 1) guesses.take(acme, 'a');
  expect(() => guesses.take(acme, 'a')).toThrow('too many wrong secrets');
  guesses.take(acme, 'b');
  guesses.take(2 as TenantNo, 'a');
  now += 999;
  expect(() => guesses.take(acme, 'a')).toThrow('too many wrong secrets');
  now += 1;
  const giveBack = guesses.take(acme, 'a');
  giveBack();
  guesses.take(acme, 'a');
  expect(() => guesses.take(acme, 'a')).toThrow('too many wrong secrets');
});

describe('the text of a hash', () => {
  test('is what scrypt makes of it', async () => {
    const text = await newScrypt(SECRET);
    const read = readScrypt(text);
    if (!read) throw new Error('it is not read');
    const options = { N: 2 ** 15, r: 8, p: 1, maxmem: 2 ** 27 };
    expect(Buffer.from(read.hash)).toEqual(scryptSync(SECRET, read.salt, 32, options));
    expect(await isSecretOf(read, SECRET)).toBe(true);
    expect(await isSecretOf(read, OTHER)).toBe(false);
  });

  test.each([
    ['', 'empty'],
    ['$scrypt$ln=13,r=8,p=1$c2FsdHNhbHRzYWx0c2FsdA$aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNoaGFzaGhhc2g', 'too cheap'],
    ['$scrypt$ln=18,r=8,p=1$c2FsdHNhbHRzYWx0c2FsdA$aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNoaGFzaGhhc2g', 'too dear'],
    ['$scrypt$ln=15,r=8,p=9$c2FsdHNhbHRzYWx0c2FsdA$aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNoaGFzaGhhc2g', 'too long'],
    [
      '$scrypt$ln=15,r=16,p=1$c2FsdHNhbHRzYWx0c2FsdA$aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNoaGFzaGhhc2g',
      'another r',
    ],
    ['$scrypt$ln=15,r=8,p=1$c2FsdA$aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNoaGFzaGhhc2g', 'a short salt'],
    ['$scrypt$ln=15,r=8,p=1$c2FsdHNhbHRzYWx0c2FsdA$aGFzaA', 'a short hash'],
    [
      '$scrypt$ln=15,r=8,p=1$c2FsdHNhbHRzYWx0c2FsdB$aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNoaGFzaGhhc2g',
      'stray bits',
    ],
  ])('%s is none: %s', (text) => {
    expect(readScrypt(text)).toBeUndefined();
  });

  test('is printed by the command, which takes no short secret', () => {
    const hashed = (input: string) =>
      spawnSync(process.execPath, ['src/cli/mandate.ts', '--json', 'credential', 'hash'], {
        input,
        encoding: 'utf8',
      });
    expect(hashed('too short\n').stderr).toContain('a secret is one line of 12 to 1024 characters');
    expect(hashed('two lines of\nsome length\n').status).not.toBe(0);
    const { secret_scrypt: text } = JSON.parse(hashed(`${SECRET}\n`).stdout) as { secret_scrypt: string };
    expect(readScrypt(text)).toBeDefined();
  });
});
