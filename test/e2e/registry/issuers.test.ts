import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { at } from '../../cli/run.ts';
import { ISSUER_AUDIENCE, type Issuer, startIssuer, trustIn } from '../issuer.ts';
import { check, exchangeFields, form, tokenReads } from '../requests.ts';
import { bearer, editTenant, eventually, type Running, secrets, startIn, startServer } from '../server.ts';
import { codeOf, Registrar } from './stage.ts';

/** Identity providers that are trusted by the API. */

let issuer: Issuer;
let services: Issuer;
let server: Running;
let registrar: Registrar;
beforeAll(async () => {
  [issuer, services] = [await startIssuer(), await startIssuer()];
  server = await startServer();
  registrar = new Registrar(server);
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
  for (const each of [issuer, services]) await each[Symbol.asyncDispose]();
});

const trusted = () => ({ issuer: issuer.url, algorithms: ['ES256'], audiences: [ISSUER_AUDIENCE] });
const put = (changes: object = {}) => registrar.call('PutIssuer', { issuer: { ...trusted(), ...changes } });
const remove = (name = issuer.url) => registrar.call('RemoveIssuer', { issuer: name });
const listed = async (): Promise<object[]> =>
  (await registrar.call<{ issuers?: object[] }>('ListIssuers', {})).body.issuers ?? [];

const exchange = async (claims: object = {}, tenant = 'acme'): Promise<number> => {
  const agent = { id: 'research-agent', secret: tenant === 'acme' ? secrets.agent : secrets.globexAgent };
  const audience = tenant === 'acme' ? 'docs-mcp' : 'tools-mcp';
  const fields = exchangeFields(await issuer.sign({ ...claims }), { audience });
  return (await form(server.data, 'token', fields, agent, tenant)).status;
};

beforeEach(async () => {
  expect((await put()).status).toBe(200);
});

describe('an issuer that the API trusts', () => {
  test('is trusted at once, by this tenant alone, and after a restart', async () => {
    expect([await exchange(), await exchange({}, 'globex')]).toEqual([200, 400]);
    expect(await listed()).toEqual([
      expect.objectContaining({
        issuer: issuer.url,
        managedBy: 'api',
        subjectClass: 'user',
        subjectClaim: 'sub',
      }),
    ]);
    await server.stop();
    server = await startIn(server.folder);
    registrar = new Registrar(server);
    expect(await exchange()).toBe(200);
  });

  test('is taken by what was said of it last', async () => {
    await put({ audiences: ['https://elsewhere.example'] });
    expect(await exchange()).toBe(400);
    await put({ subjectClaim: 'uid', subjectClaimTrusted: true });
    expect([await exchange(), await exchange({ sub: 'x', uid: 'alice' })]).toEqual([400, 200]);
    const [change] = await registrar.changes({ action: 'issuer.put' });
    expect(change?.detail).toMatchObject({
      issuer: issuer.url,
      before: { audiences: ['https://elsewhere.example'] },
      after: { subject_claim: 'uid', audiences: [ISSUER_AUDIENCE] },
    });
  });

  test('is trusted no more when it is removed, and was there to be removed', async () => {
    const token = await issuer.sign();
    const reads = () => check(server.data, tokenReads(token), bearer(secrets.mcp));
    expect((await reads()).body.decision).toBe('DECISION_ALLOW');
    expect((await remove()).status).toBe(200);
    expect((await reads()).body).toMatchObject({
      decision: 'DECISION_DENY',
      reasons: [{ code: 'token_invalid' }],
    });
    expect(await exchange()).toBe(400);
    expect(codeOf(await remove())).toEqual({ status: 404, code: 'not_found' });
    expect((await registrar.changes({ action: 'issuer.remove' }))[0]?.detail).toMatchObject({ after: null });
  });

  test('whose tokens name services lets them in as callers, of whom nobody knew', async () => {
    const reads = async () => {
      const token = await services.sign({ sub: 'docs-api', client_id: 'docs-api' });
      // A server without --dev greets whoever connects; under it, too, a wrong token is nobody.
      return (await check(server.data, { ...tokenReads('x'), subject: undefined }, bearer(token))).status;
    };
    expect(await reads()).toBe(401);
    await put({ issuer: services.url, subjectClass: 'service' });
    expect(await reads()).toBe(200);
    await remove(services.url);
    expect(await reads()).toBe(401);
  });

  test.each([
    ['one that is no address', { issuer: 'login' }],
    ['a claim that users may choose', { subjectClaim: 'preferred_username' }],
    ['an algorithm that is not taken', { algorithms: ['HS256'] }],
    ['a class that is none', { subjectClass: 'robot' }],
    ['a member that is not known', { clientClaims: 'x' }],
  ])('is refused: %s', async (_name, changes) => {
    expect(codeOf(await put(changes))).toMatchObject({ status: 400, code: 'invalid_request' });
  });

  test('there are at most sixteen', async () => {
    const names = Array.from({ length: 16 }, (_, no) => `https://login-${no}.example`);
    const answers: number[] = [];
    for (const name of names) answers.push((await put({ issuer: name })).status);
    expect(answers.filter((status) => status === 200)).toHaveLength(15);
    expect(answers.at(-1)).toBe(400);
    for (const name of names) await remove(name);
  });
});

