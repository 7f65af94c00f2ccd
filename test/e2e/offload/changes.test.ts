import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { expect, test } from 'vitest';
import { asks } from '../../containment/tenants.ts';
import { failure, Grpc } from '../grpc.ts';
import { type Issuer, startIssuer, trustIn } from '../issuer.ts';
import { check, connect } from '../requests.ts';
import { bearer } from '../server.ts';
import { ask, caller, onThread, principals, SECRET, started } from './started.ts';

/** What changes counts for the next decision of a thread. */

test('a disabled principal, and one that is enabled again', async () => {
  await using fresh = await started();
  const set = async (status: string): Promise<string> => {
    await connect(fresh.served.admin, 'TenantService/SetPrincipalStatus', {
      tenant: 'two',
      class: 'user',
      id: 'u',
      status: `PRINCIPAL_STATUS_${status}`,
    });
    const { value, answered } = await onThread(fresh.served, () => ask(fresh.pep, 'two'));
    expect(answered).toBe(1);
    return value.decision;
  };
  expect(await set('DISABLED')).toBe('DECISION_DENY');
  expect(await set('ACTIVE')).toBe('DECISION_ALLOW');
});

test('a principal disabled after the tenant changed, with no decision in between', async () => {
  await using fresh = await started();
  expect((await ask(fresh.pep, 'two')).decision).toBe('DECISION_ALLOW');
  const { folder } = fresh.served.mandate.tenants.get('two');
  await writeFile(path.join(folder, 'policy.rego'), 'package authz\n\nallow if true\n');
  await connect(fresh.served.admin, 'PolicyService/ReloadPolicy', { tenant: 'two' });
  await connect(fresh.served.admin, 'TenantService/SetPrincipalStatus', {
    tenant: 'two',
    class: 'user',
    id: 'u',
    status: 'PRINCIPAL_STATUS_DISABLED',
  });
  const { value, answered } = await onThread(fresh.served, () => ask(fresh.pep, 'two'));
  expect([answered, value.decision]).toEqual([1, 'DECISION_DENY']);
});

test.each([
  ['disabled', [{ ...principals[0], status: 'disabled' }, caller]],
  ['taken out', [caller]],
])('a principal %s in the manifest', async (_, left) => {
  await using fresh = await started();
  const decisions = async (): Promise<unknown[]> => {
    const { value, answered } = await onThread(fresh.served, () => ask(fresh.pep, 'two'));
    expect(answered).toBe(1);
    const { body } = await check(fresh.served.data, asks('two'), bearer(SECRET));
    return [value.decision, body.decision];
  };
  expect(await decisions()).toEqual(['DECISION_ALLOW', 'DECISION_ALLOW']);
  const { folder } = fresh.served.mandate.tenants.get('two');
  await writeFile(path.join(folder, 'tenant.yaml'), JSON.stringify({ id: 'two', principals: left }));
  await connect(fresh.served.admin, 'PolicyService/ReloadPolicy', { tenant: 'two' });
  expect(await decisions()).toEqual(['DECISION_DENY', 'DECISION_DENY']);
});

test('a policy that was edited, and a credential that was taken out', async () => {
  await using fresh = await started();
  const folder = fresh.served.mandate.tenants.get('two').folder;
  const reload = () => connect(fresh.served.admin, 'PolicyService/ReloadPolicy', { tenant: 'two' });
  await writeFile(path.join(folder, 'policy.rego'), 'package authz\n\nallow := false\n');
  await reload();
  const { value, answered } = await onThread(fresh.served, () => ask(fresh.pep, 'two'));
  expect([answered, value.decision]).toEqual([1, 'DECISION_DENY']);
  await writeFile(
    path.join(folder, 'tenant.yaml'),
    JSON.stringify({ id: 'two', principals: [principals[0]] }),
  );
  await reload();
  expect(await failure(ask(fresh.pep, 'two'))).toMatchObject({ code: 'unauthenticated' });
});

test('a tenant that is killed, and one that is restored', async () => {
  await using fresh = await started();
  const press = async (method: 'Kill' | 'Restore'): Promise<unknown> => {
    await connect(fresh.served.admin, `KillService/${method}`, { tenant: 'two', wholeTenant: true });
    const { value, answered } = await onThread(fresh.served, () => ask(fresh.pep, 'two'));
    expect(answered).toBe(1);
    return value;
  };
  expect((await ask(fresh.pep, 'two')).decision).toBe('DECISION_ALLOW');
  expect(await press('Kill')).toMatchObject({
    decision: 'DECISION_DENY',
    reasons: [{ code: 'tenant_killed' }],
  });
  expect((await ask(fresh.pep, 'one')).reasons ?? []).not.toMatchObject([{ code: 'tenant_killed' }]);
  expect(await press('Restore')).toMatchObject({ decision: 'DECISION_ALLOW' });
});

test('a meter that comes while a caller’s keys are fetched counts', async () => {
  await using fresh = await started();
  const keys = Promise.withResolvers<void>();
  const asked = Promise.withResolvers<void>();
  await using issuer: Issuer = await startIssuer((called, response) => {
    if (called.url !== '/jwks') return false;
    asked.resolve();
    void keys.promise.then(() => response.end(JSON.stringify({ keys: [issuer.publicJwk] })));
    return true;
  });
  const { folder } = fresh.served.mandate.tenants.get('two');
  const saved = async (more: object): Promise<void> => {
    const issuers = [{ ...trustIn(issuer.url), subject_class: 'service' }];
    const manifest = { id: 'two', issuers, principals, ...more };
    await writeFile(path.join(folder, 'tenant.yaml'), JSON.stringify(manifest));
    await connect(fresh.served.admin, 'PolicyService/ReloadPolicy', { tenant: 'two' });
  };
  await saved({});
  using pep = new Grpc(fresh.served.data, await issuer.sign({ sub: 'pep', client_id: 'pep' }));
  const { value, answered } = await onThread(fresh.served, async () => {
    const answer = ask(pep, 'two');
    await asked.promise;
    await saved({ meters: { reads: { actions: ['read'], per: 'subject' } } });
    keys.resolve();
    return answer;
  });
  expect([answered, value.decision]).toEqual([0, 'DECISION_ALLOW']);
  const record = { tenant: 'two', decisionId: value.decision_id };
  const { body } = await connect<{ records: { body: string }[] }>(
    fresh.served.admin,
    'AuditService/Query',
    record,
  );
  expect(body.records.map((each) => Buffer.from(each.body, 'base64').toString())).toEqual([
    expect.stringContaining('"counted":{"reads":1}'),
  ]);
});
