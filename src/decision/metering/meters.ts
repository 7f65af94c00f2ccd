import type { GrantStore } from '../../storage/grants.ts';
import type { TenantNo } from '../../storage/rows.ts';
import type { UsageCount, UsageStore } from '../../storage/usage.ts';
import { unavailable } from '../../storage/writing/errors.ts';
import type { Meter } from '../../tenancy/meters-declared.ts';
import type { Doubt } from '../../tenancy/registry/doubt.ts';
import type { Tenant } from '../../tenancy/tenants.ts';
import type { TokenPrincipal } from '../principal.ts';
import type { CheckRequest } from '../request.ts';
import { amountOf, inMillionths, ONE } from './amount.ts';
import { boundedBy } from './bounded.ts';
import { countedFor, namedOf } from './counted-for.ts';
import { beginning, Counter, endOfSpan, oldest } from './counter.ts';
import { type Met, metersMet } from './met.ts';
import { Outrun } from './outrun.ts';
import { ownValue } from './own-value.ts';
import { Taken } from './taken.ts';
import { type Counting, isCounting, type Level, type Reading, Usage } from './usage.ts';

export interface MetersOptions {
  readonly store: UsageStore;
  readonly grants: GrantStore;
  readonly doubt: Pick<Doubt, 'settle'>;
  /** Whether other servers count as well. */
  readonly isShared?: boolean | undefined;
}

/** Where it is counted here. */
interface Counted extends Level {
  readonly counter: Counter;
}

/** How many counts are kept at hand, over all tenants. The others are read anew. */
const KEPT = 10_000;

/**
 * How many counts of a tenant may be in doubt: none of them makes room until the store can tell. Beyond it nothing that
 * its meters count is decided.
 */
const MOST_DOUBTED = 10_000;

/** A part that another server asks for, to count it itself. */
export interface Wanted {
  readonly meter: string;
  readonly of: string;
  /** Less is of no use; in millionths. */
  readonly least: number;
}

/** In millionths. */
export interface SetAside {
  readonly amount: number;
  readonly limit: number;
  readonly taken: Taken;
}

/**
 * What tenants count of their decisions. Each count is a row of the store, written with the record of the decision that it
 * counts, in one transaction. Between two commits it is here, where all decisions that meet a meter are made: one after
 * the other, so that two that come at once are two.
 */
export class Meters {
  readonly #options: MetersOptions;
  /** By tenant number, meter, and whom it counts for. */
  readonly #counters = new Map<string, Counter>();
  /** How many counts of a tenant are in doubt; none where it is not in it. */
  readonly #doubted = new Map<TenantNo, number>();
  /** Another number once another server has counted for a tenant. */
  readonly #generations = new Map<TenantNo, number>();

  constructor(options: MetersOptions) {
    this.#options = options;
  }

