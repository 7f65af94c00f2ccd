import { createLocalJWKSet, type JSONWebKeySet, jwtVerify } from 'jose';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { asksForSigned } from '../../src/delegation/signed-introspection.ts';
import { connect, request } from '../e2e/requests.ts';
import { basic, bearer, editTenant, secrets } from '../e2e/server.ts';
import { type Client, mcp, otherAgent, Stage } from './stage.ts';

/** RFC 9701. */

const SIGNED = 'application/token-introspection+jwt';

let stage: Stage;
beforeAll(async () => {
  stage = await Stage.open();
});
afterAll(() => stage[Symbol.asyncDispose]());

const introspect = async (token: string, authorization: string, accept = SIGNED) => {
  const response = await fetch(`${stage.server.data}/t/acme/oauth2/introspect`, {
    method: 'POST',
    headers: { authorization, accept },
    body: new URLSearchParams({ token }),
  });
  return { type: response.headers.get('content-type'), text: await response.text() };
};
const as = ({ id, secret }: Client): string => basic(id, secret);
/** As RFC 9701 section 8.1 has whoever receives it check it. */
async function verified(text: string, audience: string) {
  const { data } = stage.server;
  const { body } = await request<JSONWebKeySet & Record<string, unknown>>(`${data}/t/acme/oauth2/jwks`);
  const { payload } = await jwtVerify(text, createLocalJWKSet(body), {
    issuer: `${data}/t/acme`,
    audience,
    typ: 'token-introspection+jwt',
  });
  return payload;
}

describe('RFC 9701 5: a signed answer', () => {
  test('says what the plain one does, for who asked and nobody else', async () => {
    const token = await stage.granted();
    const { type, text } = await introspect(token, as(mcp));
    expect(type).toBe(SIGNED);
    const { token_introspection: claims, ...rest } = await verified(text, 'docs-mcp');
    expect(claims).toEqual(await stage.introspect(token, mcp));
    expect(claims).toMatchObject({ active: true, sub: 'alice', aud: 'docs-mcp' });
    // No `sub` and no `exp`: it is no token.
    expect(Object.keys(rest).sort()).toEqual(['aud', 'iat', 'iss']);
    await expect(verified(text, 'research-agent')).rejects.toThrow();
    const { text: operators } = await introspect(token, bearer(secrets.operator));
    expect(await verified(operators, 'operator:root')).toMatchObject({
      token_introspection: { active: true },
    });
  });

  test('of what is none of the caller’s business says that it is not active, and no more', async () => {
    const token = await stage.granted();
    for (const [each, client] of [
      [token, otherAgent],
      ['nothing', mcp],
    ] as const) {
      const { text } = await introspect(each, as(client));
      const { token_introspection: claims } = await verified(text, client.id);
      expect(claims).toEqual({ active: false });
    }
  });

  test('is no token here: nothing is exchanged for it or decided by it', async () => {
    const { text } = await introspect(await stage.granted(), as(mcp));
    expect((await stage.exchange(text)).status).toBe(400);
    expect(await stage.check(text)).toMatchObject({ decision: 'DECISION_DENY' });
    expect(await stage.introspect(text, mcp)).toEqual({ active: false });
  });

  test('is signed as the tenant has it, which its metadata says', async () => {
    const { body } = await request(`${stage.server.data}/.well-known/oauth-authorization-server/t/acme`);
    expect(body).toMatchObject({ introspection_signing_alg_values_supported: ['ES256', 'EdDSA', 'RS256'] });
    await editTenant(stage.server.tenantFolder('acme'), (manifest) => {
      manifest.keys = { algorithm: 'EdDSA' };
    });
    await connect(stage.server.admin, 'PolicyService/ReloadPolicy', { tenant: 'acme' });
    await connect(stage.server.admin, 'KeyService/RotateKey', { tenant: 'acme', compromised: true });
    const { text } = await introspect(await stage.granted(), as(mcp));
    expect(await verified(text, 'docs-mcp')).toMatchObject({ token_introspection: { active: true } });
    expect(Buffer.from(text.split('.')[0] ?? '', 'base64url').toString()).toContain('"alg":"EdDSA"');
  });
});

test.each([
  [undefined, false],
  ['*/*', false],
  ['application/json', false],
  [SIGNED, true],
  [`application/json;q=0.5, ${SIGNED}`, true],
  ['Application/Token-Introspection+JWT', true],
  [`${SIGNED};q=0`, false],
  [`${SIGNED}; q=0.3`, true],
])('Accept %s: signed is %s', (accept, isSigned) => {
  expect(asksForSigned(accept)).toBe(isSigned);
});

test('who does not ask for it has JSON, as before', async () => {
  const token = await stage.granted();
  const { type, text } = await introspect(token, as(mcp), '*/*');
  expect(type).toContain('application/json');
  expect(JSON.parse(text)).toMatchObject({ active: true });
});
