import type { Clock } from '../../../effects.ts';
import type { GrantStore } from '../../../storage/grants.ts';
import type { Tenant } from '../../../tenancy/tenants.ts';
import { ForAuthority } from '../../elsewhere.ts';
import type { TokenPrincipal } from '../../principal.ts';
import type { CheckRequest } from '../../request.ts';
import { amountOf, inMillionths } from '../amount.ts';
import { boundedBy } from '../bounded.ts';
import { countedFor } from '../counted-for.ts';
import { isLeasable, type Met, metersMet } from '../met.ts';
import { Taken } from '../taken.ts';
import { type Counting, isCounting, type Level, type Reading, Usage } from '../usage.ts';
import type { Borrowing } from './borrowing.ts';
import type { Held } from './held.ts';

interface HeldLevel extends Level {
  readonly held: Held;
}

export interface HeldMetersOptions {
  readonly grants: GrantStore;
  readonly borrowing: Pick<Borrowing, 'held' | 'want'>;
  readonly monotonic: Clock;
}

/** For how long nothing is leased where it was of no use. In milliseconds. */
const NO_USE_MS = 10_000;

/**
 * What a sidecar counts itself: of parts that an authority has leased to it, and has counted whole. Whatever these do not
 * cover is for the authority.
 */
export class HeldMeters {
  readonly #options: HeldMetersOptions;

  constructor(options: HeldMetersOptions) {
    this.#options = options;
  }

  /**
   * As `Meters.look`, with counts that are at least what was counted anywhere. Throws `ForAuthority` for what no lease covers,
   * and for what is not to be counted here.
   */
  look(
    tenant: Tenant,
    request: CheckRequest,
    principal: TokenPrincipal,
    _now: number,
    purpose: 'act' | 'search',
  ): Usage | undefined {
    const met = metersMet(tenant.manifest, request.action.name);
    if (!met) return undefined;
    if (purpose === 'search' || !isLeasable(met)) throw new ForAuthority();
    const now = this.#options.monotonic();
    const readings: Reading<HeldLevel>[] = [];
    let isCovered = true;
    for (const each of met) {
      const reading = this.#reading(tenant, each, request, principal, now);
      if (reading === undefined) isCovered = false;
      else if (reading.levels.length > 0) readings.push(reading);
    }
    if (!isCovered) throw new ForAuthority();
    return new Usage(
      readings,
      () => takenOf(readings.filter(isCounting)),
      () => leaveAll(readings, now + NO_USE_MS),
    );
  }

  /** Undefined where not all of it is covered: then more is asked for. */
  #reading(
    tenant: Tenant,
    met: Met,
    request: CheckRequest,
    principal: TokenPrincipal,
    now: number,
  ): Reading<HeldLevel> | undefined {
    const { grants, borrowing } = this.#options;
    const { name, meter } = met;
    const amount = amountOf(request, meter.sum);
    const limit = inMillionths(meter.limit);
    // Nobody can tell how much it would be: the authority says so, with the record of it.
    if (amount === undefined || limit === undefined) return undefined;
    const all = countedFor(grants, tenant.no, meter.per, principal);
    const levels: HeldLevel[] = [];
    for (const { of, grant } of all) {
      const held = borrowing.held(tenant, name, of, meter);
      if (held?.isWanted(now)) borrowing.want(tenant, held, amount);
      if (!held || held.left(now) < amount || held.left(now) === 0) continue;
      const bounded = boundedBy(tenant.manifest.meters, met, grant, principal.grant);
      levels.push({ of, until: null, total: held.most(now, limit), bounded, held });
    }
    if (levels.length < all.length) return undefined;
    const seen = levels.at(-1)?.total ?? 0;
    return { name, seen, levels, since: 0, from: 0, counts: true, amount, sum: meter.sum };
  }
}

/** The authority has counted it already. */
function takenOf(counting: readonly Counting<Reading<HeldLevel>>[]): Taken {
  const takeBack = counting.flatMap(({ levels, amount }) => levels.map(({ held }) => held.take(amount)));
  return new Taken(undefined, (how) => {
    if (how === 'not written') for (const each of takeBack) each();
  });
}

/** It may be allowed by what was counted, and never by this. */
function leaveAll(readings: readonly Reading<HeldLevel>[], notBefore: number): void {
  for (const { held } of readings.flatMap(({ levels }) => levels)) {
    held.giveUp();
    held.notBefore = notBefore;
  }
}
