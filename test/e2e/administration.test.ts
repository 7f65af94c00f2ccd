import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { create, toBinary } from '@bufbuild/protobuf';
import { WireType } from '@bufbuild/protobuf/wire';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parse, stringify } from 'yaml';
import {
  type PrincipalStatus,
  PutPrincipalsRequestSchema,
  SetPrincipalStatusRequestSchema,
} from '../../src/gen/mandate/v1/tenant_pb.ts';
import { aliceReads, check, connect, request } from './requests.ts';
import { basic, bearer, type Running, secrets, startServer } from './server.ts';

/** What is written is all that was asked to be written, or nothing. */

let server: Running;
beforeAll(async () => {
  server = await startServer();
});
afterAll(() => server[Symbol.asyncDispose]());

const operator = bearer(secrets.operator);
const admin = (method: string, body: object) => connect(server.admin, method, body, operator);
const put = (...principals: object[]) => admin('TenantService/PutPrincipals', { tenant: 'acme', principals });
const refused = { status: 400, body: { code: 'invalid_argument' } };

const dan = { class: 'user', id: 'dan' };

const binary = (method: string, body: Uint8Array) =>
  request(`${server.admin}/mandate.v1.TenantService/${method}`, {
    method: 'POST',
    headers: { 'content-type': 'application/proto', authorization: operator },
    body: Buffer.from(body),
  });

describe('a member that is not known', () => {
  test.each([
    { role: ['editor'] },
    { ceilings: { scopes: ['docs.read'] } },
    { secret: 'x' },
    { disabled: true },
    { may_not: ['check'] },
  ])('of a principal is refused, and nothing of it is written: %o', async (unknown) => {
    const answer = await put({ class: 'user', id: 'erin' }, { class: 'user', id: 'dan', ...unknown });
    expect(answer).toMatchObject(refused);
    expect(answer.headers.get('mandate-error-code')).toBe('invalid_request');
    expect(JSON.stringify(answer.body)).toContain(Object.keys(unknown)[0]);
    for (const id of ['dan', 'erin'])
      expect(await admin('TenantService/GetPrincipal', { tenant: 'acme', class: 'user', id })).toMatchObject({
        status: 404,
      });
  });

  test('is refused in binary too', async () => {
    const message = create(PutPrincipalsRequestSchema, { tenant: 'acme', principals: [dan] });
    const [principal] = message.principals;
    if (principal) principal.$unknown = [{ no: 99, wireType: WireType.Varint, data: Uint8Array.of(1) }];
    const body = toBinary(PutPrincipalsRequestSchema, message);
    expect((await binary('PutPrincipals', body)).status).toBe(400);
  });

  test.each([
    ['TenantService/ListTenants', {}],
    ['TenantService/GetPrincipal', { tenant: 'acme', class: 'user', id: 'bob' }],
    ['TenantService/PutPrincipals', { tenant: 'acme', principals: [{ class: 'user', id: 'dan' }] }],
    [
      'TenantService/SetPrincipalStatus',
      { tenant: 'acme', class: 'user', id: 'bob', status: 'PRINCIPAL_STATUS_ACTIVE' },
    ],
    ['AuditService/Query', { tenant: 'acme' }],
    ['PolicyService/GetActiveRevision', { tenant: 'acme' }],
    ['PolicyService/ReloadPolicy', { tenant: 'acme' }],
  ])('of %s is refused', async (method, body) => {
    expect(await admin(method, { ...body, outcom: 'deny' })).toMatchObject(refused);
    expect((await admin(method, body)).status).toBe(200);
  });

  test.each([
    ['Exchange', { subjectToken: 'x', audience: 'docs-mcp', scopes: ['docs.read'], lifetime: 5 }],
    ['Introspect', { token: 'x', hint: 'access_token' }],
    ['Revoke', { token: 'x', cascade: false }],
  ])('of DelegationService/%s is refused: it would have asked for less', async (method, body) => {
    const agent = basic('research-agent', secrets.agent);
    const answer = await connect(
      server.data,
      `DelegationService/${method}`,
      { tenant: 'acme', ...body },
      agent,
    );
    expect(answer).toMatchObject(refused);
  });

  test('of a question is ignored, as protobuf has it: a newer client may ask an older server', async () => {
    const answer = await check(server.data, { ...aliceReads, novelty: 1 });
    expect(answer).toMatchObject({ status: 200, body: { decision: 'DECISION_ALLOW' } });
  });
});

test('a principal that stands twice is refused: the second would undo the first', async () => {
  const answer = await put({ class: 'user', id: 'dan', roles: ['editor'] }, { class: 'user', id: 'dan' });
  expect(answer).toMatchObject(refused);
  expect((await put({ class: 'user', id: 'dan' }, { class: 'agent', id: 'dan' })).body).toEqual({
    written: 2,
  });
});

