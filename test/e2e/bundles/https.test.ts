import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import type https from 'node:https';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { decided, policyOf } from '../../policy/revisions/lab.ts';
import { Authority, type Pair } from '../authority.ts';
import { connect } from '../requests.ts';
import { eventually, type Options, type Running, startIn, startServer } from '../server.ts';
import { administered, built, policy, readyz, type Served, served, withTag } from './stage.ts';

/** A tenant's policy that is pulled by HTTPS: bundles of `opa build`, from a server that is not Mandate's. */

let folder: string;
let authority: Authority;
let tls: https.ServerOptions;
let client: Pair;
let stranger: Authority;
let open: Buffer;
let closed: Buffer;

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'mandate-pull-'));
  [authority, stranger] = await Promise.all([
    Authority.create(folder, 'ours'),
    Authority.create(folder, 'theirs'),
  ]);
  const { pem } = await authority.issue('server', { 'IP.1': '127.0.0.1' });
  client = await authority.issue('client', { 'URI.1': 'spiffe://acme.example/mandate' });
  tls = { cert: pem.cert, key: pem.key };
  [open, closed] = await Promise.all([built(policy(true)), built(policy(false))]);
});
afterAll(() => rm(folder, { recursive: true, force: true }));

type Https = Record<string, unknown>;

const pulling = (from: Served, https: Https = {}, more: object = {}): NonNullable<Options['overrides']> => ({
  bundles: [
    {
      tenant: 'acme',
      https: { url: `${from.url}/acme.tar.gz`, ca: authority.ca.cert, ...https },
      min_seconds: 1,
      max_seconds: 1,
      ...more,
    },
  ],
});

const becomes = (server: Running, what: string): Promise<string> =>
  eventually(
    () => decided(server),
    (each) => each === what,
  );
const says = (server: Running, ...texts: readonly (string | RegExp)[]): Promise<string> =>
  eventually(
    () => readyz(server),
    (text) => texts.every((each) => (typeof each === 'string' ? text.includes(each) : each.test(text))),
  );

