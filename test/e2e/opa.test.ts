import { gzipSync } from 'node:zlib';
import { OPAClient, type Result } from '@open-policy-agent/opa';
import { HTTPClient } from '@open-policy-agent/opa/lib/http';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Served, serve } from '../containment/tenants.ts';
import { connect, postJson, request } from './requests.ts';
import { bearer, sha256 } from './server.ts';

/** OPA's data API with OPA's own client from npm: it is given another address, and nothing else. */

const SECRET = 'an-opa-client-test-secret-0000000001';

const REGO = `package authz

default allow := false

allow if input.user == "alice"

limits := {"reads": count(input.reads), "user": input.user}

partial if input.user == "nobody"

divided := 1 / input.by

given if input == null

same if input.a == input.b

exact := {"id": 9007199254740993, "now": time.now_ns() + 1, "price": 0.10}
`;

let server: Served;
let opa: OPAClient;
/** The bodies of what was answered, as they came. */
const answers: Record<string, unknown>[] = [];

beforeAll(async () => {
  server = await serve([
    {
      id: 'shop',
      manifest: {
        principals: [{ class: 'service', id: 'app', credentials: [{ secret_sha256: sha256(SECRET) }] }],
        entrypoints: [
          'authz/allow',
          'authz/limits',
          'authz/partial',
          'authz/divided',
          'authz/given',
          'authz/same',
          'authz/exact',
        ],
      },
      rego: REGO,
    },
    {
      id: 'limited',
      rego: 'package authz\n\nallow := true\n',
      manifest: { entrypoints: ['authz/allow'], limits: { decisions_per_second: 5 } },
    },
    { id: 'other', rego: 'package authz\n\nallow := true\n', manifest: { entrypoints: ['authz/allow'] } },
  ]);
  const httpClient = new HTTPClient();
  httpClient.addHook('response', async (response) => {
    answers.push((await response.clone().json()) as Record<string, unknown>);
  });
  opa = clientOf('shop', httpClient);
});
afterAll(() => server[Symbol.asyncDispose]());

const clientOf = (tenant: string, httpClient = new HTTPClient()): OPAClient =>
  new OPAClient(`${server.data}/t/${tenant}`, {
    headers: { authorization: bearer(SECRET) },
    sdk: { httpClient },
  });

const records = async (decisionId: unknown) => {
  const query = { tenant: 'shop', decisionId };
  const { body } = await connect<{ records: Record<string, unknown>[] }>(
    server.admin,
    'AuditService/Query',
    query,
  );
  return body.records;
};

describe('OPAClient', () => {
  test('evaluates a boolean rule', async () => {
    expect(await opa.evaluate('authz/allow', { user: 'alice' })).toBe(true);
    expect(await opa.evaluate('authz/allow', { user: 'bob' })).toBe(false);
  });

  test('evaluates a rule that yields an object, and converts it', async () => {
    const input = { user: 'bob', reads: ['a', 'b'] };
    expect(await opa.evaluate('authz/limits', input)).toEqual({ reads: 2, user: 'bob' });
    const fromResult = (result?: Result): number => (result as { reads: number }).reads;
    expect(await opa.evaluate('authz/limits', input, { fromResult })).toBe(2);
  });

  test('evaluates without an input', async () => {
    expect(await opa.evaluate('authz/allow')).toBe(false);
  });

  test('an undefined rule has no result', async () => {
    for (const path of ['authz/partial', 'authz/limits', 'authz/divided'])
      expect(await opa.evaluate(path, { user: 'x', by: 0 }), path).toBeUndefined();
    expect(answers.at(-1)).toEqual({ decision_id: expect.any(String), state_version: expect.any(Number) });
  });

  test('a path below an entry point is what of its value it names', async () => {
    const input = { user: 'bob', reads: ['a', 'b'] };
    expect(await opa.evaluate('authz/limits/reads', input)).toBe(2);
    expect(await opa.evaluate('authz/limits/reads/deeper', input)).toBeUndefined();
    expect(await opa.evaluate('authz/allow/deeper', {})).toBeUndefined();
    expect(answers.at(-1)).toEqual({ decision_id: expect.any(String), state_version: expect.any(Number) });
  });

  test('falls back from batches to single evaluations', async () => {
    const inputs = { one: { user: 'alice' }, two: { user: 'bob' } };
    expect(await opa.evaluateBatch('authz/allow', inputs, { fallback: true })).toEqual({
      one: true,
      two: false,
    });
  });

  test('finds undefined, as in OPA, what the tenant does not declare', async () => {
    for (const path of ['authz', 'authz/secret', 'mandate/decision', 'system/main', 'authz/allowed'])
      expect(await opa.evaluate(path, {}), path).toBeUndefined();
    expect(answers.at(-1)).toEqual({
      decision_id: expect.any(String),
      state_version: expect.any(Number),
      warning: { code: 'entrypoint_undeclared', message: expect.stringContaining('no such entry point') },
    });
    const [record] = await records(answers.at(-1)?.['decision_id']);
    expect(record).toMatchObject({ outcome: 'deny', caller: 'service:app' });
    expect(JSON.stringify(record)).toContain('policy_undefined');
  });

  test('is refused a tenant that does not know it', async () => {
    await expect(clientOf('other').evaluate('authz/allow', {})).rejects.toThrow();
    await expect(clientOf('nowhere').evaluate('authz/allow', {})).rejects.toThrow();
  });
});

