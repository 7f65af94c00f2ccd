import { status } from '@grpc/grpc-js';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { failure, Grpc, type Message, struct } from './grpc.ts';
import { ISSUER_AUDIENCE, type Issuer, startIssuer, trustIn } from './issuer.ts';
import { type Running, secrets, startServer } from './server.ts';

let server: Running;
let issuer: Issuer;
let pep: Grpc;
let agent: Grpc;
let operator: Grpc;

beforeAll(async () => {
  issuer = await startIssuer();
  server = await startServer({ acme: (manifest) => (manifest.issuers = [trustIn(issuer.url)]) });
  pep = new Grpc(server.data, secrets.api);
  agent = new Grpc(server.data, secrets.agent);
  operator = new Grpc(server.admin, secrets.operator);
});

afterAll(async () => {
  for (const client of [pep, agent, operator]) client[Symbol.dispose]();
  await server[Symbol.asyncDispose]();
  await issuer[Symbol.asyncDispose]();
});

interface CheckResponse {
  decision: string;
  reasons: { code: string }[];
  obligations: object[];
  challenge: object | null;
  decision_id: string;
  policy_revision: string;
  record_index: number;
  cost: number;
}

interface RecordMessage extends Message {
  index: number;
  decision_id: string;
}

const reads = (id: string, properties: Record<string, unknown> = {}) => ({
  tenant: 'acme',
  subject: { type: 'user', id },
  action: { name: 'document.read' },
  resource: {
    type: 'document',
    id: 'roadmap',
    properties: struct({ project: 'apollo', sensitivity: 'internal', ...properties }),
  },
});

const check = (request: object): Promise<CheckResponse> => pep.call('DecisionService', 'Check', request);
const codes = (response: CheckResponse): string[] => response.reasons.map(({ code }) => code);

/** alice's own token, given to the agent, exchanged for one to read at docs-mcp. */
const exchange = async (lifetime = 0): Promise<{ access_token: string; grant_id: string } & Message> =>
  agent.call('DelegationService', 'Exchange', {
    tenant: 'acme',
    subject_token: await issuer.sign(),
    audience: 'docs-mcp',
    scopes: ['docs.read', 'docs.write'],
    lifetime_seconds: lifetime,
  });

const withToken = (token: string) => {
  const { subject: _, ...rest } = reads('alice');
  return { ...rest, subject_token: token, audience: 'docs-mcp' };
};

describe('DecisionService/Check with grpc-js and the proto files', () => {
  test('allows, and says by which revision, at what cost and where it is recorded', async () => {
    const answer = await check(reads('alice'));
    expect(answer).toMatchObject({ decision: 'DECISION_ALLOW', reasons: [], challenge: null });
    expect(answer.policy_revision).toMatch(/^sha256:[0-9a-f]{64}$/);
    expect(answer.decision_id).toMatch(/^[0-9a-f-]{14}7/);
    expect(answer.cost).toBeGreaterThan(0);
  });

  test('denies with a reason', async () => {
    const answer = await check(reads('bob', { sensitivity: 'restricted' }));
    expect(answer.decision).toBe('DECISION_DENY');
    expect(codes(answer)).toEqual(['not_allowed']);
  });

  test('challenges with what is to be proven', async () => {
    const request = { ...reads('alice', { owner: 'alice' }), action: { name: 'document.delete' } };
    const answer = await check(request);
    expect(answer.decision).toBe('DECISION_CHALLENGE');
    expect(JSON.stringify(answer.challenge)).toContain('step_up');
    const proven = await check({ ...request, context: struct({ mfa: true }) });
    expect(proven.decision).toBe('DECISION_ALLOW');
  });

  test('answers with the obligations of the policy', async () => {
    const answer = await check(reads('alice', { sensitivity: 'confidential' }));
    expect(JSON.stringify(answer.obligations)).toContain('watermark');
  });

  test('denies a principal the directory does not know and one that is disabled', async () => {
    expect(codes(await check(reads('nobody')))).toEqual(['principal_unknown']);
    expect(codes(await check(reads('mallory')))).toEqual(['principal_disabled']);
  });

  test('has the code of an error in the metadata mandate-error-code', async () => {
    const { action: _, ...incomplete } = reads('alice');
    const table: [object, number, string][] = [
      [{ ...reads('alice'), tenant: 'nowhere' }, status.NOT_FOUND, 'tenant_unknown'],
      [incomplete, status.INVALID_ARGUMENT, 'invalid_request'],
      [
        { ...reads('alice'), subject: { type: 'robot', id: 'r' } },
        status.INVALID_ARGUMENT,
        'principal_class_unknown',
      ],
    ];
    for (const [request, code, name] of table)
      expect(await failure(check(request))).toEqual({ status: code, code: name });
  });

  test('refuses a caller whose credential is not of the tenant', async () => {
    using stranger = new Grpc(server.data, 'not-a-credential');
    expect(await failure(stranger.call('DecisionService', 'Check', reads('alice')))).toEqual({
      status: status.UNAUTHENTICATED,
      code: 'unauthenticated',
    });
  });
});

