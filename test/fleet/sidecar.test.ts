import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { mcp, Stage } from '../delegation/stage.ts';
import { Grpc } from '../e2e/grpc.ts';
import { aliceReads, check, connect, form, tokenReads } from '../e2e/requests.ts';
import { bearer, editTenant, eventually, type Running, secrets } from '../e2e/server.ts';
import { authorityOverrides, isReady, startSidecar } from './fleet.ts';

/** A real authority and a real sidecar: what is changed at one is so at the other. */

let stage: Stage;
let authority: Running;
let sidecar: Running;

beforeAll(async () => {
  stage = await Stage.open({ overrides: authorityOverrides, acme: metered });
  authority = stage.server;
  sidecar = await startSidecar(authority);
  await isReady(sidecar);
});

afterAll(async () => {
  await sidecar[Symbol.asyncDispose]();
  await stage[Symbol.asyncDispose]();
});

function metered(manifest: { meters?: Record<string, object> }): void {
  manifest.meters = { exports: { actions: ['document.export'], per: 'subject', window: '1h' } };
}

interface Versioned {
  state_version: number;
  decision_id: string;
}

const asMcp = (base: string, token: string, more: object = {}) =>
  check(base, { ...tokenReads(token, ''), ...more }, bearer(mcp.secret));

const versionIn = (answer: { headers: Headers }): number =>
  Number(answer.headers.get('mandate-state-version'));

const setStatus = (base: string, id: string, status: 'ACTIVE' | 'DISABLED') =>
  connect(base, 'TenantService/SetPrincipalStatus', {
    tenant: 'acme',
    class: 'user',
    id,
    status: `PRINCIPAL_STATUS_${status}`,
  });

