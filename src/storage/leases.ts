import type { Connection } from './database.ts';
import type { TenantNo } from './rows.ts';
import type { UsageCommands, UsageCount } from './usage.ts';

/** A part of a meter that another server may count itself. It was counted whole when it was leased. */
export interface LeaseRow {
  /** Nobody guesses it: who knows it may give it back. */
  readonly lease: string;
  readonly meter: string;
  readonly of: string;
  readonly since: number;
  /** In millionths. */
  readonly amount: number;
}

/** Who has a part. */
export interface Holder {
  /** As records name callers; empty in those that an earlier version leased. */
  readonly holder: string;
  /** The server, as it calls itself; empty where it did not say. */
  readonly node: string;
}

/** One whose time to be given back is over. */
export interface OverRow extends LeaseRow, Holder {
  /** Milliseconds since the epoch. */
  readonly ends: number;
}

/** What of a lease was not used, in millionths. */
export interface Returned {
  readonly lease: string;
  readonly unused: number;
}

export interface LeaseStore {
  find(tenantNo: TenantNo, lease: string): LeaseRow | undefined;
  /** How many there are that may be used still. */
  open(tenantNo: TenantNo, at: number): number;
  /** The same of one counter. */
  openOf(tenantNo: TenantNo, meter: string, of: string, at: number): number;
  /** Tenants of which some were not given back in time, and nobody has taken note of it. */
  unreported(at: number): TenantNo[];
  /** Those of one tenant, the first so many: what one had of one meter stands together. */
  over(tenantNo: TenantNo, at: number, limit: number): OverRow[];
}

export interface LeaseCommands {
  /**
   * Counts parts ahead, and takes back what was not used of others: answers how many of those there were. What is not given
   * back within a minute of its end was used; `used` are the ones of which that is noted, with the record of it. `undefined`:
   * see `UsageCount.seen`, and where one of `used` is not there, or may be given back still. `at` and `ends`: milliseconds
   * since the epoch.
   */
  readonly leaseUsage: (args: {
    tenantNo: TenantNo;
    leases: readonly (UsageCount & { readonly lease: string })[];
    returned: readonly Returned[];
    /** An earlier version leaves it out, and takes no note: what is over is gone there. */
    used?: readonly string[] | undefined;
    by?: Holder | undefined;
    at: number;
    ends: number;
  }) => number | undefined;
}

/** How long after its end a lease may be given back still. In milliseconds. */
const GRACE_MS = 60_000;

export function leaseStore(db: Connection): LeaseStore {
  const find = db.prepare<[number, string], LeaseRow>(
    'SELECT lease, meter, of, since, amount FROM leases WHERE tenant_no = ? AND lease = ?',
  );
  const open = db
    .prepare<[number, number], number>('SELECT count(*) FROM leases WHERE tenant_no = ? AND ends >= ?')
    .pluck();
  const openOf = db
    .prepare<[number, string, string, number], number>(
      'SELECT count(*) FROM leases WHERE tenant_no = ? AND meter = ? AND of = ? AND ends >= ?',
    )
    .pluck();
  const unreported = db
    .prepare<[number], TenantNo>(
      'SELECT DISTINCT tenant_no FROM leases INDEXED BY leases_ended WHERE ends < ?',
    )
    .pluck();
  const over = db.prepare<[number, number, number], OverRow>(
    `SELECT lease, meter, of, since, amount, holder, node, ends FROM leases WHERE tenant_no = ? AND ends < ?
     ORDER BY holder, node, meter, ends, lease LIMIT ?`,
  );
  return {
    find: (no, lease) => find.get(no, lease),
    unreported: (at) => unreported.all(at - GRACE_MS),
    over: (no, at, limit) => over.all(no, at - GRACE_MS, limit),
    open: (no, at) => open.get(no, at) ?? 0,
    openOf: (no, meter, of, at) => openOf.get(no, meter, of, at) ?? 0,
  };
}

export function prepareLeases(db: Connection, { countUsage }: UsageCommands): LeaseCommands {
  const insert = db.prepare<[object]>(
    `INSERT INTO leases (tenant_no, lease, meter, of, since, amount, ends, holder, node)
     VALUES (@no, @lease, @meter, @of, @since, @amount, @ends, @holder, @node)`,
  );
  const remove = db.prepare('DELETE FROM leases WHERE tenant_no = ? AND lease = ?');
  const find = db.prepare<[number, string], OverRow>(
    'SELECT * FROM leases WHERE tenant_no = ? AND lease = ?',
  );
  const giveBack = db.prepare<[object]>(
    `UPDATE usage SET amount = amount - @unused
     WHERE tenant_no = @no AND meter = @meter AND of = @of AND since = @since AND amount >= @unused`,
  );
  return {
    leaseUsage: ({ tenantNo: no, leases, returned, used = [], by, at, ends }) => {
      const isUsed = (row: OverRow | undefined): boolean => row !== undefined && row.ends < at - GRACE_MS;
      if (!used.every((lease) => isUsed(find.get(no, lease)))) return undefined;
      // What was seen was seen before anything of this.
      if (countUsage({ tenantNo: no, counts: leases, at }) === undefined) return undefined;
      let taken = 0;
      for (const { lease, unused } of returned) {
        const known = find.get(no, lease);
        // Nobody gives back more than there was, nor too late, and nobody gives it back twice.
        if (!known || isUsed(known) || !isPartOf(unused, known)) continue;
        const { meter, of, since } = known;
        if (unused > 0) giveBack.run({ no, meter, of, since, unused });
        remove.run(no, lease);
        taken += 1;
      }
      const { holder, node } = by ?? NOBODY;
      for (const { lease, meter, of, since, amount } of leases)
        insert.run({ no, lease, meter, of, since, amount, ends, holder, node });
      for (const lease of used) remove.run(no, lease);
      return taken;
    },
  };
}

const NOBODY: Holder = { holder: '', node: '' };

const isPartOf = (unused: number, { amount }: LeaseRow): boolean =>
  Number.isSafeInteger(unused) && unused >= 0 && unused <= amount;
