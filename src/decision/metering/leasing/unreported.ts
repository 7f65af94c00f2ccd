import { ownRecord } from '../../../audit/own.ts';
import type { Clock, Random } from '../../../effects.ts';
import type { LeaseStore, OverRow } from '../../../storage/leases.ts';
import type { RecordRow, TenantNo } from '../../../storage/rows.ts';
import type { Writer } from '../../../storage/writer.ts';
import type { Tenant, Tenants } from '../../../tenancy/tenants.ts';
import { isoTime } from '../../../time.ts';
import { inUnits } from '../amount.ts';
import { publishLeases } from './leases.ts';

export interface UnreportedOptions {
  readonly store: Pick<LeaseStore, 'unreported' | 'over'>;
  readonly tenants: Pick<Tenants, 'withNo'>;
  readonly writer: Pick<Writer, 'run'>;
  readonly clock: Clock;
  readonly random: Random;
}

/** How often they are looked for. In milliseconds. */
const SWEEP_MS = 5_000;
/** How many are in one record, and how many of a tenant are noted at a time. */
const MOST_TOGETHER = 32;
const MOST_OF_TENANT = 1_024;

/**
 * Parts that nobody gave back in time: they count as used, whether they were or not, and the tenant's log says so. Each is
 * noted once, by the change that takes it out of the store, with the record of who comes upon it first.
 */
export class Unreported implements AsyncDisposable {
  readonly #options: UnreportedOptions;
  #timer: NodeJS.Timeout | undefined;
  #sweeping: Promise<void> = Promise.resolve();

  constructor(options: UnreportedOptions) {
    this.#options = options;
  }

  /** Not before commands are ordered. */
  begin(): void {
    this.#timer = setInterval(() => void this.sweep(), SWEEP_MS).unref();
  }

  /** One after the other. */
  sweep(): Promise<void> {
    this.#sweeping = this.#sweeping.then(() => this.#sweep());
    return this.#sweeping;
  }

  async #sweep(): Promise<void> {
    const { store, tenants, clock } = this.#options;
    const now = clock();
    try {
      for (const no of store.unreported(now)) {
        const tenant = tenants.withNo(no);
        // What is not served here is for who serves it.
        if (tenant) await this.#note(tenant, now);
      }
    } catch {
      // Who keeps the store or the order says what is wrong. The next time finds them again.
    }
  }

  async #note({ id, no }: Tenant, at: number): Promise<void> {
    const { store, writer } = this.#options;
    for (const { first, rows } of together(store.over(no, at, MOST_OF_TENANT))) {
      const used = rows.map(({ lease }) => lease);
      const args = { tenantNo: no, leases: [], returned: [], used, at, ends: at };
      const { value } = await writer.run('leaseUsage', args, this.#record(no, first, rows));
      if (value !== undefined) publishLeases(id, 'expired', rows.length);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#timer);
    await this.#sweeping;
  }

  #record(tenantNo: TenantNo, { meter, holder, node }: OverRow, rows: readonly OverRow[]): RecordRow {
    const { clock, random } = this.#options;
    const leases = rows.map(({ of, amount, ends }) => ({
      of,
      amount: inUnits(amount),
      ended: isoTime(ends),
    }));
    return ownRecord(
      {
        tenantNo,
        kind: 'server',
        action: 'lease.expire',
        resource: { type: 'meter', id: meter },
        detail: { holder, node, leases },
      },
      clock,
      random,
    );
  }
}

interface Together {
  readonly first: OverRow;
  readonly rows: OverRow[];
}

/** What one had of one meter, so many at once. */
function together(all: readonly OverRow[]): Together[] {
  const groups: Together[] = [];
  for (const row of all) {
    const group = groups.at(-1);
    const first = group?.first;
    const isSame = first?.meter === row.meter && first.holder === row.holder && first.node === row.node;
    if (group && isSame && group.rows.length < MOST_TOGETHER) group.rows.push(row);
    else groups.push({ first: row, rows: [row] });
  }
  return groups;
}
