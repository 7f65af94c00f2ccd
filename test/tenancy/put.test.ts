import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { parse, stringify } from 'yaml';
import { check, connect } from '../e2e/requests.ts';
import {
  bearer,
  eventually,
  type Running,
  secrets,
  sha256,
  startIn,
  startServer,
  type TenantDocument,
} from '../e2e/server.ts';

/** Tenants that the API puts: from nothing, anew, over a restart, until they are retired; and what is refused. */

const ACME = path.resolve(import.meta.dirname, '../../policies/acme');
const SOME = 'operator-of-initech-alone-secret-0001';
const NONE = 'operator-that-may-read-test-secret-01';
const options = {
  overrides: {
    operators: [
      { id: 'root', secret_sha256: sha256(secrets.operator) },
      { id: 'some', secret_sha256: sha256(SOME), tenants: ['initech'] },
      { id: 'none', secret_sha256: sha256(NONE), may: ['tenant.read' as const, 'tenant.write' as const] },
    ],
  },
};

let server: Running;
beforeEach(async () => {
  server = await startServer(options);
});
afterEach(() => server[Symbol.asyncDispose]());

type Files = Record<string, string>;

/** Acme's files under another name, without its tests. */
async function filesOf(id: string, edit: (manifest: TenantDocument) => void = () => {}): Promise<Files> {
  const files: Files = {};
  for (const name of await readdir(ACME, { recursive: true }))
    if (name.endsWith('.rego') && !name.endsWith('_test.rego'))
      files[name] = await readFile(path.join(ACME, name), 'utf8');
  const manifest = parse(await readFile(path.join(ACME, 'tenant.yaml'), 'utf8')) as TenantDocument;
  manifest.id = id;
  edit(manifest);
  return { ...files, 'tenant.yaml': stringify(manifest) };
}

const put = (tenant: string, files: Files, secret: string = secrets.operator) =>
  connect<{ created?: boolean; revision?: string }>(
    server.admin,
    'TenantService/PutTenant',
    {
      tenant,
      files: Object.entries(files).map(([name, text]) => ({
        path: name,
        content: Buffer.from(text).toString('base64'),
      })),
    },
    bearer(secret),
  );
const retire = (tenant: string, secret: string = secrets.operator) =>
  connect(server.admin, 'TenantService/RetireTenant', { tenant, reason: 'over' }, bearer(secret));
const reads = async (tenant: string, subject = 'alice') => {
  const { body, status } = await check(
    server.data,
    {
      tenant,
      subject: { type: 'user', id: subject },
      action: { name: 'document.read' },
      resource: {
        type: 'document',
        id: 'roadmap',
        properties: { project: 'apollo', sensitivity: 'internal' },
      },
    },
    bearer(secrets.api),
  );
  return status === 200 ? body.decision : status;
};
const records = async (tenant: string) => {
  const query = { tenant, pageSize: 20, kind: 'administration' };
  const { body } = await connect<{ records?: { action: string; caller: string }[] }>(
    server.admin,
    'AuditService/Query',
    query,
    bearer(secrets.operator),
  );
  return (body.records ?? []).map(({ action, caller }) => `${action} ${caller}`);
};

test('a tenant is put, decides at once, is there after a restart, and until it is retired', async () => {
  const files = await filesOf('initech');
  expect(await put('initech', files)).toMatchObject({
    status: 200,
    body: { created: true, revision: expect.stringMatching(/^sha256:/) as unknown },
  });
  expect(await reads('initech')).toBe('DECISION_ALLOW');
  expect(await records('initech')).toEqual(expect.arrayContaining(['tenant.put operator:root']));
  const { body } = await connect<{ revisions?: { files: object[] }[] }>(
    server.admin,
    'PolicyService/ListRevisions',
    { tenant: 'initech' },
    bearer(secrets.operator),
  );
  expect(body.revisions).toMatchObject([{ state: 'active', number: '1' }]);
  await server.stop();
  server = await startIn(server.folder, options);
  expect(await reads('initech')).toBe('DECISION_ALLOW');
  expect((await retire('initech')).status).toBe(200);
  expect(await reads('initech')).toBe(404);
  expect((await retire('initech')).status).toBe(404);
  await server.stop();
  server = await startIn(server.folder, options);
  expect(await reads('initech')).toBe(404);
  // Its log goes on when it is there again.
  expect((await put('initech', files)).body.created).toBe(true);
  expect(await records('initech')).toEqual(expect.arrayContaining(['tenant.retire operator:root']));
});

test('what is put anew takes the place of all of it, at once and over a restart', async () => {
  await put('initech', await filesOf('initech'));
  const less = await filesOf('initech', (manifest) => {
    manifest.principals = manifest.principals.filter(({ id }) => id !== 'alice');
  });
  less['authz/never.rego'] = 'package authz\n\ndeny contains "closed" if input.subject.id == "bob"\n';
  expect(await put('initech', less)).toMatchObject({
    status: 200,
    body: { revision: expect.any(String) as unknown },
  });
  for (let turn = 0; turn < 2; turn += 1) {
    expect(await reads('initech')).toBe('DECISION_DENY');
    expect(await reads('initech', 'bob')).toBe('DECISION_DENY');
    await server.stop();
    server = await startIn(server.folder, options);
  }
});