  /**
   * What was counted so far of what a decision meets; undefined where it meets no meter. Nothing is counted yet. Throws
   * `audit_unavailable` where too much is in doubt to count more.
   */
  look(
    tenant: Tenant,
    request: CheckRequest,
    principal: TokenPrincipal,
    now: number,
    purpose: 'act' | 'search',
  ): Usage | undefined {
    const met = metersMet(tenant.manifest, request.action.name);
    if (!met) return undefined;
    if (purpose === 'act' && (this.#doubted.get(tenant.no) ?? 0) >= MOST_DOUBTED)
      throw unavailable('what meters counted is not known yet');
    const readings = met.flatMap((each) => this.#reading(tenant, each, request, principal, now));
    const take = (): Taken => this.#take(tenant.no, readings.filter(isCounting), now);
    return new Usage(readings, purpose === 'act' ? take : undefined);
  }

  /** Called where another server's count came into the store: what is here is less than what there is. */
  counted(no: TenantNo): void {
    this.#generations.set(no, (this.#generations.get(no) ?? 0) + 1);
  }

  /**
   * Counts a part ahead, for whoever counts by it until then. Undefined where it is no meter that is leased, nobody whom it
   * counts for, or too little is left.
   */
  setAside(
    tenant: Tenant,
    { meter: name, of, least }: Wanted,
    now: number,
    untilMs: number,
  ): SetAside | undefined {
    const meter = ownValue(tenant.manifest.meters, name) as Meter | undefined;
    if (meter?.lease === undefined || meter.limit === undefined) return undefined;
    const { grants } = this.#options;
    const known = namedOf(grants, tenant.no, meter.per, of);
    const limit = inMillionths(meter.limit);
    if (!known || limit === undefined) return undefined;
    const { window, sum } = meter;
    const from = oldest(now, window);
    const counter = this.#counter(tenant.no, name, of, from);
    const total = counter.total(from);
    const amount = partOf(limit - total, meter.lease, sum);
    if (amount === 0 || amount < least) return undefined;
    // Whatever is used of it was used before then: it counts for no shorter than the window.
    const since = beginning(untilMs, window);
    const level = { of, until: keptUntil(known.ends, since, window), total, bounded: undefined, counter };
    const counting = { name, seen: total, levels: [level], since, from, counts: true, amount, sum };
    return { amount, limit, taken: this.#take(tenant.no, [counting], now) };
  }

  /** Called where something of a count was given back: it is read anew, once nothing of it is on its way. */
  givenBack(no: TenantNo, meter: string, of: string): void {
    const name = nameOf(no, meter, of);
    const counter = this.#counters.get(name);
    if (!counter) return;
    counter.isStale = true;
    this.#forgetStale(name, counter);
  }

  #reading(tenant: Tenant, met: Met, request: CheckRequest, principal: TokenPrincipal, now: number) {
    const { name, meter, counts } = met;
    const all = countedFor(this.#options.grants, tenant.no, meter.per, principal);
    const { window } = meter;
    const [since, from] = [beginning(now, window), oldest(now, window)];
    const levels = all.map(({ of, ends, grant }) => {
      const counter = this.#counter(tenant.no, name, of, from);
      const until = keptUntil(ends, since, window);
      const bounded = boundedBy(tenant.manifest.meters, met, grant, principal.grant);
      return { of, until, total: counter.total(from), bounded, counter };
    });
    // The first of a chain counts all that came of it: who exchanges a token anew begins no new count.
    const seen = levels.at(-1);
    if (!seen) return [];
    const amount = counts ? amountOf(request, meter.sum) : undefined;
    return [{ name, seen: seen.total, levels, since, from, counts, amount, sum: meter.sum }];
  }

  #counter(no: TenantNo, meter: string, of: string, from: number): Counter {
    const name = nameOf(no, meter, of);
    const generation = this.#generations.get(no) ?? 0;
    const known = this.#counters.get(name);
    // What is on its way was decided by less than there is, and comes to nothing.
    if (known && known.generation !== generation && !known.isIdle) throw new Outrun();
    if (known && known.generation === generation && (known.has(from) || !known.isIdle)) {
      if (!known.has(from)) known.reach(from, this.#options.store.of(no, meter, of, from));
      // What was used last goes last, as soon as some may have to go.
      if (this.#counters.size > KEPT / 2) {
        this.#counters.delete(name);
        this.#counters.set(name, known);
      }
      return known;
    }
    const counter = new Counter(this.#options.store.of(no, meter, of, from), from);
    counter.generation = generation;
    this.#counters.set(name, counter);
    this.#makeRoom();
    return counter;
  }

  /** What is on its way stays: the store does not know it yet. */
  #makeRoom(): void {
    let looked = 0;
    for (const [name, counter] of this.#counters) {
      if (this.#counters.size <= KEPT || (looked += 1) > MOST_LOOKED_AT) return;
      if (counter.isIdle) this.#counters.delete(name);
    }
  }

  /** Nothing was awaited since its counters were looked at. */
  #take(no: TenantNo, counting: readonly Counting<Reading<Counted>>[], at: number): Taken {
    const counts: UsageCount[] = [];
    const counters: Counter[] = [];
    const { isShared = false } = this.#options;
    for (const { name: meter, levels, since, from, amount } of counting)
      for (const { of, until, counter, total } of levels) {
        counter.add(since, amount);
        counter.pending += 1;
        counters.push(counter);
        counts.push({ meter, of, since, amount, until, ...(isShared && { seen: { from, total } }) });
      }
    return new Taken({ tenantNo: no, counts, at }, (how) => {
      for (const [index, { meter, of, since, amount }] of counts.entries()) {
        const counter = counters[index] as Counter;
        if (how === 'not written') counter.takeBack(since, amount);
        this.#settle(no, nameOf(no, meter, of), counter, how !== 'unknown');
      }
    });
  }

  #settle(no: TenantNo, name: string, counter: Counter, isKnown: boolean): void {
    counter.pending -= 1;
    if (isKnown) return this.#forgetStale(name, counter);
    counter.doubts += 1;
    this.#doubt(no, 1);
    this.#options.doubt.settle(() => {
      counter.doubts -= 1;
      this.#doubt(no, -1);
      counter.isStale = true;
      this.#forgetStale(name, counter);
    });
  }

  #doubt(no: TenantNo, by: 1 | -1): void {
    const doubted = (this.#doubted.get(no) ?? 0) + by;
    if (doubted > 0) this.#doubted.set(no, doubted);
    else this.#doubted.delete(no);
  }

  /** The next decision reads it anew. */
  #forgetStale(name: string, counter: Counter): void {
    if (counter.isStale && counter.isIdle && this.#counters.get(name) === counter)
      this.#counters.delete(name);
  }
}

const MOST_LOOKED_AT = 100;

const keptUntil = (ends: number | null, since: number, window: number | undefined): number | null =>
  window === undefined ? ends : endOfSpan(since, window);

/** A lease is so small a part of what is left: the nearer the end, the more is decided where all is known. */
const SHARE = 8;

/** How much is leased where so much is left, in millionths; whole ones where each is one. */
function partOf(left: number, lease: number, sum: string | undefined): number {
  const part = Math.min(left / SHARE, inMillionths(lease) ?? 0);
  if (!(part > 0)) return 0;
  return sum === undefined ? Math.floor(part / ONE) * ONE : Math.floor(part);
}

const nameOf = (no: TenantNo, meter: string, of: string): string => `${no} ${meter} ${of}`;
