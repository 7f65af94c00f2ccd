import type { PrincipalClass, PrincipalRef } from '../../ids.ts';
import type { Connection } from '../database.ts';
import type { TenantNo } from '../rows.ts';

/** What the directory holds about one principal. The JSON texts go into policy input as they are. */
export interface StoredPrincipal {
  readonly groups: string;
  readonly roles: string;
  readonly scopes: string;
  readonly properties: string;
  readonly registration: string | null;
  readonly source: PrincipalSource;
  /** Milliseconds since the epoch; null where it is not so. */
  readonly disabledAt: number | null;
  readonly suspendedAt: number | null;
  readonly retiredAt: number | null;
}

/** Whose a principal is: declared in the tenant's manifest, or put by the API. Nobody else changes it. */
export type PrincipalSource = 'manifest' | 'api';

export type PrincipalStatus = 'active' | 'disabled' | 'suspended' | 'retired';

/** What holds first. */
export function statusOf({
  disabledAt,
  suspendedAt,
  retiredAt,
}: Pick<StoredPrincipal, 'disabledAt' | 'suspendedAt' | 'retiredAt'>): PrincipalStatus {
  if (retiredAt !== null) return 'retired';
  if (disabledAt !== null) return 'disabled';
  return suspendedAt === null ? 'active' : 'suspended';
}

/** The columns of a StoredPrincipal. */
export const STORED =
  'groups, roles, scopes, properties, registration, source, disabled_at AS disabledAt, suspended_at AS suspendedAt, retired_at AS retiredAt';

/** A principal in a list. */
export interface ListedPrincipal extends StoredPrincipal {
  readonly class: PrincipalClass;
  readonly id: string;
}

/** Of one that the API registered. */
export interface RegisteredPrincipal extends PrincipalRef {
  readonly registration: string;
}

/** What a decision needs of it, in as few values as there can be. */
export interface PrincipalFacts {
  /** JSON members: `"properties":{…},"groups":[…],"roles":[…]`. */
  readonly members: string;
  /** Null for one that may act. */
  readonly disabledAt: number | null;
}

export interface PrincipalStore {
  /** An indexed look-up: its cost does not grow with the tenant. */
  facts(tenantNo: TenantNo, ref: PrincipalRef): PrincipalFacts | undefined;
  find(tenantNo: TenantNo, ref: PrincipalRef): StoredPrincipal | undefined;
  count(tenantNo: TenantNo): number;
  /** Principals of a class in the order of their ids, for paging: those after `after`. */
  list(tenantNo: TenantNo, cls: string, after: string, limit: number): string[];
  /** Principals of all classes in the order of class and id: those after `after`. */
  page(tenantNo: TenantNo, after: { class: string; id: string }, limit: number): ListedPrincipal[];
  /** What the API has registered beside facts. */
  registered(tenantNo: TenantNo): RegisteredPrincipal[];
  /** Ends the view of this turn: what was told of in the middle of it is to be seen by its next look-up. */
  renew(): void;
}

/** The connection is to serve nothing else: look-ups hold a view of the store for as long as a turn takes. */
export function principalStore(db: Connection): PrincipalStore {
  const find = db.prepare<[number, string, string], StoredPrincipal>(
    `SELECT ${STORED} FROM principals WHERE tenant_no = ? AND class = ? AND id = ?`,
  );
  // SQLite joins them at a fraction of what four values on their way to JavaScript cost.
  const facts = db.prepare<[number, string, string], PrincipalFacts>(`
    SELECT '"properties":' || properties || ',"groups":' || groups || ',"roles":' || roles AS members,
      coalesce(disabled_at, suspended_at, retired_at) AS disabledAt
    FROM principals WHERE tenant_no = ? AND class = ? AND id = ?`);
  const count = db.prepare<[number], number>('SELECT count(*) FROM principals WHERE tenant_no = ?').pluck();
  const list = db
    .prepare<[number, string, string, number], string>(
      'SELECT id FROM principals WHERE tenant_no = ? AND class = ? AND id > ? ORDER BY id LIMIT ?',
    )
    .pluck();
  const page = db.prepare<[number, string, string, number], ListedPrincipal>(
    `SELECT class, id, ${STORED} FROM principals WHERE tenant_no = ? AND (class, id) > (?, ?) ORDER BY class, id LIMIT ?`,
  );
  // By its own index, and so through none of those who have no more than facts.
  const registered = db.prepare<[number], RegisteredPrincipal>(
    "SELECT class, id, registration FROM principals INDEXED BY principals_registered WHERE tenant_no = ? AND registration IS NOT NULL AND source = 'api'",
  );
  const snapshot = new TurnSnapshot(db);
  return {
    facts: (no, ref) => {
      snapshot.open();
      return facts.get(no, ref.class, ref.id);
    },
    find: (no, ref) => find.get(no, ref.class, ref.id),
    count: (no) => count.get(no) ?? 0,
    list: (no, cls, after, limit) => list.all(no, cls, after, limit),
    page: (no, after, limit) => page.all(no, after.class, after.id, limit),
    registered: (no) => registered.all(no),
    renew: () => snapshot.close(),
  };
}

/**
 * One view of the store for all look-ups of a turn of the event loop: each view taken after a commit begins with an
 * empty page cache. It ends with the turn, or when a change is told of, so that nobody who heard of a change looks at a
 * view from before it.
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
    process.nextTick(this.close);
  }

  readonly close = (): void => {
    this.#isOpen = false;
    try {
      // An error of the disk ends a transaction by itself, and so does a connection that was closed meanwhile.
      if (this.#db.inTransaction) this.#commit.run();
    } catch {
      // It is reported, and nobody waits for it here.
    }
  };
}
