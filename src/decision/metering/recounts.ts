import { setImmediate as turn } from 'node:timers/promises';
import type { Clock } from '../../effects.ts';
import { ServiceError } from '../../errors.ts';
import type { GrantId } from '../../ids.ts';
import type { GrantStore } from '../../storage/grants.ts';
import type { RecordStore, StoredRecord } from '../../storage/log/records.ts';
import type { GrantRow, RecordRow, TenantNo } from '../../storage/rows.ts';
import type { UsageStore } from '../../storage/usage.ts';
import type { Writer } from '../../storage/writer.ts';
import type { Meters as Declared } from '../../tenancy/meters-declared.ts';
import type { Tenant } from '../../tenancy/tenants.ts';
import { Turns } from '../../turns.ts';
import { inUnits } from './amount.ts';
import { MAX_CHAIN } from './counted-for.ts';
import { spanOf } from './counter.ts';
import type { Meters } from './meters.ts';
import { countsIn, type Difference, Sums } from './recount.ts';

/** What the log says of meters, beside what was counted. */
export interface Recounted {
  /** How many records were read. */
  readonly records: number;
  readonly differences: readonly Difference[];
  /** Meters of which the log has not all that they count: what it says of them is the least that it was. */
  readonly partial: readonly string[];
  /** How many counts were set right. */
  readonly applied: number;
}

export interface RecountsOptions {
  readonly records: RecordStore;
  readonly usage: UsageStore;
  readonly grants: GrantStore;
  readonly meters: Pick<Meters, 'counted'>;
  readonly writer: Pick<Writer, 'run'>;
  /** Both as they stand in one commit. */
  readonly atOnce: <T>(read: () => T) => T;
  /** Of a change to the tenant. */
  readonly record: (tenant: Tenant, caller: string, detail: Readonly<Record<string, unknown>>) => RecordRow;
  /** Whether other servers count as well: each has a log of its own. */
  readonly isShared: boolean;
  readonly clock: Clock;
}

/** How many counts are compared at most, of the store and of the log: they are held in memory. */
const MOST_COUNTS = 200_000;
/** How many records are read before others have their turn. */
const SLICE = 200;

const COUNTED = Buffer.from('"counted":{');

/**
 * Makes the counts of meters again from the log. Counting goes on meanwhile: what the store and the log say in one commit
 * is compared, and a difference is added to whatever the count is when it is set right.
 */
export class Recounts {
  readonly #options: RecountsOptions;
  /** A difference is added once. */
  readonly #turns = new Turns<TenantNo>();

  constructor(options: RecountsOptions) {
    this.#options = options;
  }

  /** `meter`: of this one alone. Throws `not_found`, `unimplemented`, `resource_exhausted` and `cancelled`. */
  run(
    tenant: Tenant,
    caller: string,
    { meter, applies }: { meter: string | undefined; applies: boolean },
    signal: AbortSignal,
  ): Promise<Recounted> {
    const declared = tenant.manifest.meters;
    if (this.#options.isShared)
      throw new ServiceError(
        'unimplemented',
        'this server is one of several, and each has a log of its own: none of them tells what all have counted',
      );
    if (meter !== undefined && !Object.hasOwn(declared, meter))
      throw new ServiceError('not_found', 'the tenant has no such meter');
    const meters = Object.fromEntries(
      Object.entries(declared).filter(([name]) => meter === undefined || name === meter),
    );
    return this.#turns.run(tenant.no, () => this.#run(tenant, caller, meters, applies, signal));
  }

  async #run(
    tenant: Tenant,
    caller: string,
    meters: Declared,
    applies: boolean,
    signal: AbortSignal,
  ): Promise<Recounted> {
    const { usage, records, atOnce, clock } = this.#options;
    const { no } = tenant;
    const { stored, size } = atOnce(() => ({
      stored: Object.keys(meters).flatMap((each) => usage.all(no, each, MOST_COUNTS)),
      size: records.size(no),
    }));
    checkBounded(stored.length);
    const { sums, read, wholeSince } = await this.#sums(no, meters, size, signal);
    const now = clock();
    const partial = Object.keys(meters).filter((name) => wholeSince > oldestKept(now, meters[name]?.window));
    const differences = sums.differences(stored, now);
    const applied = applies ? await this.#applied(tenant, caller, differences, partial) : 0;
    return { records: read, differences, partial, applied };
  }

