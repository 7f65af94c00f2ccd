import type { Connection } from './database.ts';
import type { TenantNo } from './rows.ts';

/** How much was counted, in millionths, from a moment on. */
export interface Counted {
  /** Milliseconds since the epoch; 0 for what has no window. */
  readonly since: number;
  readonly amount: number;
}

/** One more of them, for one whom it is counted for. */
export interface UsageCount extends Counted {
  readonly meter: string;
  /** `task <id>`, `grant <id>`, `actor <class>:<id>` or `subject <class>:<id>`. */
  readonly of: string;
  /** From when on nobody asks for it any more, in milliseconds since the epoch; null: never. */
  readonly until: number | null;
  /**
   * What was counted when it was decided, in spans that begin no earlier than `from`. Left out: nobody else counts. One that
   * another server has added to since is not counted.
   */
  readonly seen?: { readonly from: number; readonly total: number } | undefined;
}

export interface UsageStore {
  /** What was counted in spans that begin no earlier than `from`, each span once. */
  of(tenantNo: TenantNo, meter: string, of: string, from: number): Counted[];
  /** All that is kept of a meter, the first so many. */
  all(tenantNo: TenantNo, meter: string, limit: number): UsageCount[];
  /** What was counted in all since `from`, by whom it is for, in order, after one. */
  sums(
    tenantNo: TenantNo,
    meter: string,
    options: { from: number; after: string; limit: number },
  ): { readonly of: string; readonly amount: number }[];
}

export interface UsageCommands {
  /** Counts, with the record of what is counted. `at`: milliseconds since the epoch. `undefined`: see `UsageCount.seen`. */
  readonly countUsage: (args: {
    tenantNo: TenantNo;
    counts: readonly UsageCount[];
    at: number;
  }) => boolean | undefined;
  /** Adds to counts, or takes from them: what else was counted since the difference was seen stays. */
  readonly adjustUsage: (args: {
    tenantNo: TenantNo;
    rows: readonly (Omit<UsageCount, 'amount' | 'seen'> & { readonly by: number })[];
  }) => boolean;
}

/** How many counts it takes until what is over is removed, and how many go then: more, so that they do not pile up. */
const REMOVED_AFTER = 16;
const REMOVED_EACH = 64;

export function usageStore(db: Connection): UsageStore {
  const all = db.prepare<[number, string, string, number], Counted>(
    'SELECT since, amount FROM usage WHERE tenant_no = ? AND meter = ? AND of = ? AND since >= ? ORDER BY since',
  );
  const sums = db.prepare<[number, string, number, string, number], { of: string; amount: number }>(
    `SELECT of, sum(amount) AS amount FROM usage WHERE tenant_no = ? AND meter = ? AND since >= ? AND of > ?
     GROUP BY of ORDER BY of LIMIT ?`,
  );
  const rows = db.prepare<[number, string, number], UsageCount>(
    'SELECT meter, of, since, amount, until FROM usage WHERE tenant_no = ? AND meter = ? LIMIT ?',
  );
  return {
    all: (no, meter, limit) => rows.all(no, meter, limit),
    of: (no, meter, of, from) => all.all(no, meter, of, from),
    sums: (no, meter, { from, after, limit }) => sums.all(no, meter, from, after, limit),
  };
}

export function prepareUsage(db: Connection): UsageCommands {
  const count = db.prepare<[object]>(`
    INSERT INTO usage (tenant_no, meter, of, since, amount, until) VALUES (@no, @meter, @of, @since, @amount, @until)
    ON CONFLICT DO UPDATE SET amount = amount + excluded.amount, until = max(until, excluded.until)`);
  const adjust = db.prepare<[object]>(`
    INSERT INTO usage (tenant_no, meter, of, since, amount, until) VALUES (@no, @meter, @of, @since, max(0, @by), @until)
    ON CONFLICT DO UPDATE SET amount = max(0, amount + @by), until = max(until, excluded.until)`);
  const removeNothing = db.prepare<[object]>(
    'DELETE FROM usage WHERE tenant_no = @no AND meter = @meter AND of = @of AND since = @since AND amount = 0',
  );
  const over = db.prepare<[number, number], Pick<UsageCount, 'meter' | 'of' | 'since'>>(
    `SELECT meter, of, since FROM usage WHERE tenant_no = ? AND until < ? ORDER BY until LIMIT ${REMOVED_EACH}`,
  );
  const remove = db.prepare('DELETE FROM usage WHERE tenant_no = ? AND meter = ? AND of = ? AND since = ?');
  const total = db
    .prepare<[number, string, string, number], number>(
      'SELECT coalesce(sum(amount), 0) FROM usage WHERE tenant_no = ? AND meter = ? AND of = ? AND since >= ?',
    )
    .pluck();
  const isAsSeen = (no: TenantNo, { meter, of, seen }: UsageCount): boolean =>
    seen === undefined || total.get(no, meter, of, seen.from) === seen.total;
  const counted = new Map<TenantNo, number>();
  const removeOver = (no: TenantNo, at: number): void => {
    const before = counted.get(no) ?? 0;
    counted.set(no, (before + 1) % REMOVED_AFTER);
    if (before > 0) return;
    for (const { meter, of, since } of over.all(no, at)) remove.run(no, meter, of, since);
  };
  return {
    countUsage: ({ tenantNo: no, counts, at }) => {
      if (!counts.every((each) => isAsSeen(no, each))) return undefined;
      for (const { meter, of, since, amount, until } of counts)
        count.run({ no, meter, of, since, amount, until });
      removeOver(no, at);
      return true;
    },
    adjustUsage: ({ tenantNo: no, rows }) => {
      for (const { meter, of, since, until, by } of rows) {
        adjust.run({ no, meter, of, since, until, by });
        removeNothing.run({ no, meter, of, since });
      }
      return true;
    },
  };
}
