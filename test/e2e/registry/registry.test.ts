import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Issuer, startIssuer, trustIn } from '../issuer.ts';
import { connect, exchangeFields, form } from '../requests.ts';
import { editTenant, eventually, type Running, secrets, sha256, startIn, startServer } from '../server.ts';
import { codeOf, helper, operator, Registrar, SECRET } from './stage.ts';

/** Principals that the API registers: who may put them, what they can do, and what is left of them. */

let issuer: Issuer;
let server: Running;
let registrar: Registrar;
beforeAll(async () => {
  issuer = await startIssuer();
  server = await startServer({
    acme: (manifest) => {
      manifest.issuers = [trustIn(issuer.url)];
    },
  });
  registrar = new Registrar(server);
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
  await issuer[Symbol.asyncDispose]();
});

const managed = { status: 400, code: 'managed_by_manifest' };
const invalid = { status: 400, code: 'invalid_request' };

describe('an agent that the API registers', () => {
  test('exchanges at once, within its ceiling, and is shown without its secret', async () => {
    expect((await registrar.exchange(issuer, SECRET)).status).toBe(401);
    expect((await registrar.put(helper())).body).toEqual({ written: 1 });
    expect((await registrar.exchange(issuer, SECRET)).body).toMatchObject({ scope: 'docs.read' });
    await registrar.put(helper({ ceiling: { scopes: ['docs.suggest'], audiences: ['docs-mcp'] } }));
    expect((await registrar.exchange(issuer, SECRET)).body).toMatchObject({ error: 'invalid_scope' });
    await registrar.put(helper());
    const shown = await registrar.show('agent', 'helper');
    expect(shown).toMatchObject({
      managedBy: 'api',
      owners: ['user:alice'],
      ceiling: { maxLifetimeSeconds: 300, maxDepth: 3 },
      credentials: [{ id: sha256(SECRET).slice(0, 16), secretSha256: `${sha256(SECRET).slice(0, 16)}…` }],
    });
    expect(shown.credentials?.[0]?.lastUsedAt).toMatch(/^20/);
    expect(JSON.stringify(shown)).not.toContain(sha256(SECRET));
    const [change] = await registrar.changes({ principal: { class: 'agent', id: 'helper' } });
    expect(change?.detail['before']).toMatchObject({
      registration: { ceiling: { scopes: ['docs.suggest'] } },
    });
    expect(change?.detail['after']).toMatchObject({ registration: { ceiling: { scopes: ['docs.read'] } } });
    expect(JSON.stringify(change)).not.toContain(sha256(SECRET));
  });

  test('is nobody in another tenant', async () => {
    const shared = { id: 'helper', secret: SECRET };
    const answer = await form(server.data, 'token', exchangeFields(await issuer.sign()), shared, 'globex');
    expect(answer.status).toBe(401);
  });

  test('keeps a credential that is put as it was read, and only one that it has', async () => {
    const { credentials } = await registrar.show('agent', 'helper');
    expect((await registrar.put(helper({ credentials }))).status).toBe(200);
    expect((await registrar.exchange(issuer, SECRET)).status).toBe(200);
    expect(codeOf(await registrar.put(helper({ credentials: [{ id: 'other' }] })))).toEqual(invalid);
    expect(codeOf(await registrar.put(helper({ credentials: [...(credentials ?? []), {}] })))).toEqual(
      invalid,
    );
  });

  test.each([
    ['no owner', { owners: [] }],
    ['an owner that is none', { owners: ['agent:x'] }],
    ['a ceiling that is too long', { ceiling: { maxLifetimeSeconds: 301 } }],
    ['a class of use that is none', { ceiling: { use: 'own' } }],
    ['details of no type of the tenant', { ceiling: { authorizationDetails: [{ type: 'nothing' }] } }],
    ['an operation that is none', { may: { names: ['fly'] } }],
    ['a digest that is none', { credentials: [{ secretSha256: 'ab' }] }],
    ['one credential twice', { credentials: [1, 2].map(() => ({ secretSha256: sha256('twice') })) }],
    [
      'two credentials of one id',
      { credentials: ['a', 'b'].map((x) => ({ id: 'x', secretSha256: sha256(x) })) },
    ],
    ['nine credentials', { credentials: Array.from('123456789', (x) => ({ secretSha256: sha256(x) })) }],
    ["the manifest's credential", { credentials: [{ secretSha256: sha256(secrets.agent) }] }],
    [
      'a private key',
      { credentials: [{ jwks: { keys: [{ kty: 'OKP', crv: 'Ed25519', x: 'x', d: 'd' }] } }] },
    ],
    ['who it is managed by', { managedBy: 'manifest' }],
    ['a status that is not set', { status: 'PRINCIPAL_STATUS_RETIRED' }],
  ])('is refused with %s, and so are those beside it', async (_name, changes) => {
    expect(
      codeOf(await registrar.put({ class: 'user', id: 'erin' }, helper({ id: 'wrong', ...changes }))),
    ).toEqual(invalid);
    for (const [cls, id] of [
      ['user', 'erin'],
      ['agent', 'wrong'],
    ])
      expect((await registrar.call('GetPrincipal', { class: cls, id })).status).toBe(404);
  });

  test.each([
    ["the manifest's", { resources: ['https://docs.acme.example/mcp'] }],
    ['its id', { id: 'docs-mcp', class: 'service' }],
  ])('a server is no second one for an audience: %s', async (_name, changes) => {
    const answer = await registrar.put({ class: 'mcp_server', id: 'second', ...changes });
    expect(codeOf(answer)).toEqual(invalid);
    expect(JSON.stringify(answer.body)).toContain('docs');
  });
});

