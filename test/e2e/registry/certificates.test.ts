import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { CertifiedStage, type Got } from '../../delegation/certified.ts';
import { agent } from '../../delegation/stage.ts';
import type { Authority, Pair } from '../authority.ts';
import { claimsOf, type TokenJson } from '../requests.ts';
import { bearer, secrets } from '../server.ts';

/** Clients that authenticate by their certificate alone (RFC 8705 section 2.1). */

const HOST = 'research.agents.acme.example';

let stage: CertifiedStage;
beforeAll(async () => {
  stage = await CertifiedStage.open({
    acme: ({ principals, ...manifest }) => {
      Object.assign(manifest, { mtls: { bound: ['agent'] } });
      const researcher = principals.find(({ id }) => id === agent.id);
      researcher?.credentials?.push({ certificate_dns: HOST });
    },
  });
});
afterAll(() => stage[Symbol.asyncDispose]());

const certificate = (names: Record<string, string>, by: Authority = stage.ours): Promise<Pair> =>
  by.issue(randomBytes(4).toString('hex'), names);

const exchange = async (over: Pair | undefined, fields: Record<string, string> = {}) => {
  const token = await stage.stage.issuer.sign();
  return stage.exchange(token, fields, { over, by: undefined });
};
const codeOf = ({ status, body }: Got<TokenJson>): [number, string | undefined] => [status, body.error];
const NOBODY = [401, 'invalid_client'];

describe('a certificate of one DNS name', () => {
  test('is a client of its own, and says so with or without its id', async () => {
    const own = await certificate({ 'DNS.1': HOST });
    for (const fields of [{}, { client_id: agent.id }]) {
      const { status, body } = await exchange(own, fields);
      expect(status, JSON.stringify(body)).toBe(200);
      expect(claimsOf(body.access_token)).toMatchObject({ client_id: agent.id });
    }
  });

  test('is the same whatever the case of its letters', async () => {
    expect((await exchange(await certificate({ 'DNS.1': HOST.toUpperCase() }))).status).toBe(200);
  });

  test('is told apart from no other client that is named beside it', async () => {
    const own = await certificate({ 'DNS.1': HOST });
    expect(codeOf(await exchange(own, { client_id: 'other-agent' }))).toEqual(NOBODY);
    expect(codeOf(await exchange(own, { client_id: 'nobody' }))).toEqual(NOBODY);
  });

  test('is offered in the metadata', async () => {
    const { body } = await stage.send<Record<string, unknown>>(
      '/.well-known/oauth-authorization-server/t/acme',
      undefined,
    );
    expect(body['token_endpoint_auth_methods_supported']).toContain('tls_client_auth');
  });
});

describe('nobody is', () => {
  test.each<[string, Record<string, string>]>([
    ['another name', { 'DNS.1': 'other.agents.acme.example' }],
    ['a name below it', { 'DNS.1': `x.${HOST}` }],
    ['a wildcard that would match it', { 'DNS.1': '*.agents.acme.example' }],
    ['its name among others', { 'DNS.1': HOST, 'DNS.2': 'web.acme.example' }],
    ['its name beside a SPIFFE id', { 'DNS.1': HOST, 'URI.1': 'spiffe://acme.example/web' }],
    ['its name beside another URI', { 'DNS.1': HOST, 'URI.1': 'https://web.acme.example' }],
    ['its name as an address', { 'email.1': `a@${HOST}` }],
    ['its name as a URI', { 'URI.1': `dns:${HOST}` }],
    ['its name within another', { 'DNS.1': `x, DNS:${HOST}` }],
    ['its name within an address', { 'email.1': `a, DNS:${HOST}, b` }],
  ])('%s', async (_what, names) => {
    expect(codeOf(await exchange(await certificate(names)))).toEqual(NOBODY);
  });

  test('its name by another authority, as a bearer secret, or without a certificate', async () => {
    const theirs = await certificate({ 'DNS.1': HOST }, stage.theirs);
    await expect(exchange(theirs)).rejects.toThrow(/hang up|certificate|ECONNRESET/);
    expect(codeOf(await exchange(undefined, { client_id: agent.id }))).toEqual(NOBODY);
    const token = await stage.stage.issuer.sign();
    for (const secret of [`dns:${HOST}`, HOST]) {
      const headers = { authorization: bearer(secret) };
      expect(codeOf(await stage.exchange(token, {}, { by: undefined, headers }))).toEqual(NOBODY);
    }
  });
});

test('a credential of one client is refused where another is named beside it, whatever it is', async () => {
  const token = await stage.stage.issuer.sign();
  for (const by of [agent, undefined]) {
    const headers = by ? {} : { authorization: bearer(secrets.agent) };
    const sent = { by, headers };
    expect((await stage.exchange(token, { client_id: agent.id }, sent)).status).toBe(200);
    expect(codeOf(await stage.exchange(token, { client_id: 'other-agent' }, sent))).toEqual(NOBODY);
  }
});

test('it is registered, shown and taken away as any other', async () => {
  const headers = { authorization: bearer(secrets.operator) };
  const call = <T>(method: string, body: object) =>
    stage.send<T>(
      `/mandate.v1.TenantService/${method}`,
      { tenant: 'acme', ...body },
      { headers, admin: true },
    );
  const host = 'helper.agents.acme.example';
  const principal = {
    class: 'agent',
    id: 'helper',
    owners: ['user:alice'],
    credentials: [{ id: 'host', certificateDns: host }],
    ceiling: { scopes: ['docs.read'], audiences: ['docs-mcp'] },
    clientIds: [agent.id],
  };
  const own = await certificate({ 'DNS.1': host });
  expect(codeOf(await exchange(own))).toEqual(NOBODY);
  expect((await call('PutPrincipals', { principals: [principal] })).status).toBe(200);
  expect((await exchange(own)).status).toBe(200);
  const { body } = await call<{ principal: object }>('GetPrincipal', { class: 'agent', id: 'helper' });
  expect(body.principal).toMatchObject({
    credentials: [{ id: 'host', certificateDns: host, lastUsedAt: expect.any(String) }],
  });
  for (const wrong of [
    '',
    'Helper.acme.example',
    '*.acme.example',
    'a..b',
    '-a.b',
    'a.b-',
    'a b',
    'x'.repeat(254),
  ])
    expect(
      (
        await call('PutPrincipals', {
          principals: [{ ...principal, credentials: [{ certificateDns: wrong }] }],
        })
      ).status,
      wrong,
    ).toBe(400);
  await call('PutPrincipals', { principals: [{ ...principal, credentials: [] }] });
  expect(codeOf(await exchange(own))).toEqual(NOBODY);
});
