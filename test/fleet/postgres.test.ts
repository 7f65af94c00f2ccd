import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openReader } from '../../src/storage/reader.ts';
import { usageStore } from '../../src/storage/usage.ts';
import { hasPostgres, Postgres } from '../../tools/fleet/postgres.ts';
import { agent, mcp } from '../delegation/stage.ts';
import { type Issuer, startIssuer, trustIn } from '../e2e/issuer.ts';
import {
  aliceReads,
  check,
  claimsOf,
  connect,
  exchangeFields,
  form,
  request,
  tokenReads,
} from '../e2e/requests.ts';
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
import { history } from './history.ts';

/** Two authorities with their order in a real PostgreSQL, and a sidecar of each. */

const BASE = 'http://pdp.acme.test';
/** No other test of this file is before it: they read less. */
const MOST_READS = 40;
const MOST_EXPORTS = 80;
const MASTER = '7d'.repeat(32);

let postgres: Postgres;
let issuer: Issuer;
let one: Running;
let two: Running;
let sidecars: Running[] = [];

const optionsOf = (node: string) => ({
  overrides: { ...authorityOverrides, store: postgres.url, base_url: BASE, node },
  environment: { MANDATE_MASTER_KEY: MASTER },
  acme: (manifest: TenantDocument) => {
    manifest.issuers = [trustIn(issuer.url)];
    manifest.meters = {
      reads: { actions: ['document.read'], per: 'subject' },
      exports: { actions: ['counted.export'], per: 'subject', limit: MOST_EXPORTS, lease: 10 },
    };
  },
  acmeFiles: {
    'metered.rego': `package authz

deny contains "enough" if {
	input.resource.id == "metered"
	input.usage.reads >= ${MOST_READS}
}

allow if input.action.name == "counted.export"
`,
  },
});

const startAuthority = (node: string): Promise<Running> => startServer(optionsOf(node));
const again = (node: string, { folder }: Running): Promise<Running> => startIn(folder, optionsOf(node));

const isHere = await hasPostgres();

beforeAll(async () => {
  if (!isHere) return;
  [postgres, issuer] = await Promise.all([Postgres.start(), startIssuer()]);
  one = await startAuthority('one');
  two = await startAuthority('two');
  sidecars = await Promise.all(
    [one, two].map((authority, at) => startSidecar(authority, { node: `side-${at}`, base_url: BASE })),
  );
  await Promise.all(sidecars.map(isReady));
});

afterAll(async () => {
  if (!isHere) return;
  for (const each of [...sidecars, two, one]) await each[Symbol.asyncDispose]();
  await issuer[Symbol.asyncDispose]();
  await postgres[Symbol.asyncDispose]();
});

const exchanged = async (at: Running): Promise<string> => {
  const answer = await form(at.data, 'token', exchangeFields(await issuer.sign()), agent);
  expect(answer.status, JSON.stringify(answer.body)).toBe(200);
  return answer.body.access_token ?? '';
};
const asMcp = (at: Running, token: string, more: object = {}) =>
  check(at.data, { ...tokenReads(token, ''), ...more }, bearer(mcp.secret));
const versionIn = (answer: { headers: Headers }): number =>
  Number(answer.headers.get('mandate-state-version'));

