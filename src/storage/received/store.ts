import type { Connection } from '../database.ts';
import type { TenantNo } from '../rows.ts';

/** A log of another server that is kept here. Its entries, tree and newest reached checkpoint stand under its number. */
export interface ReceivedRow {
  readonly no: TenantNo;
  /** Whose it is. */
  readonly tenantNo: TenantNo;
  /** What the server is called; with `.1` and so on behind it where another log began under that name. */
  readonly node: string;
  readonly origin: string;
  /** Its verifier key (C2SP signed-note), as it was when the log was first seen. */
  readonly key: string;
  /** Who it comes from. */
  readonly operator: string;
  /** The checkpoint that its entries are to come to next, or have come to, and its size; empty and 0 before the first. */
  readonly note: string;
  readonly stated: number;
  /** Milliseconds since the epoch: when it stated that. */
  readonly heardAt: number;
  /** What did not fit last, and when; empty and 0 where all did. */
  readonly refusal: string;
  readonly refusedAt: number;
}

/** Throws `unavailable` where the store cannot be read. */
export interface ReceivedStore {
  find(tenantNo: TenantNo, node: string): ReceivedRow | undefined;
  /** Of a tenant, in the order in which they were first seen. */
  list(tenantNo: TenantNo): ReceivedRow[];
  /** Whose log it is, where it is one of them. */
  ofNumber(no: TenantNo): ReceivedRow | undefined;
  /** A checkpoint of more entries than that: the newest that is kept, or the first. */
  reached(no: TenantNo, above: number, which: 'first' | 'newest'): string | undefined;
}

const COLUMNS = `no, tenant_no AS tenantNo, node, origin, key, operator, note, stated, heard_at AS heardAt, refusal,
  refused_at AS refusedAt`;

export function receivedStore(db: Connection): ReceivedStore {
  const find = db.prepare<[number, string], ReceivedRow>(
    `SELECT ${COLUMNS} FROM received WHERE tenant_no = ? AND node = ?`,
  );
  const list = db.prepare<[number], ReceivedRow>(
    `SELECT ${COLUMNS} FROM received WHERE tenant_no = ? ORDER BY no`,
  );
  const ofNumber = db.prepare<[number], ReceivedRow>(`SELECT ${COLUMNS} FROM received WHERE no = ?`);
  const reached = (order: string) =>
    db
      .prepare<[number, number], string>(
        `SELECT note FROM reached WHERE no = ? AND size > ? ORDER BY size ${order} LIMIT 1`,
      )
      .pluck();
  const [first, newest] = [reached('ASC'), reached('DESC')];
  return {
    reached: (no, above, which) => (which === 'first' ? first : newest).get(no, above),
    find: (tenantNo, node) => find.get(tenantNo, node),
    list: (tenantNo) => list.all(tenantNo),
    ofNumber: (no) => ofNumber.get(no),
  };
}
