import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import * as client from 'openid-client';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { check, claimsOf, connect, form, tokenReads } from '../e2e/requests.ts';
import { bearer, secrets } from '../e2e/server.ts';
import { agent, api, type Client, deniedFor, mcp, refusalOf, refused, Stage } from './stage.ts';

/** Tokens of services and jobs for themselves: client credentials. RFC 6749 section 4.4. */

const job: Client = { id: 'nightly-index', secret: secrets.job };
const REGO = `package delegation

allow if {
	input.action.name == "token.issue"
	input.subject.class in {"job", "service"}
	count(input.actors) == 0
}
`;

let stage: Stage;
beforeAll(async () => {
  stage = await Stage.open({
    acme: (manifest) => {
      for (const principal of manifest.principals) {
        if (principal.id === mcp.id) principal.scopes = ['docs.read'];
        if (principal.id !== job.id) continue;
        principal.may = ['check', 'exchange', 'introspect', 'revoke'];
        principal.scopes = ['docs.read', 'docs.write'];
      }
    },
  });
  await writeFile(path.join(stage.server.tenantFolder('acme'), 'delegation', 'own.rego'), REGO);
  const reload = await connect(
    stage.server.admin,
    'PolicyService/ReloadPolicy',
    { tenant: 'acme' },
    bearer(secrets.operator),
  );
  expect(reload.status).toBe(200);
});
afterAll(() => stage[Symbol.asyncDispose]());

const ask = (fields: Record<string, string> = {}, by: Client = job) =>
  form(
    stage.server.data,
    'token',
    { grant_type: 'client_credentials', audience: 'docs-mcp', scope: 'docs.read', ...fields },
    by,
  );

describe('a job', () => {
  test('by openid-client gets a token of its own, and is decided as itself', async () => {
    const found = await client.discovery(
      new URL(`${stage.server.data}/t/acme`),
      job.id,
      undefined,
      client.ClientSecretBasic(job.secret),
      { algorithm: 'oauth2', execute: [client.allowInsecureRequests] },
    );
    expect(found.serverMetadata().grant_types_supported).toContain('client_credentials');
    const { access_token: token, scope } = await client.clientCredentialsGrant(found, {
      resource: 'https://docs.acme.example/mcp',
      scope: 'docs.read docs.suggest',
    });
    // It does not hold docs.suggest.
    expect(scope).toBe('docs.read');
    const claims = claimsOf(token);
    expect(claims).toMatchObject({
      sub: job.id,
      client_id: job.id,
      principal_class: 'job',
      iss: `${stage.server.data}/t/acme`,
    });
    expect(claims).not.toHaveProperty('act');
    const asked = {
      ...tokenReads(token, 'https://docs.acme.example/mcp'),
      action: { name: 'document.index' },
    };
    const { body } = await check(stage.server.data, asked, bearer(mcp.secret));
    expect(body.decision).toBe('DECISION_ALLOW');
    const edits = { ...asked, action: { name: 'document.edit' } };
    expect((await check(stage.server.data, edits, bearer(mcp.secret))).body).toMatchObject(
      deniedFor('scope_insufficient'),
    );
    const [record] = await stage.records({ kind: 'exchange' });
    expect(record).toMatchObject({
      outcome: 'allow',
      action: 'token.issue',
      subject: { class: 'job', id: job.id },
    });
  });

  test('sees and ends its own token, and it ends with the job', async () => {
    const { body: first } = await ask();
    expect(await stage.introspect(first.access_token, job)).toMatchObject({
      active: true,
      client_id: job.id,
    });
    expect(await stage.introspect(first.access_token, agent)).toEqual({ active: false });
    await stage.revoke(first.access_token, job);
    expect(await stage.introspect(first.access_token, job)).toEqual({ active: false });
    const { body: second } = await ask();
    await stage.setStatus('job', job.id, 'DISABLED');
    const reads = async () =>
      (await check(stage.server.data, tokenReads(second.access_token), bearer(mcp.secret))).body;
    expect(await reads()).toMatchObject({ decision: 'DECISION_DENY' });
    expect((await ask()).status).toBe(400);
    await stage.setStatus('job', job.id, 'ACTIVE');
    expect(await reads()).toMatchObject(deniedFor('token_revoked'));
  });

  test('is passed on by the server it is for, with the server as the actor', async () => {
    const { body } = await ask();
    const onward = await stage.exchange(body.access_token, { audience: 'docs-api' }, mcp);
    // acme's package delegation lets nobody act for a job: it had its say.
    expect(onward).toMatchObject({ status: 400, body: { code: 'exchange_denied' } });
    const other = await stage.exchange(body.access_token, {}, agent);
    expect(refusalOf(other)).toEqual(refused('exchange_denied'));
  });
});

test.each<[string, Record<string, string>, string]>([
  ['a scope that it does not hold', { scope: 'docs.suggest' }, 'invalid_scope'],
  ['no scope', { scope: '' }, 'invalid_scope'],
  ['an audience that nobody has', { audience: 'nowhere' }, 'invalid_target'],
  ['a token of somebody else', { subject_token: 'x' }, 'invalid_request'],
  [
    'an actor token',
    { actor_token: 'x', actor_token_type: 'urn:ietf:params:oauth:token-type:jwt' },
    'invalid_request',
  ],
  ['a task', { task_purpose: 'x' }, 'invalid_request'],
  ['who may act', { may_act: 'mcp_server:docs-mcp' }, 'invalid_request'],
])('a request with %s is refused', async (_name, fields, code) => {
  expect(await ask(fields)).toMatchObject({ status: 400, body: { code } });
});

test('an agent has no token for itself, and neither has whom the policy does not let', async () => {
  expect(refusalOf(await ask({}, agent))).toEqual(refused('exchange_denied'));
  expect((await ask({}, mcp)).body).toMatchObject({ code: 'exchange_denied' });
  // docs-api may not exchange at all.
  expect((await ask({}, api)).status).toBe(403);
});