describe.runIf(isHere)('authorities with one order', () => {
  test('a meter is one for all of them: nobody allows more than there is, and nothing is lost', async () => {
    const exporting = { ...aliceReads, resource: { ...aliceReads.resource, id: 'metered' } };
    const asked = { ...exporting, action: { name: 'document.read', properties: { metered: true } } };
    const answers = await Promise.all(
      Array.from({ length: 120 }, (_, at) => check([one, two, ...sidecars][at % 4]?.data ?? '', asked)),
    );
    const allowed = answers.filter(({ body }) => body.decision === 'DECISION_ALLOW').length;
    const refused = answers.filter(({ body }) => body.decision === 'DECISION_DENY').length;
    expect(allowed).toBe(MOST_READS);
    // Those who were outrun too often were told so.
    expect(refused + allowed).toBeLessThanOrEqual(120);
    const counted = await eventually(
      () =>
        Promise.resolve(
          [one, two].map(({ folder, mandate }) => {
            const db = openReader(path.join(folder, 'data'));
            try {
              return usageStore(db).of(mandate.tenants.get('acme').no, 'reads', 'subject user:alice', 0);
            } finally {
              db.close();
            }
          }),
        ),
      ([here, there]) => here?.[0]?.amount === there?.[0]?.amount,
    );
    expect(counted[0]?.[0]?.amount).toBe(MOST_READS * 1_000_000);
  });

  test('parts of a meter are leased by both, and no more is allowed by all of them than there is', async () => {
    const exporting = { ...aliceReads, action: { name: 'counted.export' } };
    let allowed = 0;
    for (let round = 0; round < 12; round += 1) {
      const answers = await Promise.all(
        Array.from({ length: 12 }, (_, at) => check([...sidecars, one, two][at % 4]?.data ?? '', exporting)),
      );
      allowed += answers.filter(({ body }) => body.decision === 'DECISION_ALLOW').length;
    }
    expect(allowed).toBeLessThanOrEqual(MOST_EXPORTS);
    expect(allowed).toBeGreaterThan(MOST_EXPORTS / 2);
    const own = await Promise.all(
      sidecars.map((each) =>
        connect<{ records?: object[] }>(each.admin, 'AuditService/Query', {
          tenant: 'acme',
          pageSize: 100,
          action: 'counted.export',
        }),
      ),
    );
    // Each has counted some itself: what both authorities leased was of one budget.
    for (const { body } of own) expect(body.records?.length).toBeGreaterThan(0);
  });

  test('a token that one minted is good at all, and refused at all once another revoked it', async () => {
    const everywhere = [one, two, ...sidecars];
    for (const minting of [one, two]) {
      const token = await exchanged(minting);
      for (const each of everywhere)
        expect((await asMcp(each, token)).body, each.config.node).toMatchObject({
          decision: 'DECISION_ALLOW',
        });
      const revoked = await form<object>(minting === one ? two.data : one.data, 'revoke', { token }, agent);
      expect(revoked.status).toBe(200);
      for (const each of everywhere)
        expect((await asMcp(each, token, { atLeast: versionIn(revoked) })).body).toMatchObject({
          decision: 'DECISION_DENY',
          reasons: [{ code: 'token_revoked' }],
        });
    }
  });

  test('what was just granted by one is revoked, killed and looked at by another, and never missed', async () => {
    for (let round = 0; round < 15; round += 1) {
      const token = await exchanged(one);
      const revoked = await form<object>(two.data, 'revoke', { token }, agent);
      const asked = { atLeast: versionIn(revoked) };
      expect((await asMcp(one, token, asked)).body.reasons?.[0]).toMatchObject({ code: 'token_revoked' });
      const other = await exchanged(two);
      expect((await form<object>(one.data, 'introspect', { token: other }, agent)).body).toMatchObject({
        active: true,
      });
      const killed = await connect(one.admin, 'KillService/Kill', {
        tenant: 'acme',
        grantId: claimsOf(await exchanged(two))['jti'],
        reason: 'a drill',
      });
      expect(killed).toMatchObject({ status: 200, body: { ended: 1 } });
    }
  });

  test('whoever one disables is disabled at all', async () => {
    for (const [at, status, decision] of [
      [one, 'DISABLED', 'DECISION_DENY'],
      [two, 'ACTIVE', 'DECISION_ALLOW'],
    ] as const) {
      const changed = await connect(at.admin, 'TenantService/SetPrincipalStatus', {
        tenant: 'acme',
        class: 'user',
        id: 'alice',
        status: `PRINCIPAL_STATUS_${status}`,
      });
      for (const each of [one, two, ...sidecars])
        expect((await check(each.data, { ...aliceReads, atLeast: versionIn(changed) })).body).toMatchObject({
          decision,
        });
    }
  });

  test('commands of both at once have one order, and both come to the same state', async () => {
    const tokens = await Promise.all(
      Array.from({ length: 60 }, (_, at) => exchanged([one, two, ...sidecars][at % 4] ?? one)),
    );
    expect(new Set(tokens).size).toBe(60);
    const state = ({ mandate }: Running) => mandate.services.versions.of(mandate.tenants.get('acme').no);
    await eventually(
      () => Promise.resolve([one, two, ...sidecars].map(state)),
      (versions) => new Set(versions).size === 1,
    );
    const chains = await Promise.all(
      [one, two, ...sidecars].map(async ({ mandate }) => {
        const tenant = mandate.tenants.get('acme');
        return Buffer.from(mandate.services.source.position(tenant.no).chain).toString('hex');
      }),
    );
    expect(new Set(chains).size).toBe(1);
  });

  test('what both change at once, in turns of their own, waits for nobody for ever', async () => {
    const put = (at: Running, id: string) =>
      connect(at.admin, 'TenantService/PutPrincipals', {
        tenant: 'acme',
        principals: [{ class: 'user', id }],
      });
    const release = async (at: Running, number: number) => {
      const body = `package authz\n\ndeny contains "never ${at.config.node} ${number}" if input.action.name == "never"\n`;
      await writeFile(path.join(at.tenantFolder('acme'), 'never.rego'), body);
      return connect(at.admin, 'PolicyService/ReloadPolicy', { tenant: 'acme' });
    };
    for (let round = 0; round < 3; round += 1) {
      const answers = await Promise.all(
        [one, two].flatMap((at) => [
          release(at, round),
          ...Array.from({ length: 15 }, (_, nth) => put(at, `p-${at.config.node}-${round}-${nth}`)),
        ]),
      );
      // Of two releases at once the later may find another one active.
      for (const { status, body } of answers) expect([200, 409], JSON.stringify(body)).toContain(status);
    }
    const revisions = () => Promise.all([one, two, ...sidecars].map((at) => check(at.data, aliceReads)));
    await eventually(revisions, (all) => new Set(all.map(({ body }) => body.policyRevision)).size === 1);
  });

  test('whatever happens at all of them at once, no answer contradicts one before it', async () => {
    const seconds = Number(process.env['FLEET_SECONDS'] ?? 4);
    const counts = await history([one, two, ...sidecars], await issuer.sign(), seconds);
    expect(Math.min(counts.minted, counts.ended, counts.asked)).toBeGreaterThan(0);
  }, 600_000);

  test('a new authority without folders has all of it from the order', async () => {
    const three = await startServer({
      overrides: { ...authorityOverrides, store: postgres.url, base_url: BASE, node: 'three', tenants: [] },
      environment: { MANDATE_MASTER_KEY: MASTER },
    });
    await using _three = three;
    expect((await check(three.data, aliceReads)).body).toMatchObject({ decision: 'DECISION_ALLOW' });
    const token = await exchanged(three);
    expect((await asMcp(one, token)).body).toMatchObject({ decision: 'DECISION_ALLOW' });
  });

  test('what led to a copy is given up, and who comes late begins with the copy', async () => {
    const four = await startServer({
      overrides: {
        ...authorityOverrides,
        store: postgres.url,
        store_copy_every: 100,
        base_url: BASE,
        node: 'four',
        tenants: [],
      },
      environment: { MANDATE_MASTER_KEY: MASTER },
    });
    await using _four = four;
    await Promise.all(Array.from({ length: 120 }, () => exchanged(four)));
    const kept = () =>
      postgres.query(
        "SELECT min(version) AS first, max(version) AS last FROM mandate_changes WHERE tenant = 'acme'",
      );
    await eventually(kept, ([row]) => Number(row?.['first']) > 1);
    const token = await exchanged(four);
    const five = await startServer({
      overrides: { ...authorityOverrides, store: postgres.url, base_url: BASE, node: 'five', tenants: [] },
      environment: { MANDATE_MASTER_KEY: MASTER },
    });
    await using _five = five;
    expect((await asMcp(five, token)).body).toMatchObject({ decision: 'DECISION_ALLOW' });
    expect((await asMcp(one, await exchanged(five))).body).toMatchObject({ decision: 'DECISION_ALLOW' });
    const chainOf = ({ mandate }: Running) =>
      Buffer.from(mandate.services.source.position(mandate.tenants.get('acme').no).chain).toString('hex');
    await eventually(
      () => Promise.resolve([one, two, four, five].map(chainOf)),
      (chains) => new Set(chains).size === 1,
    );
  });

  test('a second server of the same name is refused', async () => {
    await expect(startAuthority('one')).rejects.toMatchObject({
      code: 'config_invalid',
      message: expect.stringContaining('called one'),
    });
  });

  test.each(['asks for a change', 'listens again'])(
    'a server whose name another took while its connection was lost ends once it %s',
    async (when) => {
      const server = await startServer({
        overrides: {
          ...authorityOverrides,
          store: postgres.url,
          base_url: BASE,
          node: when.slice(0, 4),
          tenants: [],
        },
        environment: { MANDATE_MASTER_KEY: MASTER },
      });
      await using _server = server;
      const name = `'${when.slice(0, 4)}'`;
      const other = await postgres.connected();
      try {
        // The line of the one goes, and the other has the name before it is back.
        await other.query(
          `SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND objid =
             (hashtext(${name})::bigint & x'ffffffff'::bigint)::oid`,
        );
        await eventually(
          async () =>
            (await other.query(`SELECT pg_try_advisory_lock(7400, hashtext(${name})) AS ours`)).rows,
          ([row]) => row?.ours === true,
        );
        await other.query(`UPDATE mandate_nodes SET holder = 'other' WHERE name = ${name}`);
        if (when === 'asks for a change') {
          const revoked = await connect(server.admin, 'TenantService/SetPrincipalStatus', {
            tenant: 'acme',
            class: 'user',
            id: 'bob',
            status: 'PRINCIPAL_STATUS_DISABLED',
          });
          expect(revoked.status).toBe(503);
        } else await other.query('SELECT pg_advisory_unlock_all()');
        expect((await server.mandate.failed).message).toContain('has the name');
        expect(
          await postgres.query(`SELECT 1 FROM mandate_changes WHERE node = ${name} AND name = 'setStatus'`),
        ).toEqual([]);
      } finally {
        await other.end();
      }
    },
  );

  test('a tenant of which a change cannot be made is served no more, and stops no other', async () => {
    const own = optionsOf('nine');
    const server = await startServer({ ...own, overrides: { ...own.overrides, max_staleness_seconds: 2 } });
    await using _server = server;
    const token = await exchanged(one);
    const inGlobex = async () =>
      (
        await check(
          server.data,
          { ...aliceReads, tenant: 'globex', resource: { type: 'document', id: 'x' } },
          bearer(secrets.globexMcp),
        )
      ).status;
    expect(await inGlobex()).toBe(200);
    // Of a version that is newer than this one.
    const [at] = await postgres.query("SELECT version, last FROM mandate_tenants WHERE id = 'globex'");
    await postgres.query(
      `BEGIN; INSERT INTO mandate_changes (tenant, version, name, body, node, id)
         SELECT id, version + 1, 'grantWings', '{}', 'other', 'newer' FROM mandate_tenants WHERE id = 'globex';
       UPDATE mandate_tenants SET version = version + 1, last = 'newer' WHERE id = 'globex'; COMMIT`,
    );
    await eventually(inGlobex, (status) => status !== 200);
    const began = performance.now();
    while (performance.now() - began < 3_000) {
      expect((await asMcp(server, token)).body).toMatchObject({ decision: 'DECISION_ALLOW' });
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    const readyz = await request<string>(`${server.admin}/readyz?verbose`, {
      headers: { authorization: bearer(secrets.operator) },
    });
    expect(readyz).toMatchObject({
      status: 200,
      body: {
        text: expect.stringContaining(
          'tenant globex: a change cannot be made here: grantWings is a change that this version does not know',
        ) as unknown,
      },
    });
    await postgres.query(
      `BEGIN; DELETE FROM mandate_changes WHERE id = 'newer';
       UPDATE mandate_tenants SET version = ${Number(at?.['version'])}, last = '${String(at?.['last'])}'
         WHERE id = 'globex'; COMMIT`,
    );
    await eventually(inGlobex, (status) => status === 200);
    // It stands in this server's own folder still.
    expect(server.mandate.tenants.get('globex').folder).toBe(server.tenantFolder('globex'));
  });

  describe('where PostgreSQL was restored to what it was before', () => {
    const setStatus = async (at: Running, id: string, status: 'ACTIVE' | 'DISABLED') =>
      versionIn(
        await connect(at.admin, 'TenantService/SetPrincipalStatus', {
          tenant: 'acme',
          class: 'user',
          id,
          status: `PRINCIPAL_STATUS_${status}`,
        }),
      );
    const aliceAt = async (at: Running, atLeast?: number) =>
      (await check(at.data, { ...aliceReads, ...(atLeast !== undefined && { atLeast }) })).body.decision;
    /** As a backup has it that was made at a version. */
    const restored = (version: number) =>
      postgres.query(
        `BEGIN; DELETE FROM mandate_changes WHERE tenant = 'acme' AND version > ${version};
         UPDATE mandate_tenants SET version = ${version}, last = (SELECT id FROM mandate_changes
           WHERE tenant = 'acme' AND version = ${version}) WHERE id = 'acme'; COMMIT`,
      );
    const ended = async () => {
      for (const { mandate } of [one, two])
        expect((await mandate.failed).message).toContain('another history of acme');
      await Promise.all([one.stop(), two.stop()]);
    };
    const bothAgain = async () => {
      one = await again('one', one);
      two = await again('two', two);
    };

    test('servers end, and come back to that', async () => {
      const before = await setStatus(one, 'bob', 'ACTIVE');
      const lost = await setStatus(two, 'alice', 'DISABLED');
      for (const each of [one, two]) expect(await aliceAt(each, lost)).toBe('DECISION_DENY');
      await restored(before);
      await ended();
      await bothAgain();
      for (const each of [one, two]) expect(await aliceAt(each)).toBe('DECISION_ALLOW');
      const atLeast = await setStatus(one, 'alice', 'DISABLED');
      expect(await aliceAt(two, atLeast)).toBe('DECISION_DENY');
      await setStatus(one, 'alice', 'ACTIVE');
    });

    test('a server comes back to that, where others went on to the number that it had', async () => {
      const before = await setStatus(one, 'bob', 'ACTIVE');
      await setStatus(two, 'alice', 'DISABLED');
      for (const status of ['DISABLED', 'ACTIVE'] as const) await setStatus(two, 'bob', status);
      const lost = await setStatus(two, 'bob', 'DISABLED');
      expect(await aliceAt(one, lost)).toBe('DECISION_DENY');
      await two.stop();
      await restored(before);
      expect((await one.mandate.failed).message).toContain('another history of acme');
      await one.stop();
      one = await again('one', one);
      for (let at = before, nth = 0; at < lost; nth++)
        at = await setStatus(one, 'bob', nth % 2 === 0 ? 'DISABLED' : 'ACTIVE');
      two = await again('two', two);
      for (const each of [one, two]) expect(await aliceAt(each, lost)).toBe('DECISION_ALLOW');
      const atLeast = await setStatus(two, 'bob', 'ACTIVE');
      expect(await aliceAt(one, atLeast)).toBe('DECISION_ALLOW');
    });

    test('servers that run end, where something else has come under the number that they have', async () => {
      await setStatus(one, 'bob', 'ACTIVE');
      const lost = await setStatus(two, 'alice', 'DISABLED');
      for (const each of [one, two]) expect(await aliceAt(each, lost)).toBe('DECISION_DENY');
      await postgres.query(
        `BEGIN; UPDATE mandate_changes SET id = 'another', record = NULL, name = earlier.name, body = earlier.body
           FROM (SELECT name, body FROM mandate_changes WHERE tenant = 'acme' AND version = ${lost - 1}) AS earlier
           WHERE tenant = 'acme' AND version = ${lost};
         UPDATE mandate_tenants SET last = 'another' WHERE id = 'acme'; COMMIT`,
      );
      await ended();
      await bothAgain();
      for (const each of [one, two]) expect(await aliceAt(each, lost)).toBe('DECISION_ALLOW');
    });
  });
});
