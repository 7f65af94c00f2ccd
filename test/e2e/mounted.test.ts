import { mkdir, mkdtemp, rename, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { stringify } from 'yaml';
import { check, connect } from './requests.ts';
import { eventually, type Running, startIn } from './server.ts';

/** Tenants as they are mounted: a volume of Kubernetes and a checkout of git-sync, both swapped by a link. */

let server: Running;
let folder: string;

const at = (name: string): string => path.join(folder, name);

async function put(name: string, text: string): Promise<void> {
  await mkdir(path.dirname(at(name)), { recursive: true });
  await writeFile(at(name), text);
}

async function link(target: string, name: string): Promise<void> {
  await symlink(target, at('.link'));
  await rename(at('.link'), at(name));
}

/** One version: everybody is denied with this code, bob is there or disabled. */
async function version(place: string, id: string, code: string, status: string): Promise<void> {
  await put(`${place}/tenant.yaml`, stringify({ id, principals: [{ class: 'user', id: 'bob', status }] }));
  await put(`${place}/authz/allow.rego`, 'package authz\n\nallow := true\n');
  await put(`${place}/deny.rego`, `package authz\n\ndeny contains data.code\n`);
  await put(`${place}/data.json`, JSON.stringify({ code }));
}

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'mandate-mounted-'));
  await version('tenants/kube/..one', 'kube', 'one', 'active');
  await link('..one', 'tenants/kube/..data');
  for (const name of ['tenant.yaml', 'authz', 'deny.rego', 'data.json'])
    await link(`..data/${name}`, `tenants/kube/${name}`);
  await version('git/.worktrees/one/repo', 'repo', 'one', 'active');
  await link('.worktrees/one', 'git/current');
  server = await startIn(folder, { overrides: { tenants: [at('tenants'), at('git/current')] } });
});
afterAll(() => server[Symbol.asyncDispose]());

const codes = async (tenant: string): Promise<string> => {
  const { status, body } = await check(server.data, {
    tenant,
    subject: { type: 'user', id: 'bob' },
    action: { name: 'read' },
    resource: { type: 'document', id: 'd' },
  });
  expect(status).toBe(200);
  return (body.reasons ?? []).map((reason) => reason.code).join(' ');
};

describe.each([
  [
    'kube',
    (name: string) => `tenants/kube/..${name}`,
    (name: string) => [`..${name}`, 'tenants/kube/..data'],
  ],
  [
    'repo',
    (name: string) => `git/.worktrees/${name}/repo`,
    (name: string) => [`.worktrees/${name}`, 'git/current'],
  ],
] as const)('%s', (tenant, placeOf, swapOf) => {
  test('decides by what the link leads to, from the start and after each swap', async () => {
    expect(await codes(tenant)).toBe('one');
    for (const name of ['two', 'three']) {
      await version(placeOf(name), tenant, name, 'active');
      const [target = '', place = ''] = swapOf(name);
      await link(target, place);
      await eventually(
        () => codes(tenant),
        (seen) => seen === name,
      );
    }
    await version(placeOf('four'), tenant, 'four', 'disabled');
    const [target = '', place = ''] = swapOf('four');
    await link(target, place);
    await eventually(
      () => codes(tenant),
      (seen) => seen.split(' ').toSorted().join(' ') === 'four principal_disabled',
    );
  });

  test('names its files as they are named, once', async () => {
    const { body } = await connect<{ revision: { files: string[] } }>(
      server.admin,
      'PolicyService/GetActiveRevision',
      { tenant },
    );
    expect(body.revision.files).toEqual(['authz/allow.rego', 'deny.rego']);
  });
});