test('a status that is not known is refused, and lets nobody in again', async () => {
  const bob = { tenant: 'acme', class: 'user', id: 'bob' };
  const set = (status: string) => admin('TenantService/SetPrincipalStatus', { ...bob, status });
  await set('PRINCIPAL_STATUS_DISABLED');
  const status = 7 as PrincipalStatus;
  const alone = create(SetPrincipalStatusRequestSchema, { ...bob, status });
  const answer = await binary('SetPrincipalStatus', toBinary(SetPrincipalStatusRequestSchema, alone));
  expect(answer.status).toBe(400);
  const { tenant, ...principal } = bob;
  const whole = create(PutPrincipalsRequestSchema, { tenant, principals: [{ ...principal, status }] });
  expect((await binary('PutPrincipals', toBinary(PutPrincipalsRequestSchema, whole))).status).toBe(400);
  expect((await set('PRINCIPAL_STATUS_UNKNOWN')).status).toBe(400);
  expect((await admin('TenantService/GetPrincipal', bob)).body).toMatchObject({
    principal: { status: 'PRINCIPAL_STATUS_DISABLED' },
  });
});

describe('who did it is who did it', () => {
  interface Found {
    subject?: object;
    target?: object;
    caller: string;
    action: string;
  }
  const found = async (filter: object): Promise<Found[]> => {
    const { body } = await admin('AuditService/Query', { tenant: 'acme', kind: 'administration', ...filter });
    return (body as { records?: Found[] }).records ?? [];
  };

  test('an operator who disables a principal is found by its own name, and so is whom it is about', async () => {
    await put({ class: 'user', id: 'gone' });
    const gone = { class: 'user', id: 'gone' };
    const status = 'PRINCIPAL_STATUS_DISABLED';
    await admin('TenantService/SetPrincipalStatus', { tenant: 'acme', ...gone, status });
    const root = { class: 'operator', id: 'root' };
    const entry = { subject: root, target: gone, caller: 'operator:root', action: 'principal.disable' };
    expect((await found({ principal: gone }))[0]).toMatchObject(entry);
    expect((await found({ principal: root })).map(({ action }) => action).slice(0, 2)).toEqual([
      'principal.disable',
      'principal.change',
    ]);
    expect((await found({ caller: 'operator:root' }))[0]).toMatchObject(entry);
    expect(await found({ caller: 'operator:nobody' })).toEqual([]);
    expect((await found({ caller: 'operator:root', principal: gone }))[0]).toMatchObject(entry);
  });

  test('who gave whom which role, and what it was before, is one query', async () => {
    const ben = { class: 'user', id: 'ben' };
    await put({ ...ben, roles: ['reader'], properties: { badge: 'secret-1' } });
    await put({ ...ben, roles: ['org_admin', 'reader'], properties: { badge: 'secret-1' } });
    // Nothing of it is another.
    await put({ ...ben, roles: ['org_admin', 'reader'], properties: { badge: 'secret-1' } });
    const entries = (await found({ principal: ben })) as (Found & { body: string })[];
    const details = entries.map(({ body, caller, action }) => {
      const { detail } = JSON.parse(Buffer.from(body, 'base64').toString()) as {
        detail: { before: { roles: string[] } | null; after: { roles: string[] } };
      };
      return [caller, action, detail.before?.roles, detail.after.roles];
    });
    expect(details).toEqual([
      ['operator:root', 'principal.change', ['reader'], ['org_admin', 'reader']],
      ['operator:root', 'principal.change', undefined, ['reader']],
    ]);
    expect(JSON.stringify(entries.map(({ body }) => Buffer.from(body, 'base64').toString()))).not.toContain(
      'secret-1',
    );
  });

  test('so is a change of the manifest', async () => {
    const file = path.join(server.tenantFolder('acme'), 'tenant.yaml');
    const document = parse(await readFile(file, 'utf8')) as {
      principals: { id: string; roles?: string[] }[];
    };
    const alice = document.principals.find(({ id }) => id === 'alice');
    const before = alice?.roles ?? [];
    if (alice) alice.roles = [...before, 'org_admin'];
    await writeFile(file, stringify(document));
    await admin('PolicyService/ReloadPolicy', { tenant: 'acme' });
    const [entry] = (await found({ principal: { class: 'user', id: 'alice' } })) as (Found & {
      body: string;
    })[];
    expect(entry).toMatchObject({ caller: 'manifest', action: 'principal.change' });
    expect(JSON.parse(Buffer.from(entry?.body ?? '', 'base64').toString())).toMatchObject({
      detail: { before: { roles: before }, after: { roles: [...before, 'org_admin'] } },
    });
  });
});
