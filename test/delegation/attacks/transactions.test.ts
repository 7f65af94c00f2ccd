import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ACCESS_TOKEN, claimsOf } from '../../e2e/requests.ts';
import { agent, mcp, refusalOf, type Stage } from '../stage.ts';
import {
  DOMAIN,
  ledger,
  openStage,
  outside,
  replace,
  TXN_TOKEN,
  transact,
  transactionToken,
} from '../transacting.ts';

/** Transaction tokens in hands that would have more of them. */

let stage: Stage;
beforeAll(async () => {
  stage = await openStage();
});
afterAll(() => stage[Symbol.asyncDispose]());

const codeOf = async (answer: ReturnType<typeof transact>): Promise<unknown> => refusalOf(await answer).code;

test('a transaction token is no access token: it is exchanged for none, and none passes for it', async () => {
  const token = await transactionToken(stage);
  const access = await stage.granted();
  const asAccess = { audience: 'docs-api', scope: 'docs.read', requested_token_type: ACCESS_TOKEN };
  for (const type of [ACCESS_TOKEN, TXN_TOKEN, 'urn:ietf:params:oauth:token-type:jwt'])
    expect(await codeOf(stage.exchange(token, { ...asAccess, subject_token_type: type }, ledger))).toBe(
      'token_invalid',
    );
  expect(await codeOf(transact(stage, token, {}, ledger))).toBe('token_invalid');
  expect(await codeOf(replace(stage, access, {}, mcp))).toBe('token_invalid');
  const user = await stage.issuer.sign({ client_id: 'docs-mcp' });
  expect(await codeOf(replace(stage, user, {}, mcp))).toBe('token_invalid');
});

test('a token of the type that an issuer signed is no transaction token of ours, and no other either', async () => {
  const forged = await stage.issuer.sign(
    { aud: DOMAIN, txn: 'mine', req_wl: 'mcp_server:docs-mcp', tctx: {}, rctx: {}, client_id: 'docs-mcp' },
    { typ: 'txntoken+jwt' },
  );
  for (const answer of [replace(stage, forged, {}, mcp), transact(stage, forged)])
    expect(await codeOf(answer)).toBe('token_invalid');
});

test('whoever is outside the trust domain gets none, replaces none, and learns nothing of one', async () => {
  const token = await transactionToken(stage);
  expect(await codeOf(transact(stage, await stage.granted(), {}, agent))).toBe('invalid_target');
  expect(await codeOf(replace(stage, token, {}, outside))).toBe('invalid_target');
  expect(await stage.introspect(token, outside)).toEqual({ active: false });
  expect(await stage.check(token, outside)).toMatchObject({
    decision: 'DECISION_DENY',
    reasons: [{ code: 'audience_mismatch' }],
  });
});

test('another trust domain, two, or a server beside it is refused', async () => {
  const access = await stage.granted();
  expect(await codeOf(transact(stage, access, { audience: 'other.example' }))).toBe('invalid_target');
  expect(await codeOf(transact(stage, access, { audience: 'docs-api' }))).toBe('invalid_target');
  expect(await codeOf(transact(stage, access, { resource: 'https://docs.acme.example/mcp' }))).toBe(
    'invalid_request',
  );
  // Nor is an access token for the trust domain.
  expect(await codeOf(transact(stage, access, { requested_token_type: ACCESS_TOKEN }))).toBe(
    'invalid_target',
  );
});

test('a replacement is no wider, no longer, and of nothing else, whatever is asked for', async () => {
  const first = await transactionToken(stage, {
    scope: 'docs.read',
    request_details: '{"amount":100,"to":{"id":"bob"}}',
    request_context: '{"req_ip":"203.0.113.7"}',
  });
  const before = claimsOf(first);
  const members = fc.dictionary(fc.constantFrom('amount', 'to', 'more'), fc.jsonValue({ maxDepth: 2 }), {
    maxKeys: 3,
  });
  let replaced = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.subarray(['docs.read', 'docs.suggest', 'docs.write', 'admin'], { minLength: 1 }),
      members,
      fc.constantFrom('read', 'suggest', 'act', undefined),
      async (scopes, details, use) => {
        const { status, body } = await replace(stage, first, {
          scope: scopes.join(' '),
          request_details: JSON.stringify(details),
          ...(use && { use }),
        });
        if (status !== 200) return;
        replaced += 1;
        const after = claimsOf(body.access_token);
        expect(after['scope']).toBe('docs.read');
        expect(Number(after['exp'])).toBeLessThanOrEqual(Number(before['exp']));
        for (const claim of ['txn', 'sub', 'aud', 'rctx']) expect(after[claim]).toEqual(before[claim]);
        expect(after['tctx']).toMatchObject(before['tctx'] as object);
      },
    ),
    { numRuns: 60 },
  );
  expect(replaced).toBeGreaterThan(0);
  for (const details of ['{"amount":1000}', '{"to":{"id":"bob","more":1}}', '{"amount":null}'])
    expect(await codeOf(replace(stage, first, { request_details: details }))).toBe('invalid_request');
  expect(await codeOf(replace(stage, first, { request_context: '{"req_ip":"198.51.100.1"}' }))).toBe(
    'invalid_request',
  );
});