describe('who a principal belongs to', () => {
  test("the manifest's is changed there alone, and can be disabled", async () => {
    const answer = await registrar.put(
      { class: 'user', id: 'dora' },
      { class: 'user', id: 'bob', roles: [] },
    );
    expect(codeOf(answer)).toEqual(managed);
    expect(JSON.stringify(answer.body)).toContain('user:bob is declared');
    expect((await registrar.call('GetPrincipal', { class: 'user', id: 'dora' })).status).toBe(404);
    for (const method of ['RotateCredential', 'RetirePrincipal'])
      expect(codeOf(await registrar.call(method, { class: 'agent', id: 'research-agent' }))).toEqual(managed);
    expect((await registrar.status('user', 'bob', 'DISABLED')).status).toBe(200);
    expect((await registrar.show('user', 'bob')).status).toBe('PRINCIPAL_STATUS_DISABLED');
    await registrar.status('user', 'bob', 'ACTIVE');
  });

  test("what the API put stays when the manifest changes, and is the manifest's once that declares it", async () => {
    await registrar.put(helper(), { class: 'user', id: 'dora', groups: ['api'] });
    const folder = server.tenantFolder('acme');
    await editTenant(folder, ({ principals }) => {
      principals.push({ class: 'user', id: 'dora', groups: ['manifest'] });
    });
    const dora = await eventually(
      () => registrar.show('user', 'dora'),
      ({ managedBy }) => managedBy === 'manifest',
    );
    expect(dora.groups).toEqual(['manifest']);
    expect(codeOf(await registrar.put({ class: 'user', id: 'dora' }))).toEqual(managed);
    expect(await registrar.show('agent', 'helper')).toMatchObject({ managedBy: 'api' });
    expect((await registrar.exchange(issuer, SECRET)).status).toBe(200);
  });

  test("a manifest that takes an agent over has the last word on its credentials, and one that takes another's is refused", async () => {
    await registrar.put(helper({ id: 'taken', credentials: [{ secretSha256: sha256('taken') }] }));
    const folder = server.tenantFolder('acme');
    const ceiling = { scopes: ['docs.read'], audiences: ['docs-mcp'] };
    await editTenant(folder, ({ principals }) => {
      principals.push({ class: 'agent', id: 'taken', ceiling, client_ids: ['research-agent'] });
    });
    await eventually(
      () => registrar.show('agent', 'taken'),
      ({ managedBy }) => managedBy === 'manifest',
    );
    expect((await registrar.exchange(issuer, 'taken', 'taken')).status).toBe(401);
    await editTenant(folder, ({ principals }) => {
      principals.push({ class: 'job', id: 'thief', credentials: [{ secret_sha256: sha256(SECRET) }] });
    });
    await eventually(
      () => connect(server.admin, 'PolicyService/GetActiveRevision', { tenant: 'acme' }, operator),
      ({ body }) =>
        JSON.stringify(body).includes('a credential; the API has registered agent:helper with it'),
    );
    await editTenant(folder, ({ principals }) => principals.pop());
    expect((await registrar.exchange(issuer, SECRET)).status).toBe(200);
  });
});

test('agents, ceilings and credentials are there after a restart', async () => {
  await using first = await startServer({
    acme: (manifest) => {
      manifest.issuers = [trustIn(issuer.url)];
    },
  });
  await new Registrar(first).put(helper());
  await first.stop();
  await using second = await startIn(first.folder);
  expect((await new Registrar(second).exchange(issuer, SECRET)).status).toBe(200);
  await second.stop();
});

test('principals are listed by class and owner, page by page', async () => {
  const agents = Array.from({ length: 7 }, (_, no) => `listed-${no}`);
  await registrar.put(...agents.map((id) => ({ class: 'agent', id, owners: no(id) })));
  const seen: string[] = [];
  let pageToken = '';
  for (let page = 0; page < 20; page += 1) {
    const { body } = await registrar.call<{ principals?: { id: string }[]; nextPageToken?: string }>(
      'ListPrincipals',
      { class: 'agent', owner: 'user:carol', limit: 2, pageToken },
    );
    seen.push(...(body.principals ?? []).map(({ id }) => id));
    pageToken = body.nextPageToken ?? '';
    if (pageToken === '') break;
  }
  expect(seen).toEqual(['listed-0', 'listed-2', 'listed-4', 'listed-6']);
  expect(codeOf(await registrar.call('ListPrincipals', { pageToken: 'xx' }))).toEqual(invalid);
  expect(codeOf(await registrar.call('ListPrincipals', { limit: 1_001 }))).toEqual(invalid);
  const { body } = await registrar.call<{ principals: { class: string }[] }>('ListPrincipals', {
    limit: 1_000,
  });
  expect(new Set(body.principals.map(({ class: cls }) => cls)).size).toBe(5);
});

const no = (id: string): string[] => [Number(id.slice(-1)) % 2 === 0 ? 'user:carol' : 'user:bob'];
