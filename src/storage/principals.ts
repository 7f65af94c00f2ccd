import type { PrincipalRef } from '../ids.ts';
import type { Connection } from './database.ts';
import type { TenantNo } from './rows.ts';

/** What the directory holds about one principal. The JSON texts go into policy input as they are. */
export interface StoredPrincipal {
  readonly groups: string;
  readonly roles: string;
  readonly scopes: string;
  readonly properties: string;
  readonly disabledAt: number | null;
}

/** What a decision needs of it, in as few values as there can be. */
export interface PrincipalFacts {
  /** JSON members: `"properties":{…},"groups":[…],"roles":[…]`. */
  readonly members: string;
  readonly disabledAt: number | null;
}

export interface PrincipalStore {
  /** An indexed look-up: its cost does not grow with the tenant. */
  facts(tenantNo: TenantNo, ref: PrincipalRef): PrincipalFacts | undefined;
  find(tenantNo: TenantNo, ref: PrincipalRef): StoredPrincipal | undefined;
  count(tenantNo: TenantNo): number;
  /** Principals of a class in the order of their ids, for paging: those after `after`. */
  list(tenantNo: TenantNo, cls: string, after: string, limit: number): string[];
}

/** The connection is to serve nothing else: look-ups hold a view of the store for as long as a turn takes. */
export function principalStore(db: Connection): PrincipalStore {
  const find = db.prepare<[number, string, string], StoredPrincipal>(
    'SELECT groups, roles, scopes, properties, disabled_at AS disabledAt FROM principals WHERE tenant_no = ? AND class = ? AND id = ?',
  );
  // SQLite joins them at a fraction of what four values on their way to JavaScript cost.
  const facts = db.prepare<[number, string, string], PrincipalFacts>(`
    SELECT '"properties":' || properties || ',"groups":' || groups || ',"roles":' || roles AS members,
      disabled_at AS disabledAt
    FROM principals WHERE tenant_no = ? AND class = ? AND id = ?`);
  const count = db.prepare<[number], number>('SELECT count(*) FROM principals WHERE tenant_no = ?').pluck();
  const list = db
    .prepare<[number, string, string, number], string>(
      'SELECT id FROM principals WHERE tenant_no = ? AND class = ? AND id > ? ORDER BY id LIMIT ?',
    )
    .pluck();
  const snapshot = new TurnSnapshot(db);
  return {
    facts: (no, ref) => {
      snapshot.open();
      return facts.get(no, ref.class, ref.id);
    },
    find: (no, ref) => find.get(no, ref.class, ref.id),
    count: (no) => count.get(no) ?? 0,
    list: (no, cls, after, limit) => list.all(no, cls, after, limit),
  };
}

/**
 * One view of the store for all look-ups of a turn of the event loop: each view taken after a commit begins with an
 * empty page cache. It ends with the turn, and what was committed is told of in a later one, so that nobody who heard of
 * a change looks at a view from before it.
 */
class TurnSnapshot {
  readonly #db: Connection;
  readonly #begin;
  readonly #commit;
  readonly #rollback;
  #isOpen = false;

  constructor(db: Connection) {
    this.#db = db;
    this.#begin = db.prepare('BEGIN');
    this.#commit = db.prepare('COMMIT');
    this.#rollback = db.prepare('ROLLBACK');
  }

  open(): void {
    if (this.#isOpen) return;
    // A view that could not be ended must not be looked at once more.
    if (this.#db.inTransaction) this.#rollback.run();
    this.#begin.run();
    this.#isOpen = true;
    // Runs before anything that comes from outside, and mostly after this turn's microtasks.
    process.nextTick(this.#close);
  }

  readonly #close = (): void => {
    this.#isOpen = false;
    try {
      // An error of the disk ends a transaction by itself, and so does a connection that was closed meanwhile.
      if (this.#db.inTransaction) this.#commit.run();
    } catch {
      // It is reported, and nobody waits for it here.
    }
  };
}