describe('a bundle by HTTPS', () => {
  test('decides once it is pulled, tested and recorded, and the next one follows', async () => {
    await using from = await served(tls, withTag(open, '"one"'));
    await using server = await startServer({ overrides: pulling(from) });
    await becomes(server, 'allow');
    const [first] = await policyOf(server).list();
    expect(first).toMatchObject({ state: 'active', author: `${from.url}/acme.tar.gz`, tests: { passed: 1 } });
    expect(await administered(server, 'policy.activate')).toEqual([
      expect.objectContaining({ caller: `${from.url}/acme.tar.gz`, outcome: 'done' }),
    ]);
    // Who has it is not sent it again.
    await eventually(
      () => Promise.resolve(from.requests),
      (requests) => requests.some(({ headers }) => headers['if-none-match'] === '"one"'),
    );
    from.answer = withTag(closed, '"two"');
    await becomes(server, 'deny');
    const metrics = await (await fetch(`${server.admin}/metrics`)).text();
    expect(metrics).toMatch(/mandate_bundle_pulls_total\{tenant="acme",outcome="taken"\} 2/);
    expect(metrics).toMatch(/mandate_bundle_pulls_total\{tenant="acme",outcome="unchanged"\} [1-9]/);
    expect(metrics).toMatch(/mandate_bundles_stale 0/);
    // What the folder holds does not count, and an operator is told so.
    expect(await readyz(server)).toContain('tenant acme: the policy in its folder does not count');
  });

  test('that fails leaves what was active, and says so until it is mended', async () => {
    await using from = await served(tls, withTag(open, '"one"'));
    await using server = await startServer({ overrides: pulling(from) });
    await becomes(server, 'allow');
    const source = `${from.url}/acme.tar.gz`;
    const failing = await built(
      policy(false, {
        'authz/other_test.rego':
          'package authz_test\n\nimport data.authz\n\ntest_open if authz.allow with input as {}\n',
      }),
    );
    from.answer = withTag(failing, '"two"');
    await says(server, `tenant acme: tests of the policy of ${source} fail`);
    const listed = await connect<{ tenants: { id: string; state: string; why: string }[] }>(
      server.admin,
      'TenantService/ListTenants',
      {},
    );
    expect(listed.body.tenants.find(({ id }) => id === 'acme')).toMatchObject({
      state: 'stale',
      why: expect.stringContaining('tests of the policy'),
    });
    expect(await decided(server)).toBe('allow');
    // It is asked for by its tag and not compiled again, and recorded once.
    await eventually(
      () =>
        Promise.resolve(from.requests.filter(({ headers }) => headers['if-none-match'] === '"two"').length),
      (count) => count > 1,
    );
    expect(await administered(server, 'policy.reject')).toEqual([
      expect.objectContaining({ caller: source, outcome: 'error' }),
    ]);
    const metrics = await (await fetch(`${server.admin}/metrics`)).text();
    expect(metrics).toMatch(/mandate_bundles_stale 1/);
    // A server that fails is another matter, and changes nothing either.
    from.answer = (_request, response) => void response.writeHead(503).end();
    await delay(1_500);
    expect(await decided(server)).toBe('allow');
    // Back to what it was, by its author: the tag of that is asked for no more, so it is sent.
    from.answer = withTag(open, '"one"');
    await eventually(
      () => readyz(server),
      (text) => !text.includes('tests of the policy') && !text.includes('could not be pulled'),
    );
    expect(await decided(server)).toBe('allow');
  });

  test('a restart keeps the tag and what was active, also while the server is away', async () => {
    await using from = await served(tls, withTag(open, '"one"'));
    const options = { overrides: pulling(from) };
    const first = await startServer(options);
    try {
      await becomes(first, 'allow');
      await eventually(
        () => Promise.resolve(from.requests),
        (requests) => requests.some(({ headers }) => headers['if-none-match'] === '"one"'),
      );
      await first.stop();
      from.requests.length = 0;
      from.answer = (_request, response) => void response.writeHead(503).end();
      const second = await startIn(first.folder, options);
      // At once: nobody waits for a source that may not be there.
      expect(await decided(second)).toBe('allow');
      await says(second, `tenant acme: its bundle could not be pulled from ${from.url}/acme.tar.gz`, '503');
      expect(from.requests[0]?.headers['if-none-match']).toBe('"one"');
      await second.stop();
    } finally {
      await first[Symbol.asyncDispose]();
    }
  });

  test('what an operator rolled back stays so until there is something new', async () => {
    await using from = await served(tls, withTag(open, '"one"'));
    await using server = await startServer({ overrides: pulling(from) });
    await becomes(server, 'allow');
    from.answer = withTag(closed, '"two"');
    await becomes(server, 'deny');
    await policyOf(server).rollback();
    expect(await decided(server)).toBe('allow');
    const asked = from.requests.length;
    await eventually(
      () => Promise.resolve(from.requests.length),
      (count) => count > asked + 1,
    );
    expect(await decided(server)).toBe('allow');
    // Whoever reloads wants just what stands there.
    expect((await policyOf(server).reload()).body).toMatchObject({ changed: true });
    expect(await decided(server)).toBe('deny');
    // And is told why it cannot have it.
    from.answer = (_request, response) => void response.writeHead(503).end();
    expect((await policyOf(server).reload()).body).toMatchObject({
      code: 'unavailable',
      message: expect.stringContaining('answers 503'),
    });
    from.answer = withTag(Buffer.from('x'), '"three"');
    expect((await policyOf(server).reload()).body).toMatchObject({
      code: 'failed_precondition',
      message: expect.stringContaining('it is no gzipped tar'),
    });
    expect(await decided(server)).toBe('deny');
  });

  test('with four eyes what is pulled is kept, and decides once somebody activates it', async () => {
    await using from = await served(tls, withTag(open, '"one"'));
    await using server = await startServer({
      overrides: pulling(from),
      acme: (manifest) => {
        manifest.policy = { four_eyes: true };
      },
    });
    // The first has no other to go on with.
    await becomes(server, 'allow');
    from.answer = withTag(closed, '"two"');
    const [kept] = await eventually(
      () => policyOf(server).list(),
      (revisions) => revisions.length > 1,
    );
    expect(kept).toMatchObject({ state: 'validated', author: `${from.url}/acme.tar.gz` });
    expect(await decided(server)).toBe('allow');
    await policyOf(server).activate(kept?.revision ?? '');
    expect(await decided(server)).toBe('deny');
  });

  test('a bearer token of a file, read again each time, or of the environment, and a client certificate', async () => {
    const file = path.join(folder, 'token');
    await writeFile(file, 'first-token\n');
    await using from = await served(
      { ...tls, ca: authority.ca.pem.cert, requestCert: true, rejectUnauthorized: true },
      withTag(open, '"one"'),
    );
    {
      await using server = await startServer({
        overrides: pulling(from, { token_file: file, client: { cert: client.cert, key: client.key } }),
      });
      await becomes(server, 'allow');
      expect(from.requests[0]?.headers.authorization).toBe('Bearer first-token');
      await writeFile(file, 'second-token');
      await eventually(
        () => Promise.resolve(from.requests.at(-1)?.headers.authorization),
        (each) => each === 'Bearer second-token',
      );
    }
    from.requests.length = 0;
    await using server = await startServer({
      environment: { ACME_BUNDLE_TOKEN: 'of-the-environment' },
      overrides: pulling(from, {
        token_environment: 'ACME_BUNDLE_TOKEN',
        client: { cert: client.cert, key: client.key },
      }),
    });
    await becomes(server, 'allow');
    expect(from.requests[0]?.headers.authorization).toBe('Bearer of-the-environment');
  });

  test('a server that holds requests is asked again at once', async () => {
    const held: (() => void)[] = [];
    let current: [Buffer, string] = [open, '"one"'];
    const type = { 'content-type': 'application/vnd.openpolicyagent.bundles' };
    await using from = await served(tls, (request, response) => {
      const answer = (): void => withTag(...current, type)(request, response);
      if (
        request.headers['if-none-match'] === current[1] &&
        /wait=30/.test(String(request.headers['prefer']))
      )
        held.push(answer);
      else answer();
    });
    await using server = await startServer({
      overrides: pulling(from, { long_polling_seconds: 30 }, { min_seconds: 60, max_seconds: 60 }),
    });
    await becomes(server, 'allow');
    await eventually(
      () => Promise.resolve(held.length),
      (count) => count === 1,
    );
    current = [closed, '"two"'];
    for (const answer of held.splice(0)) answer();
    await becomes(server, 'deny');
    // One that says so and answers at once is not asked without an end.
    await eventually(
      () => Promise.resolve(held.length),
      (count) => count === 1,
    );
    const asked = from.requests.length;
    for (const answer of held.splice(0)) answer();
    await delay(1_000);
    expect(from.requests.length).toBe(asked);
  });
});