describe('DelegationService with grpc-js and the proto files', () => {
  test('exchanges, introspects, decides by and revokes a token', async () => {
    const { access_token: token, grant_id, ...exchanged } = await exchange();
    expect(exchanged).toMatchObject({ token_type: 'Bearer', scopes: ['docs.read'] });
    expect(Number(exchanged['expires_in_seconds'])).toBeLessThanOrEqual(300);
    expect(await agent.call('DelegationService', 'Introspect', { tenant: 'acme', token })).toMatchObject({
      active: true,
      subject: { class: 'user', id: 'alice' },
      actors: [{ class: 'agent', id: 'research-agent' }],
      scopes: ['docs.read'],
      audience: 'docs-mcp',
      grant_id,
    });
    using mcp = new Grpc(server.data, secrets.mcp);
    const ask = (): Promise<CheckResponse> => mcp.call('DecisionService', 'Check', withToken(token));
    expect((await ask()).decision).toBe('DECISION_ALLOW');
    expect(await agent.call('DelegationService', 'Revoke', { tenant: 'acme', token })).toEqual({
      revoked: 1,
    });
    const after = await ask();
    expect(after.decision).toBe('DECISION_DENY');
    expect(codes(after)).toEqual(['token_revoked']);
    expect(await agent.call('DelegationService', 'Introspect', { tenant: 'acme', token })).toMatchObject({
      active: false,
      subject: null,
      actors: [],
    });
  });

  test('lives no longer than asked', async () => {
    expect((await exchange(20))['expires_in_seconds']).toBeLessThanOrEqual(20);
  });

  test('revokes by the id of the grant', async () => {
    const { grant_id } = await exchange();
    expect(await agent.call('DelegationService', 'Revoke', { tenant: 'acme', grant_id })).toEqual({
      revoked: 1,
    });
    expect(await agent.call('DelegationService', 'Revoke', { tenant: 'acme', grant_id })).toEqual({
      revoked: 0,
    });
  });

  test('tells a caller that is no principal that an exchange takes an agent', async () => {
    using nobody = new Grpc(server.data);
    const call = nobody.call('DelegationService', 'Exchange', {
      tenant: 'acme',
      subject_token: await issuer.sign({ aud: ISSUER_AUDIENCE }),
      audience: 'docs-mcp',
      scopes: ['docs.read'],
    });
    expect(await failure(call)).toEqual({ status: status.UNAUTHENTICATED, code: 'unauthenticated' });
  });
});

describe('the admin plane with grpc-js and the proto files', () => {
  test('finds the record of a decision by its id', async () => {
    const { decision_id, record_index } = await check(reads('alice'));
    const { records } = await operator.call<{ records: RecordMessage[] }>('AuditService', 'Query', {
      tenant: 'acme',
      decision_id,
    });
    expect(records).toMatchObject([
      {
        index: record_index,
        kind: 'decision',
        outcome: 'allow',
        subject: { class: 'user', id: 'alice' },
        action: 'document.read',
        resource_id: 'roadmap',
        rules: ['authz.allow'],
        caller: 'service:docs-api',
      },
    ]);
  });

  test('tails the log as it grows, in its order and without a gap', async () => {
    const first = await check(reads('alice'));
    const stream = operator.stream('AuditService', 'Tail', {
      tenant: 'acme',
      from_index: first.record_index,
    });
    const seen: RecordMessage[] = [];
    for await (const { record } of stream as AsyncIterable<{ record: RecordMessage }>) {
      seen.push(record);
      // The rest is written while the stream is open.
      if (seen.length === 1) await Promise.all([check(reads('alice')), check(reads('bob'))]);
      if (seen.length === 3) break;
    }
    expect(seen.map(({ index }) => index)).toEqual([0, 1, 2].map((at) => first.record_index + at));
    expect(seen[0]?.decision_id).toBe(first.decision_id);
  });

  test('disables a principal from the very next Check on, and revokes its grants', async () => {
    const { access_token: token } = await exchange();
    const setStatus = (value: string) =>
      operator.call<{ revoked: number }>('TenantService', 'SetPrincipalStatus', {
        tenant: 'acme',
        class: 'agent',
        id: 'research-agent',
        status: `PRINCIPAL_STATUS_${value}`,
      });
    expect((await setStatus('DISABLED')).revoked).toBeGreaterThan(0);
    expect(codes(await check(withToken(token)))).toEqual(['token_revoked']);
    expect(await failure(exchange())).toMatchObject({ status: status.PERMISSION_DENIED });
    await setStatus('ACTIVE');
    expect(codes(await check(withToken(token)))).toEqual(['token_revoked']);
    expect((await exchange()).grant_id).not.toBe('');
  });

  test('lists tenants, shows a principal and the active revision', async () => {
    const { tenants } = await operator.call<{ tenants: Message[] }>('TenantService', 'ListTenants', {});
    expect(new Set(tenants.map(({ id }) => id))).toEqual(new Set(['acme', 'globex']));
    const { principal } = await operator.call<{ principal: Message }>('TenantService', 'GetPrincipal', {
      tenant: 'acme',
      class: 'user',
      id: 'bob',
    });
    expect(principal).toMatchObject({
      groups: ['sales'],
      roles: ['reader'],
      status: 'PRINCIPAL_STATUS_ACTIVE',
    });
    const { revision } = await operator.call<{ revision: Message }>('PolicyService', 'GetActiveRevision', {
      tenant: 'acme',
    });
    expect(revision).toMatchObject({ current: true, diagnostics: [] });
    expect(revision['files']).toContain('authz/documents.rego');
  });

  test('does not let an enforcement point write to the tenant', async () => {
    using service = new Grpc(server.admin, secrets.api);
    const call = service.call('TenantService', 'SetPrincipalStatus', {
      tenant: 'acme',
      class: 'user',
      id: 'alice',
      status: 'PRINCIPAL_STATUS_DISABLED',
    });
    expect(await failure(call)).toEqual({ status: status.PERMISSION_DENIED, code: 'permission_denied' });
  });
});