  /** `wholeSince`: from when on the log has all that was decided, in milliseconds since the epoch; 0: it begins with the tenant. */
  async #sums(no: TenantNo, meters: Declared, size: number, signal: AbortSignal) {
    const sums = new Sums();
    const { records } = this.#options;
    let [at, read, wholeSince, isWhole] = [0, 0, 0, true];
    const see = (stored: StoredRecord): void => {
      if (stored.index !== at) isWhole = false;
      at = stored.index + 1;
      read += 1;
      const counts = this.#countsIn(no, meters, stored);
      if (!isWhole || counts === undefined || counts === 'begins anew') {
        const { time = '' } = JSON.parse(utf8.decode(stored.body)) as { time?: string };
        wholeSince = Date.parse(time) + (counts === undefined ? 1 : 0);
        isWhole = true;
      }
      if (Array.isArray(counts)) for (const each of counts) sums.add(each);
      checkBounded(sums.size);
    };
    for (let from = 0; from < size; ) {
      if (signal.aborted) throw new ServiceError('cancelled', 'nobody waits for it any more');
      const { records: found, next } = records.read(no, from, Math.min(SLICE, size - from));
      for (const stored of found) if (stored.index < size) see(stored);
      if (next <= from) break;
      from = next;
      await turn();
    }
    // What is missing at the end was decided until now.
    if (at < size) wholeSince = Number.POSITIVE_INFINITY;
    return { sums, read, wholeSince };
  }

  #countsIn(no: TenantNo, meters: Declared, { index, body }: StoredRecord) {
    // The first of a log that was set aside tells so.
    if (
      index === 0 &&
      (JSON.parse(utf8.decode(body)) as Administrative).input?.action?.name === 'log.restart'
    )
      return 'begins anew' as const;
    if (!Buffer.from(body.buffer, body.byteOffset, body.byteLength).includes(COUNTED)) return [];
    return countsIn(JSON.parse(utf8.decode(body)), meters, (id) => this.#chain(no, id));
  }

  #chain(no: TenantNo, id: string): GrantRow[] {
    const chain: GrantRow[] = [];
    let next: GrantId | null = id as GrantId;
    while (next !== null && chain.length < MAX_CHAIN) {
      const grant: GrantRow | undefined = this.#options.grants.find(no, next);
      if (!grant) break;
      chain.push(grant);
      next = grant.parentId;
    }
    return chain;
  }

  /** Of a meter that the log has not all of, nothing is lowered. */
  async #applied(
    tenant: Tenant,
    caller: string,
    differences: readonly Difference[],
    partial: readonly string[],
  ): Promise<number> {
    const { writer, record, meters } = this.#options;
    const wrong = differences.filter(
      ({ meter, counted, recorded }) => recorded > counted || !partial.includes(meter),
    );
    if (wrong.length === 0) return 0;
    const rows = wrong.map(({ counted, recorded, ...row }) => ({ ...row, by: recorded - counted }));
    const told = wrong.slice(0, MOST_TOLD).map(({ meter, of, since, counted, recorded }) => ({
      meter,
      for: of,
      ...(since > 0 && { since: new Date(since).toISOString() }),
      before: inUnits(counted),
      after: inUnits(recorded),
    }));
    const detail = { changed: wrong.length, counts: told, ...(partial.length > 0 && { partial }) };
    await writer.run('adjustUsage', { tenantNo: tenant.no, rows }, record(tenant, caller, detail));
    // What is at hand is read anew.
    meters.counted(tenant.no);
    return wrong.length;
  }
}

/** From when on what is counted is still in the store. */
const oldestKept = (now: number, window: number | undefined): number =>
  window === undefined ? 0 : now - 2 * (window + spanOf(window)) - spanOf(window);

/** How many of them a record tells one by one. */
const MOST_TOLD = 100;

interface Administrative {
  readonly input?: { readonly action?: { readonly name?: string } };
}

function checkBounded(counts: number): void {
  if (counts >= MOST_COUNTS)
    throw new ServiceError(
      'resource_exhausted',
      `more than ${MOST_COUNTS} counts are more than can be compared: name one meter; one of so many begins anew under another name`,
    );
}

const utf8 = new TextDecoder();
