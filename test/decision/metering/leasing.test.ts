import { setImmediate as turn } from 'node:timers/promises';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ForAuthority } from '../../../src/decision/elsewhere.ts';
import { inMillionths, inUnits } from '../../../src/decision/metering/amount.ts';
import { Borrowing } from '../../../src/decision/metering/leasing/borrowing.ts';
import { HeldMeters } from '../../../src/decision/metering/leasing/held-meters.ts';
import { LEASE_MS, Leases } from '../../../src/decision/metering/leasing/leases.ts';
import { Meters } from '../../../src/decision/metering/meters.ts';
import { decidedAnew, Outrun } from '../../../src/decision/metering/outrun.ts';
import type { Usage } from '../../../src/decision/metering/usage.ts';
import { asStated } from '../../../src/decision/principal.ts';
import { systemRandom } from '../../../src/effects.ts';
import type { TenantId } from '../../../src/ids.ts';
import { grantStore } from '../../../src/storage/grants.ts';
import { leaseStore } from '../../../src/storage/leases.ts';
import { openReader } from '../../../src/storage/reader.ts';
import type { TenantNo } from '../../../src/storage/rows.ts';
import { usageStore } from '../../../src/storage/usage.ts';
import type { Writer } from '../../../src/storage/writer.ts';
import { parseManifest } from '../../../src/tenancy/manifest.ts';
import type { Tenant } from '../../../src/tenancy/tenants.ts';
import { openStore, rowOf, temporaryFolder, tenantNo } from '../../storage/store.ts';

/**
 * Authorities that lease and sidecars that count by it, over a real store: whatever is lost, killed, late or at once, never
 * more is counted than there is, and nobody decides by less than was counted.
 */

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

const WINDOW_MS = 60_000;
/** The limit that is declared, and what the policy lets through: below it, at it and above it. */
const LIMIT = 60;

interface Kind {
  readonly hasWindow: boolean;
  readonly isSum: boolean;
  /** What the policy lets through. */
  readonly most: number;
}

const manifestOf = ({ hasWindow, isSum }: Kind) =>
  parseManifest(
    {
      id: 'acme',
      meters: {
        paid: {
          actions: ['pay'],
          per: 'subject',
          limit: LIMIT,
          lease: 5,
          ...(hasWindow && { window: '1m' }),
          ...(isSum && { sum: 'context.euros' }),
        },
      },
    },
    'tenant.yaml',
  );

const BY = { holder: 'operator:sidecars', node: 'one' };

/** What becomes of what a sidecar asks of its authority. */
type Line = 'good' | 'cut' | 'answers are lost' | 'late';

class Sidecar {
  line: Line = 'good';
  authority = 0;
  meters!: HeldMeters;
  borrowing!: Borrowing;
}

class World {
  readonly kind: Kind;
  readonly tenant: Tenant;
  readonly no: TenantNo;
  readonly sidecars = [new Sidecar(), new Sidecar(), new Sidecar()];
  now = 1_700_000_000_000;
  authorities: { meters: Meters; leases: Leases }[] = [];
  /** What was allowed, when and how much, by whom it was for. */
  readonly spent = new Map<string, { at: number; amount: number }[]>();
  readonly late: (() => void)[] = [];
  readonly asking = new Set<Promise<unknown>>();
  heldDecisions = 0;

  constructor(kind: Kind, no: TenantNo) {
    this.kind = kind;
    this.no = no;
    this.tenant = { no, id: 'acme' as TenantId, manifest: manifestOf(kind) } as unknown as Tenant;
    this.authorities = [this.authority(), this.authority()];
    for (const sidecar of this.sidecars) this.startSidecar(sidecar);
  }

  authority(): { meters: Meters; leases: Leases } {
    const meters = new Meters({
      store: usageStore(reader),
      grants: grantStore(reader),
      doubt: { settle: () => undefined },
      isShared: true,
    });
    const run: Writer['run'] = async (...args) => {
      const ran = await writer.run(...args);
      this.tell(meters);
      return ran;
    };
    const store = leaseStore(reader);
    const clock = (): number => this.now;
    return { meters, leases: new Leases({ meters, store, writer: { run }, clock, random: systemRandom }) };
  }

  at(no: number): { meters: Meters; leases: Leases } {
    const found = this.authorities[no];
    if (!found) throw new Error('there is no such authority');
    return found;
  }