test("one that the manifest declares is the manifest's, and goes with it", async () => {
  const folder = server.tenantFolder('acme');
  await editTenant(folder, (manifest) => {
    manifest.issuers = [trustIn(issuer.url)];
  });
  await eventually(listed, (all) => JSON.stringify(all).includes('"managedBy":"manifest"'));
  expect(await exchange()).toBe(200);
  for (const answer of [await put(), await remove()])
    expect(codeOf(answer)).toEqual({ status: 400, code: 'managed_by_manifest' });
  await editTenant(folder, (manifest) => {
    delete manifest.issuers;
  });
  await eventually(listed, (all) => all.length === 0);
  expect(await exchange()).toBe(400);
});

describe('mandate issuer', () => {
  test('puts what a tenant.yaml has, lists it as it takes it, tests it and removes it', async () => {
    const { writeFile } = await import('node:fs/promises');
    const dev = at(server);
    const file = `${server.folder}/issuers.yaml`;
    await remove();
    await writeFile(file, `issuers: [{ issuer: ${issuer.url}, audiences: [a, ${ISSUER_AUDIENCE}] }]`);
    expect(await dev('issuer', 'put', '-t', 'acme', file)).toMatchObject({
      code: 0,
      stdout: `${issuer.url} is trusted\n`,
    });
    expect((await dev('issuer', 'list', '-t', 'acme')).stdout).toMatch(/ +api +user +sub +a https:/);
    const { stdout } = await dev('--json', 'issuer', 'list', '-t', 'acme');
    await writeFile(file, stdout);
    expect((await dev('issuer', 'put', '-t', 'acme', file)).code).toBe(0);
    const good = await dev('issuer', 'test', '-t', 'acme', issuer.url, '--token', await issuer.sign());
    expect(good).toMatchObject({
      code: 0,
      stdout: `keys at  ${issuer.url}/jwks\nkey      issuer-1 EC: ES256\ntoken    an access token of user:alice\n`,
    });
    const expired = await issuer.sign({ exp: 1 });
    const bad = await dev('issuer', 'test', '-t', 'acme', issuer.url, '--token', expired);
    expect(bad.code).toBe(1);
    expect(bad.stdout).toContain('token    not taken: the token has expired');
    const none = await dev('issuer', 'test', '-t', 'acme', 'https://login.example');
    expect(none).toMatchObject({ code: 2, stderr: expect.stringContaining('not_found') as string });
    expect((await dev('issuer', 'remove', '-t', 'acme', issuer.url)).stdout).toContain('trusted no more');
  });

  test('says what is wrong with one that cannot be reached', async () => {
    await put({ issuer: 'http://127.0.0.1:1' });
    const { code, stdout } = await at(server)('issuer', 'test', '-t', 'acme', 'http://127.0.0.1:1');
    expect(code).toBe(1);
    expect(stdout).toContain('problem');
    await remove('http://127.0.0.1:1');
  });
});