describe('a sidecar', () => {
  test('decides as its authority does, in a log of its own', async () => {
    const [there, here] = await Promise.all([
      check(authority.data, aliceReads),
      check(sidecar.data, aliceReads),
    ]);
    expect(there.body.decision).toBe('DECISION_ALLOW');
    expect(here.body).toMatchObject({
      decision: 'DECISION_ALLOW',
      policyRevision: there.body.policyRevision,
    });
    const log = await connect<{ origin: string }>(sidecar.admin, 'AuditService/DescribeLog', {
      tenant: 'acme',
    });
    expect(log.body.origin).toBe(`${authority.data.replace('http://', '')}/t/acme/log/one`);
  });

  test('sees whoever was disabled at the authority, at once where the version is asked for', async () => {
    for (const [status, decision] of [
      ['DISABLED', 'DECISION_DENY'],
      ['ACTIVE', 'DECISION_ALLOW'],
      ['DISABLED', 'DECISION_DENY'],
      ['ACTIVE', 'DECISION_ALLOW'],
    ] as const) {
      const changed = await setStatus(authority.admin, 'alice', status);
      expect(changed.status).toBe(200);
      const atLeast = versionIn(changed);
      expect(atLeast).toBeGreaterThan(0);
      const here = await check(sidecar.data, { ...aliceReads, atLeast });
      expect(here.body).toMatchObject({ decision });
      expect(Number((here.body as { stateVersion?: string }).stateVersion)).toBeGreaterThanOrEqual(atLeast);
    }
  });

  test('says by which version it was decided, in the answer and in the record, whoever decided', async () => {
    using here = new Grpc(sidecar.data, secrets.api);
    using there = new Grpc(authority.data, secrets.api);
    let last = 0;
    for (const status of ['DISABLED', 'ACTIVE'] as const) {
      const atLeast = versionIn(await setStatus(authority.admin, 'alice', status));
      expect(atLeast).toBeGreaterThan(last);
      last = atLeast;
      await check(sidecar.data, { ...aliceReads, atLeast });
      for (const [server, grpc] of [
        [sidecar, here],
        [authority, there],
      ] as const) {
        // One by one main decides, and a stream is for a decision thread, which has to be told.
        const answers = [
          await grpc.call<Versioned>('DecisionService', 'Check', aliceReads),
          await grpc.checkByStream<Versioned>(aliceReads),
          await grpc.checkByStream<Versioned>(aliceReads),
        ];
        const inBatch = await grpc.call<{ results: Versioned[] }>('DecisionService', 'CheckBatch', {
          ...aliceReads,
          items: [{}, {}],
        });
        for (const { state_version: version, decision_id: decisionId } of [...answers, ...inBatch.results]) {
          expect(version).toBeGreaterThanOrEqual(atLeast);
          const found = await connect<{ records: { body: string }[] }>(
            server.admin,
            'AuditService/Query',
            {
              tenant: 'acme',
              decisionId,
            },
            server === authority ? bearer(secrets.operator) : undefined,
          );
          const text = Buffer.from(found.body.records[0]?.body ?? '', 'base64').toString('utf8');
          expect(JSON.parse(text)).toMatchObject({ state_version: version, decision_id: decisionId });
        }
      }
    }
  });

  test('verifies a token that the authority minted, and waits for its grant', async () => {
    for (let round = 0; round < 10; round += 1) {
      const token = await stage.granted();
      const { body } = await asMcp(sidecar.data, token);
      expect(body).toMatchObject({ decision: 'DECISION_ALLOW' });
    }
  });

  test('passes an exchange on, and a revocation, which it sees itself', async () => {
    const subject = await stage.issuer.sign();
    const fields = {
      grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
      subject_token: subject,
      subject_token_type: 'urn:ietf:params:oauth:token-type:access_token',
      audience: 'docs-mcp',
      scope: 'docs.read',
    };
    const client = { id: 'research-agent', secret: secrets.agent };
    const exchanged = await form(sidecar.data, 'token', fields, client);
    expect(exchanged).toMatchObject({ status: 200, body: { token_type: 'Bearer' } });
    const token = exchanged.body.access_token ?? '';
    expect((await asMcp(sidecar.data, token)).body.decision).toBe('DECISION_ALLOW');
    expect((await asMcp(authority.data, token)).body.decision).toBe('DECISION_ALLOW');
    const revoked = await form<object>(sidecar.data, 'revoke', { token }, client);
    expect(revoked.status).toBe(200);
    const here = await asMcp(sidecar.data, token, { atLeast: versionIn(revoked) });
    expect(here.body).toMatchObject({ decision: 'DECISION_DENY', reasons: [{ code: 'token_revoked' }] });
    const wrong = await form(sidecar.data, 'token', fields, { ...client, secret: 'x'.repeat(32) });
    expect(wrong).toMatchObject({ status: 401, body: { error: 'invalid_client' } });
  });

  test('passes administration on over Connect and gRPC, and the answers with their codes', async () => {
    const changed = await setStatus(sidecar.admin, 'nobody-at-all', 'DISABLED');
    expect(changed).toMatchObject({
      status: 404,
      body: { message: expect.stringContaining('principal_unknown') },
    });
    const listed = await connect<{ principals: object[] }>(sidecar.admin, 'TenantService/ListPrincipals', {
      tenant: 'acme',
    });
    expect(listed.body.principals.length).toBeGreaterThan(3);
    using admin = new Grpc(sidecar.admin);
    const answer = await admin.call('TenantService', 'SetPrincipalStatus', {
      tenant: 'acme',
      class: 'user',
      id: 'alice',
      status: 'PRINCIPAL_STATUS_ACTIVE',
    });
    expect(answer).toBeDefined();
  });

  test('lets the authority count, so that a meter is one for all', async () => {
    const exporting = { ...aliceReads, action: { name: 'document.export' } };
    const ask = (base: string) => check(base, exporting);
    const [here, there] = [await ask(sidecar.data), await ask(authority.data)];
    expect(here.body.decision).toBe(there.body.decision);
    const records = await stage.records({ action: 'document.export' });
    expect(records.length).toBeGreaterThanOrEqual(2);
    const own = await connect<{ records?: object[] }>(sidecar.admin, 'AuditService/Query', {
      tenant: 'acme',
      pageSize: 5,
      action: 'document.export',
    });
    expect(own.body.records ?? []).toEqual([]);
  });

  test('gives what the authority says of why not, by its code', async () => {
    const asked = { ...aliceReads, action: { name: 'document.export' }, resource: { type: '', id: '' } };
    const [here, there] = await Promise.all([check(sidecar.data, asked), check(authority.data, asked)]);
    expect(there.status).toBe(400);
    expect(here).toMatchObject({ status: 400, body: { code: 'invalid_argument' } });
    expect(here.body).toEqual(there.body);
  });

  test('takes a policy and a manifest as they become active', async () => {
    const before = await check(sidecar.data, aliceReads);
    await editTenant(authority.tenantFolder('acme'), (manifest) => {
      manifest.principals.push({ class: 'user', id: 'zoe', roles: ['reader'] });
    });
    const { writeFile } = await import('node:fs/promises');
    await writeFile(
      `${authority.tenantFolder('acme')}/frozen.rego`,
      'package authz\n\ndeny contains "frozen" if input.resource.id == "frozen"\n',
    );
    await connect(authority.admin, 'PolicyService/ReloadPolicy', { tenant: 'acme' });
    const frozen = { ...aliceReads, resource: { ...aliceReads.resource, id: 'frozen' } };
    await eventually(
      () => check(sidecar.data, frozen),
      ({ body }) => body.decision === 'DECISION_DENY',
    );
    const after = await check(sidecar.data, aliceReads);
    expect(after.body.policyRevision).not.toBe(before.body.policyRevision);
    expect(after.body.policyRevision).toBe((await check(authority.data, aliceReads)).body.policyRevision);
  });

  test('passes nothing on twice: two that name each other would do so for ever', async () => {
    const place = { data: sidecar.data, admin: authority.admin };
    const behind = await startSidecar(place, { node: 'two', base_url: authority.data });
    await using _behind = behind;
    await isReady(behind);
    expect((await check(behind.data, aliceReads)).body.decision).toBe('DECISION_ALLOW');
    const answer = await form(
      behind.data,
      'token',
      { grant_type: 'client_credentials' },
      {
        id: 'research-agent',
        secret: secrets.agent,
      },
    );
    expect(answer).toMatchObject({ status: 503, body: { error: 'unavailable' } });
    const counted = { ...aliceReads, action: { name: 'document.export' } };
    const twice = 'it was passed on before';
    expect(await check(behind.data, counted)).toMatchObject({
      status: 503,
      body: { message: expect.stringContaining(twice) as unknown },
    });
    using grpc = new Grpc(behind.data, secrets.api);
    await expect(grpc.call('DecisionService', 'Check', counted)).rejects.toMatchObject({
      message: expect.stringContaining(twice) as unknown,
    });
  });

  test('is killed with its tenant', async () => {
    const killed = await connect(authority.admin, 'KillService/Kill', {
      tenant: 'acme',
      wholeTenant: true,
      reason: 'a drill',
    });
    expect(killed.status).toBe(200);
    const here = await check(sidecar.data, { ...aliceReads, atLeast: versionIn(killed) });
    expect(here.body.decision).not.toBe('DECISION_ALLOW');
    const restored = await connect(authority.admin, 'KillService/Restore', {
      tenant: 'acme',
      wholeTenant: true,
      reason: 'the drill is over',
    });
    expect(restored.status).toBe(200);
    const again = await check(sidecar.data, { ...aliceReads, atLeast: versionIn(restored) });
    expect(again.body.decision).toBe('DECISION_ALLOW');
  });
});
