import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { claimsOf } from '../e2e/requests.ts';
import { api, mcp, type Stage } from './stage.ts';
import { DOMAIN, ledger, openStage, replace, TXN_TOKEN, transact, transactionToken } from './transacting.ts';

/** Transaction tokens (draft-ietf-oauth-transaction-tokens): asked for, replaced, taken. */

let stage: Stage;
beforeAll(async () => {
  stage = await openStage();
});
afterAll(() => stage[Symbol.asyncDispose]());

const said = {
  request_details: '{"action":"read","document":{"id":"roadmap"}}',
  request_context: '{"req_ip":"203.0.113.7","authn":"face"}',
};

describe('a transaction token', () => {
  test('Txn-Token Format: says the transaction, who asked for it, and is for the trust domain', async () => {
    const { status, body } = await transact(stage, await stage.granted(), said);
    expect(status).toBe(200);
    expect(body).toMatchObject({ token_type: 'N_A', issued_token_type: TXN_TOKEN, scope: 'docs.read' });
    expect(body).not.toHaveProperty('refresh_token');
    const [header = ''] = (body.access_token ?? '').split('.');
    expect(JSON.parse(Buffer.from(header, 'base64url').toString())).toMatchObject({ typ: 'txntoken+jwt' });
    const claims = claimsOf(body.access_token);
    expect(claims).toMatchObject({
      aud: DOMAIN,
      sub: 'user:alice',
      scope: 'docs.read',
      req_wl: 'mcp_server:docs-mcp',
      tctx: JSON.parse(said.request_details) as object,
      rctx: JSON.parse(said.request_context) as object,
      act: { sub: 'docs-mcp', act: { sub: 'research-agent' } },
    });
    expect(claims['txn']).toBe(claims['jti']);
    expect(Number(claims['exp']) - Number(claims['iat'])).toBeLessThanOrEqual(60);
    expect(claims).not.toHaveProperty('cnf');
  });

  test('is in the record with all that was said of the transaction, and the policy has seen it', async () => {
    const token = await transactionToken(stage, said);
    const [record] = await stage.records({ kind: 'exchange', action: 'transaction.issue' });
    expect(record).toMatchObject({ outcome: 'allow', caller: 'mcp_server:docs-mcp', resourceId: DOMAIN });
    const { input } = JSON.parse(Buffer.from(String(record?.['body']), 'base64').toString()) as {
      input: { action: { properties: object } };
    };
    expect(input.action.properties).toMatchObject({
      transaction: {
        id: claimsOf(token)['txn'],
        details: JSON.parse(said.request_details) as object,
        context: JSON.parse(said.request_context) as object,
      },
    });
  });

  test('is introspected and checked by any workload of the trust domain, where the tenant says so', async () => {
    const token = await transactionToken(stage);
    for (const client of [mcp, ledger, api])
      expect(await stage.introspect(token, client), client.id).toMatchObject({ active: true, aud: DOMAIN });
    // Twice: what was verified before is no other.
    for (const server of [ledger, ledger, api])
      expect(await stage.check(token, server)).toMatchObject({ decision: 'DECISION_ALLOW' });
  });

  test('ends with what it came from, by revocation and by the kill switch', async () => {
    const access = await stage.granted();
    const { body } = await transact(stage, access);
    await stage.revoke(access);
    expect(await stage.introspect(body.access_token ?? '', ledger)).toEqual({ active: false });
    expect(await stage.check(body.access_token ?? '', ledger)).toMatchObject({ decision: 'DECISION_DENY' });
    const own = await transactionToken(stage);
    await stage.revoke(own, mcp);
    expect(await stage.introspect(own, ledger)).toEqual({ active: false });
  });

  test('is asked for with a token of an identity provider by the workload that it was given to', async () => {
    const user = await stage.issuer.sign({ client_id: 'docs-mcp' });
    const { status, body } = await transact(stage, user);
    expect(status).toBe(200);
    expect(claimsOf(body.access_token)).toMatchObject({ sub: 'user:alice', act: { sub: 'docs-mcp' } });
  });
});

describe('a replacement', () => {
  test('Txn-Token as a subject_token: keeps txn, sub, aud and what was said, and names who asked in turn', async () => {
    const first = await transactionToken(stage, { ...said, scope: 'docs.read docs.suggest' });
    const { status, body } = await replace(stage, first, { request_details: '{"step":2}' });
    expect(status).toBe(200);
    const [before, after] = [claimsOf(first), claimsOf(body.access_token)];
    expect(after).toMatchObject({
      txn: before['txn'],
      sub: before['sub'],
      aud: before['aud'],
      scope: 'docs.read',
      req_wl: 'mcp_server:ledger-mcp',
      rctx: before['rctx'],
      tctx: { ...(before['tctx'] as object), step: 2 },
      act: { sub: 'ledger-mcp', act: before['act'] },
    });
    expect(after['jti']).not.toBe(before['jti']);
    expect(Number(after['exp'])).toBeLessThanOrEqual(Number(before['exp']));
    expect(await stage.records({ kind: 'exchange', action: 'transaction.replace' })).not.toEqual([]);
  });

  test('ends with the one that it replaces', async () => {
    const first = await transactionToken(stage);
    const { body } = await replace(stage, first);
    await stage.revoke(first, mcp);
    expect(await stage.introspect(body.access_token ?? '', ledger)).toEqual({ active: false });
  });
});
