import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { stringify } from 'yaml';
import { hasPostgres, Postgres } from '../../tools/fleet/postgres.ts';
import { agent } from '../delegation/stage.ts';
import { type Issuer, startIssuer, trustIn } from '../e2e/issuer.ts';
import { aliceReads, check, claimsOf, connect, exchangeFields, form } from '../e2e/requests.ts';
import { eventually, secrets, sha256, writeTenants } from '../e2e/server.ts';
import { type Answered, busy, holds } from './answered.ts';
import { type ServeProcess, serveProcess } from './process.ts';

/** Authorities with one order, one of which is killed at random, and the order's own server after it. */

const ROUNDS = Number(process.env['FLEET_KILLS'] ?? 4);
/** Of a round a server starts; a slow machine takes ten seconds for it. */
const PATIENCE_MS = 180_000 + ROUNDS * 20_000;
const BASE = 'http://pdp.acme.test';

let postgres: Postgres;
let issuer: Issuer;
let folders: string[];
let one: ServeProcess;
let two: ServeProcess;

const authority = async (node: string, folder: string): Promise<ServeProcess> => {
  const config = path.join(folder, 'mandate.yaml');
  const file = {
    store: postgres.url,
    base_url: BASE,
    node,
    master_key_file: path.join(folders[0] ?? '', 'master.key'),
    operators: [{ id: 'root', secret_sha256: sha256(secrets.operator) }],
  };
  await writeFile(config, stringify(file));
  return serveProcess({ folder, flags: ['--config', config] });
};

const isHere = await hasPostgres();

beforeAll(async () => {
  if (!isHere) return;
  [postgres, issuer] = await Promise.all([Postgres.start(), startIssuer()]);
  folders = await Promise.all(
    ['one', 'two'].map(async () => {
      const folder = await mkdtemp(path.join(tmpdir(), 'mandate-fleet-'));
      await writeTenants(folder, {
        acme: (manifest) => {
          manifest.issuers = [trustIn(issuer.url)];
        },
      });
      return folder;
    }),
  );
  one = await authority('one', folders[0] ?? '');
  two = await authority('two', folders[1] ?? '');
});

afterAll(async () => {
  if (!isHere) return;
  await Promise.all([one.end('SIGTERM'), two.end('SIGTERM')]);
  await postgres[Symbol.asyncDispose]();
  await issuer[Symbol.asyncDispose]();
  for (const each of folders) await rm(each, { recursive: true, force: true });
});

/** Every grant that it answered has its record in its log, once. */
async function recorded(at: ServeProcess, { minted }: Answered): Promise<void> {
  for (const { token } of minted.slice(-20)) {
    const { body } = await connect<{ records?: { kind: string; outcome: string }[] }>(
      at.admin,
      'AuditService/Query',
      { tenant: 'acme', pageSize: 10, grantId: claimsOf(token)['jti'], kind: 'exchange' },
    );
    expect(body.records?.filter(({ outcome }) => outcome === 'allow')).toHaveLength(1);
  }
}

test.runIf(isHere)(
  'what was answered by an authority that is killed is so at the others, and in its log once it is back',
  async () => {
    for (let round = 0; round < ROUNDS; round += 1) {
      let isOver = false;
      const work = await busy(issuer, one, () => isOver);
      const beside = await busy(issuer, two, () => isOver);
      await Promise.all([work.begun, beside.begun]);
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 700));
      await one.end('SIGKILL');
      isOver = true;
      const [answered, others] = await Promise.all([work.all, beside.all]);
      await holds(two, answered);
      one = await authority('one', folders[0] ?? '');
      await holds(one, answered);
      await holds(one, others);
      await recorded(one, answered);
      await recorded(two, others);
    }
    // And every grant that it made, answered or not.
    const { body } = await connect<{ count: string }>(one.admin, 'AuditService/Count', {
      query: { tenant: 'acme', kind: 'exchange', outcome: 'allow' },
    });
    const there = await postgres.query(
      "SELECT count(*) AS all FROM mandate_changes WHERE tenant = 'acme' AND node = 'one' AND name = 'insertGrant'",
    );
    expect(Number(body.count)).toBe(Number(there[0]?.['all']));
  },
  PATIENCE_MS,
);

test.runIf(isHere)(
  'what was answered stays so where PostgreSQL is killed, and changes go on once it is back',
  async () => {
    let isOver = false;
    const work = await Promise.all([one, two].map((at) => busy(issuer, at, () => isOver)));
    await Promise.all(work.map(({ begun }) => begun));
    await new Promise((resolve) => setTimeout(resolve, 300));
    await postgres.kill();
    const refused = await form(one.data, 'token', exchangeFields(await issuer.sign()), agent);
    expect(refused.status).toBe(503);
    // What is decided goes on.
    expect((await check(one.data, aliceReads)).body.decision).toBe('DECISION_ALLOW');
    await postgres.up();
    await eventually(
      async () => form(one.data, 'token', exchangeFields(await issuer.sign()), agent),
      ({ status }) => status === 200,
    );
    isOver = true;
    const answered = await Promise.all(work.map(({ all }) => all));
    for (const [nth, each] of answered.entries()) await holds(nth === 0 ? two : one, each);
  },
  120_000,
);