  startSidecar(sidecar: Sidecar): void {
    const monotonic = (): number => this.now;
    sidecar.borrowing = new Borrowing({
      monotonic,
      lessor: {
        lease: async (_tenant, asked) => {
          if (sidecar.line === 'cut') throw new Error('nobody is there');
          const { leases } = this.at(sidecar.authority);
          const asking = leases.lease(this.tenant, BY, asked);
          this.asking.add(asking);
          const answer = { leases: await asking.finally(() => this.asking.delete(asking)), ms: LEASE_MS };
          if (sidecar.line === 'answers are lost') throw new Error('the line was cut');
          if (sidecar.line === 'late') await new Promise<void>((resolve) => this.late.push(resolve));
          return answer;
        },
      },
    });
    sidecar.meters = new HeldMeters({ grants: grantStore(reader), borrowing: sidecar.borrowing, monotonic });
  }

  request(amount: number) {
    return {
      principal: { stated: { class: 'user', id: 'u' }, properties: undefined },
      action: { name: 'pay' },
      resource: { type: 'invoice', id: 'i' },
      context: { euros: amount },
      audience: undefined,
      approval: undefined,
    } as const;
  }

  spentBy(subject: string): number {
    const since = this.kind.hasWindow ? this.now - WINDOW_MS : 0;
    const all = (this.spent.get(subject) ?? []).filter(({ at }) => at > since);
    return inUnits(all.reduce((sum, { amount }) => sum + (inMillionths(amount) ?? 0), 0));
  }

  /** The policy: it lets through so much, and no more. */
  isAllowed(usage: Usage, amount: number): boolean {
    const seen = usage.seen['paid'] ?? Number.NaN;
    return seen + amount <= this.kind.most && usage.exceeded === undefined;
  }

  async decide(meters: Pick<Meters, 'look'>, subject: string, amount: number): Promise<boolean> {
    const whom = asStated({ class: 'user', id: subject });
    const usage = meters.look(this.tenant, this.request(amount), whom, this.now, 'act');
    if (!usage) throw new Error('it meets no meter');
    const seen = usage.seen['paid'] ?? Number.NaN;
    const isAllowed = this.isAllowed(usage, amount);
    usage.checkAllowed({ outcome: isAllowed ? 'allow' : 'deny' });
    if (!isAllowed) return false;
    // Nobody decides by less than was counted anywhere.
    const before = this.spentBy(subject);
    const taken = usage.take();
    const run = async () => {
      if (!taken) return;
      const { value } = await taken.by(taken.written(writer, rowOf(this.no)));
      if (value === undefined) throw new Outrun();
    };
    if (taken && meters instanceof HeldMeters) {
      expect(seen).toBeGreaterThanOrEqual(before);
      this.note(subject, amount);
      this.heldDecisions += 1;
      return await run().then(() => true);
    }
    await run();
    // By its place in the store: another may have been written since it was looked at here, but not of the authorities.
    this.note(subject, amount);
    this.tell(meters);
    return true;
  }

  /** The others make it too, and are told. */
  tell(by: Pick<Meters, 'look'>): void {
    for (const { meters } of this.authorities) if (meters !== by) meters.counted(this.no);
  }

  note(subject: string, amount: number): void {
    this.spent.set(subject, [...(this.spent.get(subject) ?? []), { at: this.now, amount }]);
    const most = Math.min(LIMIT, this.kind.most);
    expect(this.spentBy(subject)).toBeLessThanOrEqual(most);
  }

  async ask(at: number, subject: string, amount: number): Promise<boolean> {
    const sidecar = this.sidecars[at] as Sidecar;
    try {
      return await this.decide(sidecar.meters, subject, amount);
    } catch (error) {
      if (!(error instanceof ForAuthority)) throw error;
      if (sidecar.line !== 'good') return false;
      const there = (): Promise<boolean> => this.decide(this.at(sidecar.authority).meters, subject, amount);
      return await there().catch((why: unknown) => decidedAnew(why, there));
    }
  }

  async settle(): Promise<void> {
    for (let turns = 0; turns < 3; turns += 1) {
      await turn();
      await Promise.allSettled(this.asking);
    }
  }
}

type Step =
  | {
      readonly what: 'ask';
      readonly at: number;
      readonly who: number;
      readonly amount: number;
      readonly times: number;
    }
  | { readonly what: 'wait'; readonly ms: number }
  | { readonly what: 'kill' | 'close'; readonly at: number }
  | { readonly what: 'line'; readonly at: number; readonly line: Line }
  | { readonly what: 'move'; readonly at: number }
  | { readonly what: 'restart'; readonly at: number }
  | { readonly what: 'sweep' | 'late' };