describe('the data API', () => {
  const url = (path: string): string => `${server.data}/t/shop/v1/data/${path}`;
  const api = bearer(SECRET);

  test('answers numbers as they are, not as the nearest double', async () => {
    const answer = await fetch(url('authz/exact'), { method: 'POST', headers: { authorization: api } });
    expect(answer.headers.get('content-type')).toBe('application/json');
    expect(await answer.text()).toMatch(/"result":\{"id":9007199254740993,"now":\d{16,},"price":0\.10\}/);
  });

  test('answers a decision_id, which finds the record: caller, entry point, input, outcome and state_version', async () => {
    for (const [user, outcome] of [
      ['alice', 'allow'],
      ['bob', 'deny'],
    ]) {
      await opa.evaluate('authz/allow', { user });
      const { decision_id, state_version } = answers.at(-1) ?? {};
      const [record, ...more] = await records(decision_id);
      expect(more).toEqual([]);
      expect(record).toMatchObject({
        outcome,
        caller: 'service:app',
        resourceType: 'entrypoint',
        resourceId: 'authz/allow',
        rules: ['authz.allow'],
      });
      const kept = Buffer.from(String(record?.['body']), 'base64').toString('utf8');
      expect(JSON.parse(kept)).toMatchObject({
        decision_id,
        state_version,
        input: { data_input: { user } },
      });
    }
  });

  test('tells its metrics when asked', async () => {
    const plain = await postJson(url('authz/allow'), { input: { user: 'alice' } }, api);
    expect(plain.body).toEqual({
      decision_id: expect.any(String),
      state_version: expect.any(Number),
      result: true,
    });
    const asked = await postJson(`${url('authz/allow')}?metrics=true`, { input: { user: 'alice' } }, api);
    expect(asked.body).toEqual({
      decision_id: expect.any(String),
      state_version: expect.any(Number),
      result: true,
      metrics: { timer_server_handler_ns: expect.any(Number), counter_mandate_fuel: expect.any(Number) },
    });
  });

  test('takes a GET, and a path that ends in a slash', async () => {
    for (const path of ['authz/allow', 'authz/allow/'])
      expect(await request(url(path), { headers: { authorization: api } })).toMatchObject({
        status: 200,
        body: { result: false },
      });
  });

  test('takes an input as OPA does: in the query, gzipped, whatever the content type, or none', async () => {
    const ask = (query: string, init: RequestInit = {}) =>
      request<{ result?: unknown }>(url(query), {
        ...init,
        headers: { authorization: api, ...(init.headers as Record<string, string>) },
      });
    const alice = JSON.stringify({ user: 'alice' });
    const body = JSON.stringify({ input: { user: 'alice' } });
    for (const [answer, expected] of [
      [ask(`authz/allow?input=${encodeURIComponent(alice)}`), true],
      [ask('authz/allow', { method: 'POST', body, headers: { 'content-type': 'text/plain' } }), true],
      [
        ask('authz/allow', {
          method: 'POST',
          body: gzipSync(body),
          headers: { 'content-encoding': 'gzip', 'content-type': 'application/json' },
        }),
        true,
      ],
      [ask('authz/allow', { method: 'POST' }), false],
      // No input and the input null are two things.
      [ask('authz/given', { method: 'POST', body: '{}' }), undefined],
      [ask('authz/given', { method: 'POST', body: '{"input":null}' }), true],
    ] as const)
      expect((await answer).body.result).toBe(expected);
    expect((await ask('authz/allow?metrics', { method: 'POST', body })).body).toHaveProperty('metrics');
  });

  test('an input that does not unpack, or to more than a body may hold, is refused', async () => {
    for (const [body, status] of [
      [Buffer.from('no gzip'), 400],
      [gzipSync(Buffer.alloc(50_000_000)), 413],
    ] as const)
      expect(
        (
          await request(url('authz/allow'), {
            method: 'POST',
            body,
            headers: { authorization: api, 'content-encoding': 'gzip' },
          })
        ).status,
      ).toBe(status);
  });

  test('two ids that differ beyond a double are not taken for equal', async () => {
    const body = '{"input":{"a":9007199254740993,"b":9007199254740992}}';
    expect((await postJson(url('authz/same'), body, api)).status).toBe(400);
  });

  test("is held to the tenant's rate, with a hint when to come back, and counted", async () => {
    const limited = `${server.data}/t/limited/v1/data/authz/allow`;
    const answers = await Promise.all(Array.from({ length: 20 }, () => postJson(limited, {})));
    const refused = answers.filter(({ status }) => status === 429);
    expect(refused.length).toBeGreaterThan(10);
    expect(Number(refused[0]?.headers.get('retry-after'))).toBeGreaterThan(0);
    const { body } = await request<{ text: string }>(`${server.admin}/metrics`);
    expect(body.text).toMatch(/mandate_decisions_total\{tenant="limited",outcome="allow"\} [1-9]/);
  });

  test("refuses in OPA's form what is no request", async () => {
    expect(await postJson(url('authz/allow'), '{', api)).toMatchObject({
      status: 400,
      body: { code: 'invalid_request', message: expect.any(String) },
    });
    expect(await postJson(url('authz/allow'), {}, bearer('wrong'))).toMatchObject({
      status: 401,
      body: { code: 'unauthenticated' },
    });
    expect(await postJson(url('a'.repeat(1_025)), {}, api)).toMatchObject({
      status: 400,
      body: { code: 'invalid_request' },
    });
  });
});
