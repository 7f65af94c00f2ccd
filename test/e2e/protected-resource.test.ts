import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { at } from '../cli/run.ts';
import { connect, request } from './requests.ts';
import { type Running, startServer } from './server.ts';

/** RFC 9728 documents of the servers that a tenant has registered. */

const DOCS = 'https://docs.acme.example/mcp';
let server: Running;

beforeAll(async () => {
  server = await startServer({
    acme: (manifest) => {
      manifest.principals.push({
        class: 'service',
        id: 'billing',
        resources: ['https://billing.acme.example'],
      });
      manifest.principals.push({ class: 'agent', id: 'odd', resources: ['https://odd.acme.example/'] });
    },
    globex: (manifest) => {
      manifest.dpop = { required: ['agent', 'mcp_server', 'service', 'job'] };
      for (const each of manifest.principals)
        if (each.class === 'mcp_server') each.resources = ['https://tools.globex.example/mcp?v=1'];
    },
  });
});
afterAll(() => server[Symbol.asyncDispose]());

const documentOf = (resource: string, tenant = 'acme') => {
  const query = new URLSearchParams({ resource });
  return request(`${server.data}/t/${tenant}/.well-known/oauth-protected-resource?${query}`);
};

describe('RFC 9728 2: the metadata of a registered server', () => {
  test('say what its clients are to know, and no word more', async () => {
    const { status, headers, body } = await documentOf(DOCS);
    expect(status).toBe(200);
    expect(headers.get('content-type')).toBe('application/json');
    expect(body).toEqual({
      resource: DOCS,
      authorization_servers: [`${server.data}/t/acme`],
      scopes_supported: ['docs.read', 'docs.suggest', 'docs.write'],
      bearer_methods_supported: ['header'],
      authorization_details_types_supported: ['tool_call'],
      dpop_signing_alg_values_supported: expect.arrayContaining(['ES256']) as unknown,
      dpop_bound_access_tokens_required: false,
    });
  });

  test('3.3: the resource is word for word what was registered, and nothing else is found', async () => {
    expect((await documentOf('https://billing.acme.example')).body['resource']).toBe(
      'https://billing.acme.example',
    );
    for (const other of ['https://billing.acme.example/', `${DOCS}/`, DOCS.toUpperCase(), `${DOCS}#a`, ' '])
      expect((await documentOf(other)).status, other).toBe(404);
  });

  test('say that tokens are bound to a key where the tenant gives no others', async () => {
    expect((await documentOf('https://tools.globex.example/mcp?v=1', 'globex')).body).toMatchObject({
      authorization_servers: [`${server.data}/t/globex`],
      dpop_bound_access_tokens_required: true,
    });
  });

  test('are there from its registration on, and not after its end', async () => {
    const resource = 'https://new.acme.example/mcp';
    const mandate = at(server);
    expect((await documentOf(resource)).status).toBe(404);
    const principals = [{ class: 'mcp_server', id: 'new-mcp', resources: [resource] }];
    const put = await connect(server.admin, 'TenantService/PutPrincipals', { tenant: 'acme', principals });
    expect(put.status).toBe(200);
    expect((await documentOf(resource)).body['resource']).toBe(resource);
    expect((await mandate('principal', 'retire', '-t', 'acme', 'mcp_server:new-mcp')).code).toBe(0);
    expect((await documentOf(resource)).status).toBe(404);
  });
});

describe('an outsider learns nothing', () => {
  test('an unknown server, one of another tenant, a principal id, an agent and an unknown tenant answer alike', async () => {
    const answers = await Promise.all([
      documentOf('https://unknown.acme.example'),
      documentOf(DOCS, 'globex'),
      documentOf('docs-mcp'),
      documentOf('https://odd.acme.example/'),
      documentOf(DOCS, 'no-such-tenant'),
      documentOf(DOCS, '..%2facme'),
      request(`${server.data}/t/acme/.well-known/oauth-protected-resource`),
      request(`${server.data}/t/acme/.well-known/oauth-protected-resource?resource=${DOCS}&resource=${DOCS}`),
    ]);
    for (const { status, body } of answers)
      expect({ status, body }).toEqual({
        status: 404,
        body: { error: 'not_found', error_description: 'no such resource' },
      });
  });
});