const at = fc.nat({ max: 2 });
const one = <What extends string>(what: What): fc.Arbitrary<What> => fc.constant(what);
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 14,
    arbitrary: fc.record({
      what: one('ask'),
      at,
      who: fc.constantFrom(0, 0, 0, 1),
      amount: fc.integer({ min: 1, max: 6 }),
      times: fc.integer({ min: 1, max: 16 }),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      what: one('wait'),
      ms: fc.oneof(
        fc.integer({ min: 1, max: 3_000 }),
        fc.integer({ min: LEASE_MS - 2, max: LEASE_MS + 2_000 }),
        fc.integer({ min: WINDOW_MS - LEASE_MS, max: WINDOW_MS + 2_000 }),
      ),
    }),
  },
  { weight: 1, arbitrary: fc.record({ what: fc.constantFrom('kill' as const, 'close' as const), at }) },
  {
    weight: 1,
    arbitrary: fc.record({
      what: one('line'),
      at,
      line: fc.constantFrom<Line>('good', 'good', 'good', 'cut', 'answers are lost', 'late'),
    }),
  },
  { weight: 1, arbitrary: fc.record({ what: one('move'), at }) },
  { weight: 1, arbitrary: fc.record({ what: one('restart'), at: fc.nat({ max: 1 }) }) },
  { weight: 2, arbitrary: fc.record({ what: fc.constantFrom('sweep' as const, 'late' as const) }) },
);

const kind: fc.Arbitrary<Kind> = fc.record({
  hasWindow: fc.boolean(),
  isSum: fc.boolean(),
  most: fc.constantFrom(20, LIMIT, 90),
});

async function run(of: Kind, steps: readonly Step[]): Promise<World> {
  tenants += 1;
  const world = new World(of, await tenantNo(writer, `t${tenants}`));
  try {
    for (const each of steps) {
      const sidecar = 'at' in each ? (world.sidecars[each.at] as Sidecar) : undefined;
      if (each.what === 'ask') {
        const amount = of.isSum ? each.amount / 4 : 1;
        const asked = Array.from({ length: each.times }, () => world.ask(each.at, `u${each.who}`, amount));
        await Promise.all(asked);
      } else if (each.what === 'wait') world.now += each.ms;
      else if (each.what === 'sweep') for (const { borrowing } of world.sidecars) borrowing.sweep();
      else if (each.what === 'late') for (const resolve of world.late.splice(0)) resolve();
      else if (each.what === 'restart') world.authorities[each.at] = world.authority();
      else if (sidecar) {
        if (each.what === 'line') sidecar.line = each.line;
        else if (each.what === 'move') sidecar.authority = 1 - sidecar.authority;
        else {
          // A kill gives nothing back: what it had is used.
          sidecar.line = each.what === 'kill' ? 'cut' : 'good';
          const before = sidecar.borrowing;
          world.startSidecar(sidecar);
          for (const resolve of world.late.splice(0)) resolve();
          await before[Symbol.asyncDispose]();
          sidecar.line = 'good';
        }
      }
      await world.settle();
    }
  } finally {
    for (const each of world.sidecars) each.line = 'cut';
    for (const resolve of world.late.splice(0)) resolve();
    for (const { borrowing } of world.sidecars) await borrowing[Symbol.asyncDispose]();
  }
  return world;
}

test('never more is counted than there is, and nobody decides by less than was counted', async () => {
  let held = 0;
  await fc.assert(
    fc.asyncProperty(kind, fc.array(step, { minLength: 20, maxLength: 60 }), async (of, steps) => {
      held += (await run(of, steps)).heldDecisions;
    }),
    // To look for a smaller one takes longer than anybody waits.
    { numRuns: 60, endOnFailure: true },
  );
  // It is leases that are tested, and not the way around them.
  expect(held).toBeGreaterThan(50);
});

const MANY: Kind = { hasWindow: true, isSum: false, most: LIMIT };

async function opened(of: Kind): Promise<World & AsyncDisposable> {
  tenants += 1;
  const world = new World(of, await tenantNo(writer, `t${tenants}`));
  return Object.assign(world, {
    [Symbol.asyncDispose]: async () => {
      for (const resolve of world.late.splice(0)) resolve();
      for (const { borrowing } of world.sidecars) await borrowing[Symbol.asyncDispose]();
    },
  });
}

/** Until a lease is there. */
async function withLease(world: World): Promise<void> {
  for (let asked = 0; asked < 3; asked += 1) {
    await world.ask(0, 'u0', 1);
    await world.settle();
  }
}

test('what was counted in the last moment of a lease counts for the whole window', async () => {
  await using world = await opened(MANY);
  await withLease(world);
  world.now += LEASE_MS - 1;
  const before = world.heldDecisions;
  await world.ask(0, 'u0', 1);
  expect(world.heldDecisions).toBe(before + 1);
  // All that was counted at the authority itself is over; what was counted by the lease is not.
  world.now += WINDOW_MS - 1_000;
  const { meters } = world.at(0);
  const whom = asStated({ class: 'user', id: 'u0' });
  const seen = meters.look(world.tenant, world.request(1), whom, world.now, 'act')?.seen['paid'];
  expect(seen).toBeGreaterThanOrEqual(1);
});

