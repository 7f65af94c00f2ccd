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
}

export interface LeaseCommands {
  /**
   * Counts parts ahead, and takes back what was not used of others. What is not given back within a minute of its end was
   * used. `undefined`: see `UsageCount.seen`. `at` and `ends`: milliseconds since the epoch.
   */
  readonly leaseUsage: (args: {
    tenantNo: TenantNo;
    leases: readonly (UsageCount & { readonly lease: string })[];
    returned: readonly Returned[];
    at: number;
    ends: number;
  }) => boolean | undefined;
}

/** How long after its end a lease may be given back still. In milliseconds. */
const GRACE_MS = 60_000;
/** How many that are over go with each command: more than come with one. */
const REMOVED_EACH = 128;

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
  return {
    find: (no, lease) => find.get(no, lease),
    open: (no, at) => open.get(no, at) ?? 0,
    openOf: (no, meter, of, at) => openOf.get(no, meter, of, at) ?? 0,
  };
}

export function prepareLeases(db: Connection, { countUsage }: UsageCommands): LeaseCommands {
  const store = leaseStore(db);
  const insert = db.prepare<[object]>(
    'INSERT INTO leases (tenant_no, lease, meter, of, since, amount, ends) VALUES (@no, @lease, @meter, @of, @since, @amount, @ends)',
  );
  const remove = db.prepare('DELETE FROM leases WHERE tenant_no = ? AND lease = ?');
  const giveBack = db.prepare<[object]>(
    `UPDATE usage SET amount = amount - @unused
     WHERE tenant_no = @no AND meter = @meter AND of = @of AND since = @since AND amount >= @unused`,
  );
  const over = db
    .prepare<[number, number], string>(
      `SELECT lease FROM leases WHERE tenant_no = ? AND ends < ? ORDER BY ends, lease LIMIT ${REMOVED_EACH}`,
    )
    .pluck();
  return {
    leaseUsage: ({ tenantNo: no, leases, returned, at, ends }) => {
      // What was seen was seen before anything of this.
      if (countUsage({ tenantNo: no, counts: leases, at }) === undefined) return undefined;
      for (const { lease, unused } of returned) {
        const known = store.find(no, lease);
        // Nobody gives back more than there was, and nobody gives it back twice.
        if (!known || !Number.isSafeInteger(unused) || unused < 0 || unused > known.amount) continue;
        const { meter, of, since } = known;
        if (unused > 0) giveBack.run({ no, meter, of, since, unused });
        remove.run(no, lease);
      }
      for (const { lease, meter, of, since, amount } of leases)
        insert.run({ no, lease, meter, of, since, amount, ends });
      for (const lease of over.all(no, at - GRACE_MS)) remove.run(no, lease);
      return true;
    },
  };
}
