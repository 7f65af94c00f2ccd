import { closeSync, openSync, writeSync } from 'node:fs';
import { mkdir, rename, rm, symlink, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { check, connect } from './requests.ts';
import { bearer, eventually, type Running, sha256, startServer } from './server.ts';

/** Tenants that come and go with their folders, while the server runs. */

const SECRET = 'initech-enforcement-point-test-secret-1';

async function place(
  server: Running,
  name: string,
  id = name,
  rego = 'allow := true',
  more: readonly object[] = [],
): Promise<string> {
  const made = path.join(server.folder, `..made-${name}`);
  await mkdir(made);
  await writeFile(path.join(made, 'policy.rego'), `package authz\n\n${rego}\n`);
  const principals = [
    { class: 'user', id: 'u' },
    { class: 'service', id: 'pep', credentials: [{ secret_sha256: sha256(SECRET) }] },
    ...more,
  ];
  await writeFile(path.join(made, 'tenant.yaml'), JSON.stringify({ id, principals }));
  const folder = path.join(server.folder, 'tenants', name);
  await rename(made, folder);
  return folder;
}

const asks = (tenant: string) => ({
  tenant,
  subject: { type: 'user', id: 'u' },
  action: { name: 'read' },
  resource: { type: 'thing', id: 't' },
});
const decision = async (server: Running, tenant: string): Promise<string> => {
  const { status, body } = await check(server.data, asks(tenant), bearer(SECRET));
  return status === 200 ? body.decision : (body as unknown as { code: string }).code;
};
const becomes = (server: Running, tenant: string, what: string) =>
  eventually(
    () => decision(server, tenant),
    (each) => each === what,
  );
const ALLOW = 'DECISION_ALLOW';
const UNKNOWN = 'unauthenticated';

const problems = async (server: Running): Promise<string> =>
  (await fetch(`${server.admin}/readyz?verbose`)).text();

/** How many manifests the log says were taken. */
async function applied(server: Running, tenant: string): Promise<number> {
  const { body } = await connect<{ records: { action?: string }[] }>(server.admin, 'AuditService/Query', {
    tenant,
    kind: 'administration',
  });
  return body.records.filter(({ action }) => action === 'manifest.apply').length;
}

// They wait most of the time.
describe.concurrent('a folder of a tenant', () => {
  test('that appears is served, and is served no more once it is gone', async () => {
    await using server = await startServer();
    expect(await decision(server, 'initech')).toBe(UNKNOWN);
    const folder = await place(server, 'initech');
    await becomes(server, 'initech', ALLOW);
    const { body: log } = await connect<{ key: string }>(server.admin, 'AuditService/DescribeLog', {
      tenant: 'initech',
    });
    expect(log.key).toContain('/t/initech/');
    // What is saved in it counts, as in any other.
    await writeFile(path.join(folder, 'policy.rego'), 'package authz\n\nallow := false\n');
    await becomes(server, 'initech', 'DECISION_DENY');

    await rm(folder, { recursive: true });
    // The connection is known; the tenant is not any more.
    await becomes(server, 'initech', 'not_found');
    expect(
      (await check(server.data, { ...asks('acme'), subject: { type: 'user', id: 'alice' } })).status,
    ).toBe(200);

    // What it had is there again with it: its log goes on.
    await place(server, 'initech');
    await becomes(server, 'initech', ALLOW);
    const { body } = await connect<{ records: { action?: string }[] }>(server.admin, 'AuditService/Query', {
      tenant: 'initech',
      kind: 'administration',
    });
    const actions = body.records.map(({ action }) => action);
    expect(actions).toContain('tenant.retire');
    expect(actions.filter((each) => each === 'policy.activate').length).toBeGreaterThan(1);
  });

  test('that is put in another one’s place is not gone in between', async () => {
    await using server = await startServer();
    await place(server, 'initech');
    await becomes(server, 'initech', ALLOW);
    const folder = path.join(server.folder, 'tenants', 'initech');
    const seen = new Set<string>();
    for (let turn = 0; turn < 8; turn += 1) {
      await rename(folder, path.join(server.folder, `..old-${turn}`));
      await place(server, 'initech');
      for (let look = 0; look < 10; look += 1) {
        seen.add(await decision(server, 'initech'));
        await delay(20);
      }
    }
    expect([...seen]).toEqual([ALLOW]);
  });

  test('with a mistake ends nothing, is told of, and is served once it is mended', async () => {
    await using server = await startServer();
    const folder = path.join(server.folder, 'tenants', 'initech');
    await mkdir(folder);
    await writeFile(path.join(folder, 'tenant.yaml'), 'id: initech\nprincipal: []\n');
    await eventually(
      () => problems(server),
      (text) => text.includes('Unrecognized key: "principal"'),
    );
    expect((await fetch(`${server.admin}/readyz`)).status).toBe(200);
    await rm(folder, { recursive: true });
    await eventually(
      () => problems(server),
      (text) => !text.includes('principal'),
    );
    await place(server, 'initech');
    await becomes(server, 'initech', ALLOW);
  });

  test('of a name that is taken changes nothing of whoever has it', async () => {
    await using server = await startServer();
    await place(server, 'initech', 'initech', 'allow if "root" in input.subject.roles');
    await becomes(server, 'initech', 'DECISION_DENY');
    const made = path.join(server.folder, '..made-other');
    await mkdir(made);
    const principals = [
      { class: 'user', id: 'u', roles: ['root'] },
      { class: 'service', id: 'pep', status: 'disabled' },
    ];
    await writeFile(path.join(made, 'tenant.yaml'), JSON.stringify({ id: 'initech', principals }));
    await rename(made, path.join(server.folder, 'tenants', 'other'));
    await eventually(
      () => problems(server),
      (text) => text.includes('tenant initech stands in'),
    );
    expect(await decision(server, 'initech')).toBe('DECISION_DENY');
    expect(await applied(server, 'initech')).toBe(1);
  });

  test('of a name that is taken waits until the other one is gone', async () => {
    await using server = await startServer();
    const first = await place(server, 'initech');
    await becomes(server, 'initech', ALLOW);
    await place(server, 'other', 'initech', 'allow := false');
    await eventually(
      () => problems(server),
      (text) => text.includes('tenant initech stands in'),
    );
    expect(await decision(server, 'initech')).toBe(ALLOW);
    await rm(first, { recursive: true });
    await becomes(server, 'initech', 'DECISION_DENY');
    await eventually(
      () => problems(server),
      (text) => !text.includes('stands in'),
    );
  });

  test('in which something is saved while it is taken is served once, and nothing is wrong with it', async () => {
    await using server = await startServer();
    // So many that to take them lasts.
    const many = Array.from({ length: 9_000 }, (_, each) => ({ class: 'user', id: `u${each}` }));
    const folder = await place(server, 'initech', 'initech', 'allow := true', many);
    const until = Date.now() + 4_000;
    while (Date.now() < until) {
      await writeFile(path.join(folder, 'policy.rego'), 'package authz\n\nallow := true\n');
      await delay(45);
    }
    await becomes(server, 'initech', ALLOW);
    await eventually(
      () => problems(server),
      (said) => !said.includes('initech'),
    );
  });

  test('that is written while it is found is taken once it is whole', async () => {
    await using server = await startServer();
    const folder = path.join(server.folder, 'tenants', 'initech');
    await mkdir(folder);
    await writeFile(path.join(folder, 'policy.rego'), 'package authz\n\nallow := true\n');
    const file = openSync(path.join(folder, 'tenant.yaml'), 'w');
    // Each line makes a manifest of its own.
    writeSync(file, `id: initech\nprincipals:\n- { class: user, id: u }\n`);
    const pep = { class: 'service', id: 'pep', credentials: [{ secret_sha256: sha256(SECRET) }] };
    writeSync(file, `- ${JSON.stringify(pep)}\n`);
    let each = 0;
    const more = setInterval(() => writeSync(file, `- { class: user, id: u${(each += 1)} }\n`), 2);
    await delay(2_500);
    clearInterval(more);
    expect(await decision(server, 'initech')).toBe(UNKNOWN);
    closeSync(file);
    await becomes(server, 'initech', ALLOW);
    expect(await applied(server, 'initech')).toBe(1);
  });

  test('that a link leads to as well is one tenant, and one that leads out is none', async () => {
    await using server = await startServer();
    const folder = await place(server, 'initech');
    await symlink(folder, path.join(server.folder, 'tenants', 'alias'));
    await becomes(server, 'initech', ALLOW);
    const outside = path.join(server.folder, 'outside');
    await rename(await place(server, 'umbrella'), outside);
    await symlink(outside, path.join(server.folder, 'tenants', 'umbrella'));
    await eventually(
      () => problems(server),
      (text) => text.includes('links out of'),
    );
    expect(await problems(server)).not.toContain('alias');
    expect(await decision(server, 'umbrella')).toBe('not_found');
  });
});

test.concurrent('nothing is gone from a root that is empty, or is gone itself', async () => {
  await using server = await startServer();
  const tenants = path.join(server.folder, 'tenants');
  await rename(tenants, path.join(server.folder, 'elsewhere'));
  await delay(2_500);
  const alice = { ...asks('acme'), subject: { type: 'user', id: 'alice' } };
  expect((await check(server.data, alice)).status).toBe(200);
  await mkdir(tenants);
  await delay(3_500);
  expect((await check(server.data, alice)).status).toBe(200);
  await rm(tenants, { recursive: true });
  await rename(path.join(server.folder, 'elsewhere'), tenants);
});
