import { type GrantId, principalKey } from '../../ids.ts';
import type { GrantStore } from '../../storage/grants.ts';
import { actingIn, type GrantRow, type TenantNo } from '../../storage/rows.ts';
import type { UsageCount, UsageStore } from '../../storage/usage.ts';
import { unavailable } from '../../storage/writing/errors.ts';
import type { Doubt } from '../../tenancy/registry/doubt.ts';
import type { Tenant } from '../../tenancy/tenants.ts';
import type { TokenPrincipal } from '../principal.ts';
import type { CheckRequest } from '../request.ts';
import { amountOf } from './amount.ts';
import { budgeted } from './budget.ts';
import { beginning, Counter, endOfSpan, oldest } from './counter.ts';
import { type Met, metersMet } from './met.ts';
import { Outrun } from './outrun.ts';
import { Taken } from './taken.ts';
import { type Bounded, type Counting, Usage } from './usage.ts';

export interface MetersOptions {
  readonly store: UsageStore;
  readonly grants: GrantStore;
  readonly doubt: Pick<Doubt, 'settle'>;
  /** Whether other servers count as well. */
  readonly isShared?: boolean | undefined;
}

/** How many counts are kept at hand, over all tenants. The others are read anew. */
const KEPT = 10_000;

/** How long a count stays in the store after what it is for has ended: a clock may be set back. */
export const AFTER_END_MS = 86_400_000;

/**
 * How many counts of a tenant may be in doubt: none of them makes room until the store can tell. Beyond it nothing that
 * its meters count is decided.
 */
const MOST_DOUBTED = 10_000;

/** More exchanges than any ceiling allows, and the task above them. */
export const MAX_CHAIN = 16;

/** One whom a meter counts for: a name in the store, and until when it may be asked for. */
interface CountedFor {
  readonly of: string;
  readonly ends: number | null;
  readonly grant: GrantRow | undefined;
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
    return new Usage(
      met.flatMap((each) => this.#reading(tenant, each, request, principal, now)),
      purpose === 'act' ? (counting) => this.#take(tenant.no, counting, now) : undefined,
    );
  }

  /** Called where another server's count came into the store: what is here is less than what there is. */
  counted(no: TenantNo): void {
    this.#generations.set(no, (this.#generations.get(no) ?? 0) + 1);
  }

  #reading(tenant: Tenant, met: Met, request: CheckRequest, principal: TokenPrincipal, now: number) {
    const { name, meter, bounds, counts } = met;
    const all = this.#countedFor(tenant, meter.per, principal);
    const { window } = meter;
    const budget = budgeted(tenant.manifest.meters, name, principal.grant);
    const [since, from] = [beginning(now, window), oldest(now, window)];
    const levels = all.map(({ of, ends, grant }) => {
      const counter = this.#counter(tenant.no, name, of, from);
      const until = window === undefined ? ends : endOfSpan(since, window);
      return { of, until, total: counter.total(from), bounded: leastOf(grant, bounds) ?? budget, counter };
    });
    // The first of a chain counts all that came of it: who exchanges a token anew begins no new count.
    const seen = levels.at(-1);
    if (!seen) return [];
    const amount = counts ? amountOf(request, meter.sum) : undefined;
    return [{ name, seen: seen.total, levels, since, from, counts, amount, sum: meter.sum }];
  }

  #countedFor(tenant: Tenant, per: Met['meter']['per'], principal: TokenPrincipal): CountedFor[] {
    const { subject, actors, grant } = principal;
    switch (per) {
      case 'subject':
        return [{ of: `subject ${principalKey(subject)}`, ends: null, grant: undefined }];
      case 'actor': {
        const actor = grant ? actingIn(grant) : (actors[0] ?? subject);
        return [{ of: `actor ${principalKey(actor)}`, ends: null, grant: undefined }];
      }
      case 'task':
        if (!grant?.task) return [];
        return [{ of: `task ${grant.task.id}`, ends: grant.task.endsAt + AFTER_END_MS, grant: undefined }];
      case 'grant':
        return this.#chain(tenant.no, grant).map((each) => ({
          of: `grant ${each.id}`,
          ends: each.expiresAt + AFTER_END_MS,
          grant: each,
        }));
    }
  }

  /** The grant and all it came from, which are in the store as long as it is. */
  #chain(no: TenantNo, grant: GrantRow | undefined): GrantRow[] {
    const chain: GrantRow[] = [];
    let each = grant;
    while (each && chain.length < MAX_CHAIN) {
      chain.push(each);
      const parent: GrantId | null = each.parentId;
      each = parent === null ? undefined : this.#options.grants.find(no, parent);
    }
    return chain;
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
  #take(no: TenantNo, counting: readonly Counting[], at: number): Taken {
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

const nameOf = (no: TenantNo, meter: string, of: string): string => `${no} ${meter} ${of}`;

/** The smallest of the numbers by which a grant's details bound the meter; undefined where none does. */
function leastOf(grant: GrantRow | undefined, bounds: Met['bounds']): Bounded | undefined {
  if (!grant || bounds.length === 0) return undefined;
  const all = grant.details.flatMap((detail) =>
    bounds
      .filter(({ type, member }) => type === detail.type && typeof detail[member] === 'number')
      .map(({ type, member }) => ({ what: `${member} of ${type}`, most: detail[member] as number })),
  );
  return all.toSorted((one, other) => one.most - other.most)[0];
}