test('replacing goes no deeper than the ceilings of all before it', async () => {
  let token = await transactionToken(stage);
  const codes: unknown[] = [];
  for (let turn = 0; turn < 5; turn += 1) {
    const { status, body } = await replace(stage, token, {}, turn % 2 === 0 ? ledger : mcp);
    codes.push(status === 200 ? 200 : body.code);
    token = body.access_token ?? token;
  }
  expect(codes).toEqual([200, 200, 200, 'exchange_denied', 'exchange_denied']);
});

test('the token that it is asked for with is not put into it', async () => {
  const access = await stage.granted();
  for (const fields of [
    { request_details: JSON.stringify({ deep: [{ token: access }] }) },
    { request_context: JSON.stringify({ authorization: `Bearer ${access}` }) },
    // Written otherwise, it is the same.
    { request_context: JSON.stringify({ token: access }).replace('eyJ', '\\u0065yJ') },
  ])
    expect(await codeOf(transact(stage, access, fields))).toBe('invalid_request');
});

describe('what is said of a transaction', () => {
  test.each([
    ['is no object', '[1]'],
    ['is no JSON', '{"a":'],
    ['says a member twice', '{"a":1,"a":2}'],
    ['is deep', `{"a":${'['.repeat(9)}${']'.repeat(9)}}`],
    ['is long', JSON.stringify({ a: 'x'.repeat(4_096) })],
  ])('%s is refused', async (_, text) => {
    const access = await stage.granted();
    for (const name of ['request_details', 'request_context'])
      expect(await codeOf(transact(stage, access, { [name]: text }))).toBe('invalid_request');
  });

  test('with another token than a transaction token is refused, and not left out', async () => {
    const user = await stage.issuer.sign();
    expect(await codeOf(stage.exchange(user, { request_details: '{}' }))).toBe('invalid_request');
  });

  test('changes no claim of the token, whatever its members are called', async () => {
    const said =
      '{"scope":"docs.write","sub":"user:bob","__proto__":{"aud":"x"},"constructor":1,"exp":99999999999}';
    const token = await transactionToken(stage, { request_details: said, request_context: said });
    expect(claimsOf(token)).toMatchObject({ scope: 'docs.read', sub: 'user:alice', aud: DOMAIN });
  });
});

test('with a task, an approval or may_act none is given', async () => {
  const access = await stage.granted();
  for (const fields of [
    { task_purpose: 'more' },
    { request_approval: 'true' },
    { may_act: 'mcp_server:ledger-mcp' },
  ])
    expect(await codeOf(transact(stage, access, fields))).toBe('invalid_request');
});

test('where the tenant does not take them, none is good with a check or an introspection', async () => {
  await using strict = await openStage(false);
  const token = await transactionToken(strict);
  expect(await strict.introspect(token, ledger)).toEqual({ active: false });
  for (const server of [ledger, mcp, ledger])
    expect(await strict.check(token, server)).toMatchObject({
      decision: 'DECISION_DENY',
      reasons: [{ code: 'token_invalid' }],
    });
  // And it is replaced and ended all the same.
  expect((await replace(strict, token)).status).toBe(200);
});

test('where a server has the name of the trust domain, there are none', async () => {
  await using clash = await openStage(true, {
    acme: ({ principals }) => principals.push({ class: 'service', id: DOMAIN }),
  });
  expect(await codeOf(transact(clash, await clash.granted()))).toBe('unsupported_token_type');
});
