import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parse, stringify } from 'yaml';
import { hasPostgres, Postgres } from '../../tools/fleet/postgres.ts';
import { aliceReads, check, connect } from '../e2e/requests.ts';
import {
  bearer,
  eventually,
  type Running,
  secrets,
  startIn,
  startServer,
  type TenantDocument,
} from '../e2e/server.ts';
import { authorityOverrides, isReady, startSidecar } from './fleet.ts';

/** A tenant that is put at one authority and retired there: it is served by all, and then by none. */

const ACME = path.resolve(import.meta.dirname, '../../policies/acme');
const isHere = await hasPostgres();

let postgres: Postgres;
let one: Running;
let two: Running;
let sidecar: Running;

const optionsOf = (node: string) => ({
  overrides: { ...authorityOverrides, store: postgres.url, base_url: 'http://pdp.acme.test', node },
  environment: { MANDATE_MASTER_KEY: '7d'.repeat(32) },
});

beforeAll(async () => {
  if (!isHere) return;
  postgres = await Postgres.start();
  one = await startServer(optionsOf('one'));
  two = await startServer(optionsOf('two'));
  sidecar = await startSidecar(two, { node: 'side', base_url: 'http://pdp.acme.test' });
  await isReady(sidecar);
});

afterAll(async () => {
  if (!isHere) return;
  for (const each of [sidecar, two, one, postgres]) await each[Symbol.asyncDispose]();
});

async function put(at: Running) {
  const files = [];
  for (const name of await readdir(ACME, { recursive: true }))
    if (name.endsWith('.rego') && !name.endsWith('_test.rego'))
      files.push({ path: name, content: (await readFile(path.join(ACME, name))).toString('base64') });
  const manifest = parse(await readFile(path.join(ACME, 'tenant.yaml'), 'utf8')) as TenantDocument;
  const text = stringify({ ...manifest, id: 'initech' });
  files.push({ path: 'tenant.yaml', content: Buffer.from(text).toString('base64') });
  return connect(at.admin, 'TenantService/PutTenant', { tenant: 'initech', files });
}

const retire = (at: Running) =>
  connect(at.admin, 'TenantService/RetireTenant', { tenant: 'initech', reason: 'over' });

const reads = async (at: Running): Promise<number> =>
  (await check(at.data, { ...aliceReads, tenant: 'initech' }, bearer(secrets.api))).status;

const atAll = (status: number): Promise<unknown> =>
  eventually(
    () => Promise.all([one, two, sidecar].map(reads)),
    (all) => all.every((each) => each === status),
  );

describe.runIf(isHere)('a tenant that was put at one authority', () => {
  test('is served by all, refused to be changed at another, and served by none once it is retired', async () => {
    expect((await put(one)).status).toBe(200);
    await atAll(200);
    for (const answer of [await retire(two), await put(two)])
      expect(answer).toMatchObject({
        status: 409,
        body: { message: expect.stringContaining("another authority's") as unknown },
      });
    expect((await retire(one)).status).toBe(200);
    await atAll(404);
  });

  test('stays retired over a restart of each, and is there again once it is put again, also by another', async () => {
    await Promise.all([one, two].map((each) => each.stop()));
    one = await startIn(one.folder, optionsOf('one'));
    two = await startIn(two.folder, optionsOf('two'));
    expect(await Promise.all([one, two].map(reads))).toEqual([404, 404]);
    expect((await put(two)).status).toBe(200);
    await eventually(
      () => Promise.all([one, two].map(reads)),
      (all) => all.every((each) => each === 200),
    );
    expect((await retire(two)).status).toBe(200);
    await eventually(
      () => reads(one),
      (status) => status === 404,
    );
    expect((await put(one)).status).toBe(200);
    await eventually(
      () => Promise.all([one, two].map(reads)),
      (all) => all.every((each) => each === 200),
    );
  });
});