test('a lease is good from when it was asked for, however late it comes', async () => {
  await using world = await opened(MANY);
  const [sidecar] = world.sidecars as [Sidecar];
  sidecar.line = 'late';
  await withLease(world);
  world.now += LEASE_MS;
  for (const resolve of world.late.splice(0)) resolve();
  sidecar.line = 'good';
  await world.settle();
  await world.ask(0, 'u0', 1);
  expect(world.heldDecisions).toBe(0);
});

test('near the limit nothing is leased, and it is let through to the last', async () => {
  await using world = await opened({ ...MANY, hasWindow: false });
  let allowed = 0;
  for (let asked = 0; asked < LIMIT + 40; asked += 1) {
    if (await world.ask(asked % 3, 'u0', 1)) allowed += 1;
    await world.settle();
  }
  expect(world.heldDecisions).toBeGreaterThan(10);
  expect(world.spentBy('u0')).toBe(allowed);
  // What is leased to others counts as used until it is given back.
  world.now += LEASE_MS;
  for (const { borrowing } of world.sidecars) borrowing.sweep();
  await world.settle();
  while (await world.ask(0, 'u0', 1)) allowed += 1;
  expect(allowed).toBe(LIMIT);
});

test('a policy that lets less through than the limit is not fooled, nor are its callers', async () => {
  await using world = await opened({ ...MANY, hasWindow: false, most: 20 });
  let allowed = 0;
  for (let asked = 0; asked < 60; asked += 1) {
    if (await world.ask(asked % 3, 'u0', 1)) allowed += 1;
    await world.settle();
    world.now += 500;
    for (const { borrowing } of world.sidecars) borrowing.sweep();
  }
  expect(allowed).toBe(20);
});

test('no more is asked for, or leased at once, than may be', async () => {
  await using world = await opened({ ...MANY, hasWindow: false });
  const { leases } = world.at(0);
  const wanted = (of: string, meter = 'paid', least = 0) => ({ meter, of, least });
  const refused = [
    [wanted('subject user:a', 'nothing')],
    [wanted('subject user:a', '__proto__')],
    [wanted('subject user:a'), wanted('subject user:a')],
    [wanted('subject user:a', 'paid', -1)],
    Array.from({ length: 65 }, (_each, no) => wanted(`subject user:${no}`)),
  ];
  for (const each of refused)
    await expect(leases.lease(world.tenant, BY, { wanted: each, returned: [] })).rejects.toMatchObject({
      code: 'invalid_request',
    });
  const nobodies = [
    'actor user:a',
    'user:a',
    'subject nobody:a',
    'subject user:',
    `subject user:${'a'.repeat(257)}`,
    'grant x',
  ];
  const got = await leases.lease(world.tenant, BY, {
    wanted: nobodies.map((of) => wanted(of)),
    returned: [],
  });
  expect(got).toEqual(nobodies.map(() => undefined));
  // Endless leases: each is an eighth of what is left at most, so that there is always some left for others, for a while.
  const all: number[] = [];
  for (let asked = 0; asked < 100; asked += 1) {
    const [lease] = await leases.lease(world.tenant, BY, {
      wanted: [wanted('subject user:a')],
      returned: [],
    });
    all.push(lease?.amount ?? 0);
  }
  const sum = inUnits(all.reduce((before, each) => before + each, 0));
  expect(sum).toBeGreaterThan(LIMIT / 2);
  expect(sum).toBeLessThanOrEqual(LIMIT - 7);
  expect(all.at(-1)).toBe(0);
});

test('what could not be given back at once is given back later, once', async () => {
  await using world = await opened({ ...MANY, hasWindow: false });
  const [sidecar] = world.sidecars as [Sidecar];
  const used = (): number =>
    inUnits(
      usageStore(reader)
        .of(world.no, 'paid', 'subject user:u0', 0)
        .reduce((sum, { amount }) => sum + amount, 0),
    );
  await withLease(world);
  const spent = world.spentBy('u0');
  expect(used()).toBeGreaterThan(spent);
  world.now += LEASE_MS;
  for (const line of ['cut', 'answers are lost', 'good', 'good'] as const) {
    sidecar.line = line;
    sidecar.borrowing.sweep();
    await world.settle();
    if (line === 'cut') expect(used()).toBeGreaterThan(spent);
    else expect(used()).toBe(spent);
  }
});
