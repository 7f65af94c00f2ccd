import { channel } from 'node:diagnostics_channel';
import type { Clock, Random } from '../../../effects.ts';
import { ServiceError } from '../../../errors.ts';
import type { TenantId } from '../../../ids.ts';
import type { Holder, LeaseStore, Returned } from '../../../storage/leases.ts';
import type { Writer } from '../../../storage/writer.ts';
import type { Tenant } from '../../../tenancy/tenants.ts';
import type { Meters, SetAside, Wanted } from '../meters.ts';
import { decidedAnew, Outrun } from '../outrun.ts';
import { ownValue } from '../own-value.ts';

/** A part of a meter that whoever has it may count itself. Amounts in millionths. */
export interface Lease {
  readonly id: string;
  readonly amount: number;
  /** How much there may be in all. */
  readonly limit: number;
}

/** Published once it is durable: {tenant, what, count}. */
export const leaseChannel = channel('mandate:lease');

/** What became of parts: an authority leased them, a sidecar took them, they were given back, or nobody did so in time. */
export type LeaseEvent = 'leased' | 'taken' | 'returned' | 'expired';

export function publishLeases(tenant: TenantId, what: LeaseEvent, count: number): void {
  if (count > 0 && leaseChannel.hasSubscribers) leaseChannel.publish({ tenant, what, count });
}

export interface Asked {
  readonly wanted: readonly Wanted[];
  readonly returned: readonly Returned[];
}

/** For how long a lease is good, from when it was asked for. */
export const LEASE_MS = 10_000;

/** How much may be asked for, and given back, at once. */
export const MOST_WANTED = 64;
export const MOST_RETURNED = 256;
/** How many leases there may be of one counter, and of a tenant. */
const MOST_OF_EACH = 64;
const MOST_OF_TENANT = 10_000;

export interface LeasesOptions {
  readonly meters: Pick<Meters, 'setAside' | 'givenBack'>;
  readonly store: LeaseStore;
  readonly writer: Pick<Writer, 'run'>;
  readonly clock: Clock;
  readonly random: Random;
}

/**
 * An authority's part: what is leased is counted whole before anybody has it, so that all who count together never count
 * more than there is. What is not used is given back, or is over with the lease and counts as used.
 */
export class Leases {
  readonly #options: LeasesOptions;

  constructor(options: LeasesOptions) {
    this.#options = options;
  }

  /**
   * One for each that is wanted, in the order; undefined where too little is left. Durable once it resolves. Throws or
   * rejects with `invalid_request` where more is asked than may be, a meter is not there or is not leased, `unavailable`.
   */
  async lease(tenant: Tenant, by: Holder, asked: Asked): Promise<(Lease | undefined)[]> {
    checkAsked(tenant, asked);
    const given = (): Promise<(Lease | undefined)[]> => this.#lease(tenant, by, asked);
    try {
      return await given();
    } catch (error) {
      return await decidedAnew(error, given);
    }
  }

  async #lease(tenant: Tenant, by: Holder, { wanted, returned }: Asked): Promise<(Lease | undefined)[]> {
    const { meters, store, writer, clock, random } = this.#options;
    const { no: tenantNo } = tenant;
    const now = clock();
    const ends = now + LEASE_MS;
    const back = returned.map(({ lease }) => store.find(tenantNo, lease));
    const room = MOST_OF_TENANT - store.open(tenantNo, now);
    const parts: ((SetAside & { readonly id: string }) | undefined)[] = [];
    try {
      for (const each of wanted) {
        const isFull =
          parts.length >= room || store.openOf(tenantNo, each.meter, each.of, now) >= MOST_OF_EACH;
        const part = isFull ? undefined : meters.setAside(tenant, each, now, ends);
        parts.push(part && { ...part, id: Buffer.from(random(ID_BYTES)).toString('base64url') });
      }
    } catch (error) {
      for (const part of parts) part?.taken.release();
      throw error;
    }
    const set = parts.filter((part) => part !== undefined);
    if (set.length > 0 || returned.length > 0) {
      const leases = set.flatMap(({ id, taken }) =>
        taken.command.counts.map((count) => ({ ...count, lease: id })),
      );
      const write = writer.run('leaseUsage', { tenantNo, leases, returned, by, at: now, ends });
      const [{ value }] = await Promise.all([write, ...set.map(({ taken }) => taken.by(write))]);
      if (value === undefined) throw new Outrun();
      publishLeases(tenant.id, 'leased', set.length);
      publishLeases(tenant.id, 'returned', value);
      for (const each of back) if (each) meters.givenBack(tenantNo, each.meter, each.of);
    }
    return parts.map((part) => part && { id: part.id, amount: part.amount, limit: part.limit });
  }
}

const ID_BYTES = 16;

/** Throws `invalid_request`. */
function checkAsked({ manifest: { meters } }: Tenant, { wanted, returned }: Asked): void {
  if (wanted.length > MOST_WANTED) throw invalid(`at most ${MOST_WANTED} are leased at once`);
  if (returned.length > MOST_RETURNED) throw invalid(`at most ${MOST_RETURNED} are given back at once`);
  const names = new Set(wanted.map(({ meter, of }) => `${meter} ${of}`));
  if (names.size < wanted.length) throw invalid('one counter is wanted twice');
  for (const { meter, least } of wanted) {
    const declared = ownValue(meters, meter) as { lease?: number } | undefined;
    if (!declared) throw invalid(`there is no meter ${meter.slice(0, 64)}`);
    if (declared.lease === undefined) throw invalid(`the meter ${meter} is not leased`);
    if (!Number.isSafeInteger(least) || least < 0) throw invalid('least is no amount');
  }
}

const invalid = (message: string): ServiceError => new ServiceError('invalid_request', message);
