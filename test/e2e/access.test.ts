import { afterAll, beforeAll, expect, test } from 'vitest';
import { Grpc } from './grpc.ts';
import { aliceReads, check, connect, form, request } from './requests.ts';
import { bearer, eventually, type Running, secrets, sha256, startServer } from './server.ts';

/** Who was not let in stands in the log of the tenant they wanted. */

let server: Running;
beforeAll(async () => {
  server = await startServer();
});
afterAll(() => server[Symbol.asyncDispose]());

interface Entry {
  caller: string;
  action: string;
  outcome: string;
  reasons: { code: string }[];
  detail: { address: string; credential: string; claimed?: string; count: number };
}

async function entries(filter: object = {}, tenant = 'acme'): Promise<Entry[]> {
  const asked = { tenant, kind: 'access', pageSize: 1_000, ...filter };
  const { body } = await connect<{ records?: (Omit<Entry, 'detail'> & { body: string })[] }>(
    server.admin,
    'AuditService/Query',
    asked,
    bearer(secrets.operator),
  );
  return (body.records ?? []).map(({ body: bytes, ...rest }) => ({
    ...rest,
    detail: (JSON.parse(Buffer.from(bytes, 'base64').toString()) as Entry).detail,
  }));
}

test('a credential of another tenant, with where it came from and what it was, but not itself', async () => {
  const refused = await check(server.data, aliceReads, bearer(secrets.globexAgent));
  expect(refused.status).toBe(401);
  const found = await eventually(
    () => entries(),
    (all) => all.length > 0,
  );
  expect(found).toMatchObject([
    {
      caller: 'unknown',
      action: 'check',
      outcome: 'deny',
      reasons: [{ code: 'unauthenticated' }],
      detail: {
        address: '127.0.0.1',
        credential: `sha256:${sha256(secrets.globexAgent).slice(0, 16)}`,
        count: 1,
      },
    },
  ]);
  expect(JSON.stringify(found)).not.toContain(secrets.globexAgent);
  expect(await entries({}, 'globex')).toEqual([]);
});

test('one that nobody has leaves no record: anybody could fill a log with those', async () => {
  const before = (await entries()).length;
  const nobody = bearer(`mdt_${'x'.repeat(43)}`);
  const doors = [
    check(server.data, aliceReads, nobody),
    connect(server.admin, 'AuditService/DescribeLog', { tenant: 'acme' }, nobody),
    request(`${server.admin}/t/acme/log/main/checkpoint`, { headers: { authorization: nobody } }),
    request(`${server.data}/t/acme/access/v1/evaluation`, {
      method: 'POST',
      headers: { authorization: nobody },
    }),
    form(server.data, 'introspect', { token: 'x' }, { id: 'no-such-client', secret: 'x'.repeat(43) }),
  ];
  for (const { status } of await Promise.all(doors)) expect(status).toBe(401);
  await new Promise((resolve) => setTimeout(resolve, 1_200));
  expect((await entries()).length).toBe(before);
});

test('a thousand of them are a few records, and none is left out of the count', async () => {
  const sum = (all: readonly Entry[]): number => all.reduce((total, { detail }) => total + detail.count, 0);
  const before = sum(await entries());
  using stranger = new Grpc(server.data, secrets.globexAgent);
  const calls = Array.from({ length: 1_000 }, () =>
    stranger.call('DecisionService', 'Check', aliceReads).catch(() => undefined),
  );
  await Promise.all(calls);
  const after = await eventually(
    () => entries(),
    (all) => sum(all) >= before + 1_000,
  );
  expect(sum(after)).toBe(before + 1_000);
  expect(after.length).toBeLessThan(30);
});

test('somebody who is known and has not the right to it is found by name', async () => {
  const asked = { tenant: 'acme', principals: [{ class: 'user', id: 'x' }] };
  const { status } = await connect(server.admin, 'TenantService/PutPrincipals', asked, bearer(secrets.api));
  expect(status).toBe(403);
  const found = await eventually(
    () => entries({ caller: 'service:docs-api' }),
    (all) => all.length > 0,
  );
  expect(found).toMatchObject([{ action: 'tenant.write', reasons: [{ code: 'permission_denied' }] }]);
});

test('whoever asks which tenants there are is not refused by the others', async () => {
  const before = (await entries()).length;
  await connect(server.admin, 'TenantService/ListTenants', {}, bearer(secrets.operator));
  await connect(server.admin, 'TenantService/ListTenants', {}, bearer(secrets.globexAgent));
  await new Promise((resolve) => setTimeout(resolve, 1_200));
  expect((await entries()).length).toBe(before);
});

test('a guess at the secret of a client that there is, without the guess', async () => {
  const guess = 'a-password-that-somebody-chose';
  const before = (await entries()).length;
  for (const id of ['research-agent', 'nobody-at-all'])
    expect((await form(server.data, 'introspect', { token: 'x' }, { id, secret: guess })).status).toBe(401);
  const found = await eventually(
    () => entries(),
    (all) => all.length > before,
  );
  expect(found).toHaveLength(before + 1);
  expect(found.find(({ detail }) => detail.claimed)).toMatchObject({
    caller: 'unknown',
    reasons: [{ code: 'unauthenticated' }],
    detail: { address: '127.0.0.1', credential: '', claimed: 'agent:research-agent', count: 1 },
  });
  expect(JSON.stringify(found)).not.toContain(sha256(guess).slice(0, 16));
});
