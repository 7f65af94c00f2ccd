import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { queryRecords } from '../../../src/audit/query.ts';
import { Unreported } from '../../../src/decision/metering/leasing/unreported.ts';
import { systemRandom } from '../../../src/effects.ts';
import { leaseStore } from '../../../src/storage/leases.ts';
import { recordStore } from '../../../src/storage/log/records.ts';
import { openReader } from '../../../src/storage/reader.ts';
import type { Writer } from '../../../src/storage/writer.ts';
import type { Tenant } from '../../../src/tenancy/tenants.ts';
import { openStore, sourceOf, T0, temporaryFolder, tenantNo } from '../../storage/store.ts';

/** Parts of meters that nobody gives back, over a real store: each is recorded once, whoever looks for them and when. */

let place: Awaited<ReturnType<typeof temporaryFolder>>;
let writer: Writer;
let reader: ReturnType<typeof openReader>;
let tenants = 0;

beforeAll(async () => {
  place = await temporaryFolder();
  writer = await openStore(place.folder);
  reader = openReader(place.folder);
});
afterAll(async () => {
  reader.close();
  await writer[Symbol.asyncDispose]();
  await place[Symbol.asyncDispose]();
});

const LEASED_MS = 10_000;
const OVER_MS = LEASED_MS + 60_000;
const AMOUNT = 2_500_000;

async function opened() {
  tenants += 1;
  const id = `t${tenants}`;
  const no = await tenantNo(writer, id);
  let now = T0;
  const sweeper = (isServed = true) =>
    new Unreported({
      store: leaseStore(reader),
      tenants: { withNo: (of) => (of === no && isServed ? ({ id, no } as unknown as Tenant) : undefined) },
      writer,
      clock: () => now,
      random: systemRandom,
    });
  let leases = 0;
  const usage = (more: object) =>
    writer.run('leaseUsage', {
      tenantNo: no,
      leases: [],
      returned: [],
      at: now,
      ends: now + LEASED_MS,
      ...more,
    });
  return {
    id,
    sweeper,
    pass: (ms: number) => {
      now += ms;
    },
    lease: async (meter: string, node: string) => {
      const of = `subject user:${(leases += 1)}`;
      const lease = { lease: of, meter, of, since: 0, amount: AMOUNT, until: null };
      await usage({ leases: [lease], by: { holder: 'operator:sidecars', node } });
      return { of, ends: now + LEASED_MS, meter, node };
    },
    giveBack: async (of: string) => (await usage({ returned: [{ lease: of, unused: 0 }] })).value === 1,
    records: () =>
      queryRecords(sourceOf(recordStore(reader)), no, {
        actionName: 'lease.expire',
        pageSize: 1_000,
        pageToken: '',
        isOldestFirst: true,
      }).records.map(({ kind, caller, resource, body }) => {
        const { detail } = JSON.parse(Buffer.from(body).toString()) as {
          detail: {
            holder: string;
            node: string;
            leases: { of: string; amount: number; ended: string }[];
          };
        };
        return { kind, caller, resource, detail };
      }),
  };
}

test('who had it, of which meter, for whom and how much is in the record, once', async () => {
  const { lease, pass, sweeper, records } = await opened();
  const { ends } = await lease('exports', 'one');
  await using one = sweeper();
  await using two = sweeper();
  pass(OVER_MS);
  await Promise.all([one.sweep(), two.sweep()]);
  expect(records()).toEqual([]);
  pass(1);
  await Promise.all([one.sweep(), two.sweep(), one.sweep()]);
  expect(records()).toEqual([
    {
      kind: 'server',
      caller: 'server',
      resource: { type: 'meter', id: 'exports' },
      detail: {
        holder: 'operator:sidecars',
        node: 'one',
        leases: [{ of: 'subject user:1', amount: 2.5, ended: new Date(ends).toISOString() }],
      },
    },
  ]);
});

test('what one had of one meter is told together, as far as a record may hold it', async () => {
  const { id, lease, pass, sweeper, records } = await opened();
  for (let at = 0; at < 70; at += 1) await lease('exports', 'one');
  await lease('paid', 'one');
  await lease('exports', 'two');
  pass(OVER_MS + 1);
  let counted = 0;
  const count = (message: unknown): void => {
    const { tenant, what, count: parts } = message as { tenant: string; what: string; count: number };
    if (tenant === id && what === 'expired') counted += parts;
  };
  subscribe('mandate:lease', count);
  await using only = sweeper();
  await only.sweep();
  unsubscribe('mandate:lease', count);
  const told = records().map(({ resource, detail }) => [resource.id, detail.node, detail.leases.length]);
  expect(told).toEqual([
    ['exports', 'one', 32],
    ['exports', 'one', 32],
    ['exports', 'one', 6],
    ['paid', 'one', 1],
    ['exports', 'two', 1],
  ]);
  expect(counted).toBe(72);
});

test('of a tenant that is not served here nothing is told', async () => {
  const { lease, pass, sweeper, records, giveBack } = await opened();
  const { of } = await lease('exports', 'one');
  pass(OVER_MS + 1);
  await using elsewhere = sweeper(false);
  await elsewhere.sweep();
  expect(records()).toEqual([]);
  // Its time is over all the same.
  expect(await giveBack(of)).toBe(false);
});

type Step =
  | { do: 'lease'; meter: string; node: string }
  | { do: 'give back'; which: number }
  | { do: 'pass'; ms: number }
  | { do: 'sweep'; by: number };

const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({
    do: fc.constant('lease' as const),
    meter: fc.constantFrom('exports', 'paid'),
    node: fc.constantFrom('one', 'two'),
  }),
  fc.record({ do: fc.constant('give back' as const), which: fc.nat(20) }),
  fc.record({ do: fc.constant('pass' as const), ms: fc.constantFrom(1, LEASED_MS, OVER_MS) }),
  fc.record({ do: fc.constant('sweep' as const), by: fc.nat(1) }),
);

test('each comes to one end: it is given back, or recorded, by however many servers at once', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
      const { lease, giveBack, pass, sweeper, records } = await opened();
      await using one = sweeper();
      await using two = sweeper();
      const all: Awaited<ReturnType<typeof lease>>[] = [];
      const returned: string[] = [];
      const sweeping: Promise<void>[] = [];
      for (const each of steps) {
        if (each.do === 'lease') all.push(await lease(each.meter, each.node));
        else if (each.do === 'pass') pass(each.ms);
        else if (each.do === 'sweep') sweeping.push((each.by === 0 ? one : two).sweep());
        else {
          const of = all[each.which % Math.max(1, all.length)]?.of;
          if (of !== undefined && (await giveBack(of))) returned.push(of);
        }
      }
      pass(LEASED_MS + OVER_MS);
      await Promise.all([...sweeping, one.sweep(), two.sweep()]);
      // What both came upon at once, one of them noted.
      await one.sweep();
      const told = records().flatMap(({ resource, detail: { node, leases } }) =>
        leases.map(({ of }) => `${resource.id} ${node} ${of}`),
      );
      const left = all.filter(({ of }) => !returned.includes(of));
      expect(new Set(returned).size).toBe(returned.length);
      expect(told.sort()).toEqual(left.map(({ meter, node, of }) => `${meter} ${node} ${of}`).sort());
    }),
    { numRuns: 40 },
  );
});
