import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { stringify } from 'yaml';
import { hasPostgres, Postgres } from '../../tools/fleet/postgres.ts';
import { agent } from '../delegation/stage.ts';
import { type Issuer, startIssuer, trustIn } from '../e2e/issuer.ts';
import { aliceReads, check, connect, exchangeFields, form } from '../e2e/requests.ts';
import { eventually, secrets, sha256, writeTenants } from '../e2e/server.ts';
import { Line } from '../fleet/line.ts';
import { type Answered, busy, holds } from './answered.ts';
import { type ServeProcess, serveProcess } from './process.ts';

/** Authorities whose PostgreSQL is lost to a standby that takes its place, or has no more room. */

const BASE = 'http://pdp.acme.test';
const isHere = await hasPostgres();

let primary: Postgres;
let line: Line;
let issuer: Issuer;
let folders: string[];
let servers: ServeProcess[];

const authority = async (folder: string): Promise<ServeProcess> => {
  const config = path.join(folder, 'mandate.yaml');
  const file = {
    store: primary.url.replace(`:${primary.port}/`, `:${new URL(line.url).port}/`),
    base_url: BASE,
    node: folder === folders[0] ? 'one' : 'two',
    master_key_file: path.join(folders[0] ?? '', 'master.key'),
    operators: [{ id: 'root', secret_sha256: sha256(secrets.operator) }],
  };
  await writeFile(config, stringify(file));
  return serveProcess({ folder, flags: ['--config', config] });
};

beforeEach(async () => {
  if (!isHere) return;
  [primary, issuer] = await Promise.all([Postgres.start(), startIssuer()]);
  line = await Line.to(primary.url);
  folders = await Promise.all([1, 2].map(() => mkdtemp(path.join(tmpdir(), 'mandate-primary-'))));
  servers = [];
  for (const folder of folders) {
    await writeTenants(folder, {
      acme: (manifest) => {
        manifest.issuers = [trustIn(issuer.url)];
      },
    });
    servers.push(await authority(folder));
  }
});

afterEach(async () => {
  if (!isHere) return;
  await Promise.all(servers.map((each) => each.end('SIGTERM')));
  await line[Symbol.asyncDispose]();
  await primary[Symbol.asyncDispose]();
  await issuer[Symbol.asyncDispose]();
  for (const each of folders) await rm(each, { recursive: true, force: true });
});

const exchange = async (at: ServeProcess | undefined) =>
  form(at?.data ?? '', 'token', exchangeFields(await issuer.sign()), agent);

const goesOn = (at: ServeProcess | undefined) =>
  eventually(
    () => exchange(at),
    ({ status }) => status === 200,
  );

/** Work at both while something happens; answers what each answered. */
async function meanwhile(happens: () => Promise<unknown>): Promise<Answered[]> {
  let isOver = false;
  const work = await Promise.all(servers.map((at) => busy(issuer, at, () => isOver)));
  await Promise.all(work.map(({ begun }) => begun));
  try {
    await happens();
  } finally {
    isOver = true;
  }
  return Promise.all(work.map(({ all }) => all));
}

const setStatus = async (at: ServeProcess | undefined, status: 'ACTIVE' | 'DISABLED') => {
  const answer = await connect(at?.admin ?? '', 'TenantService/SetPrincipalStatus', {
    tenant: 'acme',
    class: 'user',
    id: 'alice',
    status: `PRINCIPAL_STATUS_${status}`,
  });
  expect(answer.status).toBe(200);
  return Number(answer.headers.get('mandate-state-version'));
};

test.runIf(isHere)(
  'a standby that has all takes the place of its primary: nothing that was answered is lost',
  async () => {
    await using standby = await primary.standby(true);
    const answered = await meanwhile(async () => {
      await new Promise((resolve) => setTimeout(resolve, 300));
      await primary.kill();
      line.cut();
      await standby.promote();
      line.leadTo(standby.url);
      line.mend();
      for (const each of servers) await goesOn(each);
    });
    for (const [nth, each] of answered.entries()) await holds(servers[1 - nth] as ServeProcess, each);
  },
  120_000,
);

test.runIf(isHere)(
  'a standby that lacks what was last is another history: servers end, and come back to it',
  async () => {
    await using standby = await primary.standby(false);
    await eventually(
      () => standby.query("SELECT version FROM mandate_tenants WHERE id = 'acme'"),
      ([row]) => Number(row?.['version']) >= 1,
    );
    await standby.kill();
    const lost = await setStatus(servers[0], 'DISABLED');
    for (const each of servers)
      expect((await check(each.data, { ...aliceReads, atLeast: lost })).body.decision).toBe('DECISION_DENY');
    await primary.kill();
    line.cut();
    await standby.up();
    await standby.promote();
    line.leadTo(standby.url);
    line.mend();
    for (const each of servers) {
      expect((await each.ended).code).not.toBe(0);
      expect(each.stderr()).toContain('another history of acme');
    }
    servers = [];
    for (const folder of folders) servers.push(await authority(folder));
    for (const each of servers)
      expect((await check(each.data, aliceReads)).body.decision).toBe('DECISION_ALLOW');
    const atLeast = await setStatus(servers[1], 'DISABLED');
    expect((await check(servers[0]?.data ?? '', { ...aliceReads, atLeast })).body.decision).toBe(
      'DECISION_DENY',
    );
  },
  120_000,
);

test.runIf(isHere)(
  'without room changes are refused and decisions go on; with room again changes do',
  async () => {
    // Some of what no server looks at, so that the next change needs a larger file.
    await primary.query(
      `INSERT INTO mandate_changes (tenant, version, name, body, node, id)
       SELECT 'nobody', n, 'x', repeat('x', 1500), 'x', n::text FROM generate_series(1, 12000) AS n`,
    );
    await primary.query('CHECKPOINT');
    const answered = await meanwhile(async () => {
      await primary.limitFiles(16 * 1024 * 1024);
      await eventually(
        () => exchange(servers[0]),
        ({ status }) => status === 503,
      );
      for (const each of servers)
        expect((await check(each.data, aliceReads)).body.decision).toBe('DECISION_ALLOW');
      await primary.limitFiles(undefined);
      for (const each of servers) await goesOn(each);
    });
    for (const [nth, each] of answered.entries()) await holds(servers[1 - nth] as ServeProcess, each);
  },
  120_000,
);
