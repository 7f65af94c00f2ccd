import { rename, rm } from 'node:fs/promises';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { connect } from '../../e2e/requests.ts';
import { editTenant, eventually, sha256 } from '../../e2e/server.ts';
import { Approving, asking } from '../approving.ts';
import type { Stage } from '../stage.ts';

/** What waits for the keys of an issuer, while what it is asked with is taken away. */

let on: Approving;
let stage: Stage;
let keys: PromiseWithResolvers<void>;
let asked: PromiseWithResolvers<void>;

beforeEach(async () => {
  keys = Promise.withResolvers();
  asked = Promise.withResolvers();
  on = await Approving.open({}, (request, response) => {
    if (request.url !== '/jwks') return false;
    asked.resolve();
    void keys.promise.then(() => response.end(JSON.stringify({ keys: [stage.issuer.publicJwk] })));
    return true;
  });
  ({ stage } = on);
});
afterEach(() => on[Symbol.asyncDispose]());

const reload = () => connect(stage.server.admin, 'PolicyService/ReloadPolicy', { tenant: 'acme' });

test.each([
  ['its issuer', undefined],
  ['its credential', { credentials: [{ secret_sha256: sha256('another') }] }],
  ['a scope of its ceiling', { ceiling: { scopes: ['docs.suggest'], audiences: ['docs-mcp'] } }],
])('a manifest that takes %s away grants nothing by it any more', async (_what, change) => {
  const exchange = stage.exchange(await stage.issuer.sign());
  await asked.promise;
  await editTenant(stage.server.tenantFolder('acme'), (manifest) => {
    const agent = manifest.principals.find(({ id }) => id === 'research-agent');
    if (change) Object.assign(agent ?? {}, change);
    else manifest.issuers = [];
  });
  expect((await reload()).status).toBe(200);
  keys.resolve();
  const { status, body } = await exchange;
  expect([status, body.access_token]).toEqual([503, undefined]);
});

test('a manifest that changes somebody else keeps nothing from being granted', async () => {
  const exchange = stage.exchange(await stage.issuer.sign());
  await asked.promise;
  await editTenant(stage.server.tenantFolder('acme'), (manifest) => {
    manifest.principals.push({ class: 'user', id: 'somebody-else' });
  });
  expect((await reload()).status).toBe(200);
  keys.resolve();
  expect((await exchange).status).toBe(200);
});

test.each([
  ['the right of who passes it on', { may: ['approval.read'] }],
  ['the issuer of the approver', undefined],
])('an approval that waits while a manifest takes %s away is none', async (_what, change) => {
  const id = await on.opened(asking());
  const approval = on.settle('Approve', id, { user: 'carol' });
  await asked.promise;
  await editTenant(stage.server.tenantFolder('acme'), (manifest) => {
    const console = manifest.principals.find(({ id: each }) => each === 'console');
    if (change) Object.assign(console ?? {}, change);
    else manifest.issuers = [];
  });
  expect((await reload()).status).toBe(200);
  keys.resolve();
  expect((await approval).status).toBe(503);
  expect((await on.status(id)).body).toMatchObject({ task: { status: 'pending' } });
});

test('a tenant whose folder goes grants nothing any more', async () => {
  const exchange = stage.exchange(await stage.issuer.sign());
  await asked.promise;
  const gone = path.join(stage.server.folder, 'gone');
  await rename(stage.server.tenantFolder('acme'), gone);
  await eventually(
    () => connect(stage.server.admin, 'AuditService/DescribeLog', { tenant: 'acme' }),
    ({ status }) => status === 404,
  );
  keys.resolve();
  const { status, body } = await exchange;
  expect([status >= 400, body.access_token]).toEqual([true, undefined]);
  await rm(gone, { recursive: true });
});