/** A bomb of a gzip: a thousand times what it is. */
const bomb = async (): Promise<Buffer> => {
  const { gzipSync } = await import('node:zlib');
  return gzipSync(Buffer.alloc(200 * 1024 * 1024), { level: 9 });
};

describe('what is not taken', () => {
  type Case = readonly [what: string, answer: () => Promise<Served['answer']>, words: RegExp];
  const body =
    (bytes: Buffer | string): Served['answer'] =>
    (_request, response) =>
      void response.writeHead(200).end(bytes);
  let elsewhere: Served;
  beforeAll(async () => {
    elsewhere = await served(undefined, body(open));
  });
  afterAll(() => elsewhere[Symbol.asyncDispose]());

  const cases: readonly Case[] = [
    [
      'a redirect, wherever it leads',
      () =>
        Promise.resolve(
          (_request, response) => void response.writeHead(302, { location: `${elsewhere.url}/` }).end(),
        ),
      /answers 302, and redirects are not followed/,
    ],
    ['a bomb', async () => body(await bomb()), /it is more than 100663296 bytes, unpacked/],
    ['what is no archive', () => Promise.resolve(body('<html>')), /it is no gzipped tar/],
    [
      'more than is read of any',
      () =>
        Promise.resolve((_request, response) => {
          response.writeHead(200);
          const more = (): void => {
            while (response.writable && response.write(Buffer.alloc(1024 * 1024)));
            response.once('drain', more);
          };
          more();
        }),
      /sends more than 33554432 bytes/,
    ],
    [
      'one that breaks off',
      () =>
        Promise.resolve((_request, response) => {
          response.writeHead(200, { 'content-length': open.length });
          response.write(open.subarray(0, open.length - 10), () => response.destroy());
        }),
      /cannot be reached|broke off/,
    ],
    [
      'one that is compiled',
      async () => body(await built(policy(true), ['-t', 'wasm', '-e', 'authz/allow'])),
      /it is compiled/,
    ],
    [
      'one of another package than a tenant has',
      async () => body(await built({ 'a.rego': 'package mandate.decision\n\nresult := {"allow": true}\n' })),
      /does not compile/,
    ],
    ['one without Rego', async () => body(await built({ 'data.json': '{"a": 1}' })), /it holds no Rego/],
    [
      'one in Rego v0',
      async () => body(await built({ 'a.rego': 'package authz\n\nallow { true }\n' }, ['--v0-compatible'])),
      /it is written in Rego v0/,
    ],
  ];

  test.for(cases)('%s: nothing decides, and an operator is told', async ([, answer, words]) => {
    await using from = await served(tls, await answer());
    await using server = await startServer({ overrides: pulling(from) });
    await says(server, words);
    expect(await decided(server)).toBe('deny');
    expect(elsewhere.requests).toEqual([]);
  });

  test('a certificate of another authority', async () => {
    await using from = await served(tls, withTag(open, '"one"'));
    await using server = await startServer({ overrides: pulling(from, { ca: stranger.ca.cert }) });
    await says(server, /cannot be reached: .*certificate/);
    expect(from.requests).toEqual([]);
  });

  test.each([
    ['http beyond this machine', { url: 'http://bundles.example/a.tar.gz' }, /is not https/],
    [
      'a password in the address',
      { url: 'https://u:p@bundles.example/a.tar.gz' },
      /a credential in an address/,
    ],
    ['two tokens', { token_file: 'a', token_environment: 'B' }, /one of token_file/],
    [
      'a token that the environment has not',
      { token_environment: 'NO_SUCH_TOKEN' },
      /NO_SUCH_TOKEN of the environment holds no token/,
    ],
  ])('%s: the server does not start', async (_what, https, words) => {
    await using from = await served(tls);
    await expect(startServer({ overrides: pulling(from, https) })).rejects.toThrow(words);
  });

  test('what a policy that was never pulled would keep out of records is kept out', async () => {
    await using from = await served(tls, (_request, response) => void response.writeHead(500).end());
    await using server = await startServer({ overrides: pulling(from) });
    expect(await decided(server)).toBe('deny');
    const { body: page } = await connect<{ records: { kind: string; input?: { context?: object } }[] }>(
      server.admin,
      'AuditService/Query',
      { tenant: 'acme', kind: 'decision' },
    );
    expect(JSON.stringify(page.records)).not.toContain('"sensitivity"');
  });
});
