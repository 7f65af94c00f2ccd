import { createClient } from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { LeaseService } from '../../src/gen/mandate/v1/lease_pb.ts';
import { hasPostgres, Postgres } from '../../tools/fleet/postgres.ts';
import { connect, request } from '../e2e/requests.ts';
import { eventually, type Running, startServer } from '../e2e/server.ts';
import { authorityOverrides, SIDECAR_SECRET } from './fleet.ts';
import { bodyOf, queried } from './kept.ts';

/** Two authorities with their order in PostgreSQL, and sidecars that never come back with what they had of a meter. */

const OF = 'subject user:alice';

let postgres: Postgres;
let ahead = 0;
let authorities: Running[] = [];

const isHere = await hasPostgres();

beforeAll(async () => {
  if (!isHere) return;
  postgres = await Postgres.start();
  for (const node of ['one', 'two'])
    authorities.push(
      await startServer({
        overrides: { ...authorityOverrides, store: postgres.url, base_url: 'http://pdp.acme.test', node },
        environment: { MANDATE_MASTER_KEY: '7d'.repeat(32) },
        clock: () => Date.now() + ahead,
        acme: (manifest) => {
          manifest.meters = {
            exports: { actions: ['counted.export'], per: 'subject', limit: 80, lease: 10 },
          };
        },
      }),
    );
}, 120_000);

afterAll(async () => {
  if (!isHere) return;
  for (const each of authorities) await each[Symbol.asyncDispose]();
  authorities = [];
  await postgres[Symbol.asyncDispose]();
});

const leasing = ({ admin: baseUrl }: Running) =>
  createClient(
    LeaseService,
    createGrpcTransport({
      baseUrl,
      interceptors: [
        (next) => (asked) => {
          asked.header.set('authorization', `Bearer ${SIDECAR_SECRET}`);
          return next(asked);
        },
      ],
    }),
  );

async function take(at: Running, node: string): Promise<string> {
  const wanted = [{ meter: 'exports', of: OF }];
  const { leases } = await leasing(at).lease({ tenant: 'acme', wanted, node });
  expect(leases[0]?.amount).toBeGreaterThan(0n);
  return leases[0]?.id ?? '';
}

const used = async ({ data }: Running): Promise<number> => {
  const { body } = await connect<{ usage?: { amount: number }[] }>(data, 'GrantService/ListUsage', {
    tenant: 'acme',
    meter: 'exports',
  });
  return body.usage?.[0]?.amount ?? 0;
};

const recorded = async (at: Running) =>
  (await queried(at, { action: 'lease.expire', node: at.config.node })).map(
    (record) => bodyOf(record)['detail'] as { holder: string; node: string; leases: object[] },
  );

const leasesCounted = async ({ admin }: Running, what: string): Promise<number> => {
  const { body } = await request<{ text: string }>(`${admin}/metrics`);
  const [, value = '0'] =
    new RegExp(`^mandate_leases_total\\{tenant="acme",what="${what}"\\} (\\d+)$`, 'm').exec(body.text) ?? [];
  return Number(value);
};

describe.runIf(isHere)('parts of a meter that nobody gives back', () => {
  test('are recorded once in all logs together, and counted so; what was given back is not', async () => {
    const [one, two] = authorities as [Running, Running];
    const kept = await take(one, 'lost-1');
    await take(one, 'lost-1');
    await take(two, 'lost-2');
    await take(two, '');
    const returned = [{ id: kept, unused: 1_000_000n }];
    await leasing(two).lease({ tenant: 'acme', returned });
    ahead += 70_001 + 1_000;
    const all = await eventually(
      async () => (await Promise.all(authorities.map(recorded))).flat(),
      (details) => details.flatMap(({ leases }) => leases).length >= 3,
    );
    expect(all.map(({ holder, node, leases }) => [holder, node, leases.length]).sort()).toEqual([
      ['operator:sidecars', '', 1],
      ['operator:sidecars', 'lost-1', 1],
      ['operator:sidecars', 'lost-2', 1],
    ]);
    // Both are one process here, and count the same.
    for (const [what, count] of Object.entries({ leased: 4, returned: 1, expired: 3 }))
      expect(await leasesCounted(one, what), what).toBe(count);
  });

  test('are used up, whoever comes back with them later', async () => {
    const [one, two] = authorities as [Running, Running];
    const late = await take(one, 'late');
    ahead += 70_001 + 1_000;
    const before = await used(two);
    expect(before).toBeGreaterThan(0);
    await leasing(two).lease({ tenant: 'acme', returned: [{ id: late, unused: 1_000_000n }] });
    expect(await used(two)).toBe(before);
    await eventually(
      async () => (await Promise.all(authorities.map(recorded))).flat(),
      (details) => details.some(({ node }) => node === 'late'),
    );
  });

  test('are of a server by no name but one that a server may have', async () => {
    const [one] = authorities as [Running];
    for (const node of ['One', '../two', 'a'.repeat(64), 'one two'])
      await expect(leasing(one).lease({ tenant: 'acme', node }), node).rejects.toThrow('invalid_request');
  });
});