test('a revision that was pushed or rolled back since stays over a restart and a reload of the same files', async () => {
  await put('initech', await filesOf('initech'));
  const second = await filesOf('initech');
  second['authz/never.rego'] = 'package authz\n\ndeny contains "closed"\n';
  await put('initech', second);
  expect(await reads('initech')).toBe('DECISION_DENY');
  const rolled = await connect(
    server.admin,
    'PolicyService/RollBack',
    { tenant: 'initech' },
    bearer(secrets.operator),
  );
  expect(rolled.status).toBe(200);
  await server.stop();
  server = await startIn(server.folder, options);
  expect(await reads('initech')).toBe('DECISION_ALLOW');
});

describe('is refused, and leaves nothing behind', () => {
  test.each([
    ['without tenant.yaml', (files: Files) => void delete files['tenant.yaml'], 400],
    ['of another id', (files: Files) => void (files['tenant.yaml'] = 'id: other\n'), 400],
    [
      'with a manifest that does not parse',
      (files: Files) => void (files['tenant.yaml'] = 'id: initech\nmore: 1\n'),
      500,
    ],
    [
      'with Rego that does not compile',
      (files: Files) => void (files['authz/x.rego'] = 'package authz\nallow if {'),
      400,
    ],
    [
      'with a test that fails',
      (files: Files) => void (files['authz/x_test.rego'] = 'package x_test\n\ntest_no if false\n'),
      400,
    ],
    [
      'with a name that walks paths',
      (files: Files) => void (files['../authz/x.rego'] = 'package authz\n'),
      400,
    ],
    ['with what is no policy', (files: Files) => void (files['run.sh'] = 'true\n'), 400],
  ])('%s', async (_, change, status) => {
    const files = await filesOf('initech');
    change(files);
    expect((await put('initech', files)).status).toBe(status);
    expect(await reads('initech')).toBe(404);
    await put('initech', await filesOf('initech'));
    const good = await reads('initech');
    expect(good).toBe('DECISION_ALLOW');
    // What is served stays as it was, too.
    expect((await put('initech', files)).status).toBe(status);
    expect(await reads('initech')).toBe(good);
  });

  test.each(['../x', 'ACME', '', 'a'.repeat(64), 'x~1', 'api:x'])('of the id %o', async (id) => {
    expect((await put(id, await filesOf('initech'))).status).toBe(400);
  });
});

test('the tenant of a folder is refused by its name, and so is a folder of the name of one that was put', async () => {
  const answer = await put('acme', await filesOf('acme'));
  expect(answer.status).toBe(409);
  expect(JSON.stringify(answer.body)).toContain('the tenant acme is that of a folder');
  expect((await retire('acme')).status).toBe(409);
  expect(await reads('acme')).toBe('DECISION_ALLOW');

  await put('initech', await filesOf('initech'));
  const folder = server.tenantFolder('initech');
  await mkdir(folder);
  await writeFile(path.join(folder, 'tenant.yaml'), 'id: initech\n');
  const readyz = async () =>
    (
      await fetch(`${server.admin}/readyz?verbose`, { headers: { authorization: bearer(secrets.operator) } })
    ).text();
  await eventually(readyz, (text) => text.includes('tenant initech stands in'));
  expect(await reads('initech')).toBe('DECISION_ALLOW');
});

test('is for operators with the right for it, of that tenant, and for nobody that a tenant lets do anything', async () => {
  const files = await filesOf('initech');
  for (const [secret, id, status] of [
    [NONE, 'initech', 403],
    [SOME, 'other', 401],
    [secrets.api, 'initech', 401],
    ['nobody-has-this-secret-000000000000', 'initech', 401],
  ] as const) {
    expect(
      (
        await put(
          id,
          { ...files, 'tenant.yaml': files['tenant.yaml']?.replace('id: initech', `id: ${id}`) ?? '' },
          secret,
        )
      ).status,
    ).toBe(status);
    expect((await retire(id, secret)).status).toBe(status);
  }
  expect((await put('initech', files, SOME)).status).toBe(200);
  const may = await filesOf('initech', ({ principals }) => {
    principals.push({ class: 'service', id: 'greedy', may: ['tenant.put' as never] });
  });
  expect((await put('initech', may, SOME)).status).toBe(500);
  expect((await retire('initech', NONE)).status).toBe(403);
});

test('many at once, of one id and of several, are taken one after the other', async () => {
  const files = await filesOf('initech');
  const answers = await Promise.all([
    ...Array.from({ length: 3 }, () => put('initech', files)),
    put('hooli', {
      ...files,
      'tenant.yaml': files['tenant.yaml']?.replace('id: initech', 'id: hooli') ?? '',
    }),
  ]);
  expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 200]);
  expect(answers.filter(({ body }) => body.created)).toHaveLength(2);
});
