import type { NamedRef } from '../ids.ts';
import type { Connection } from './database.ts';
import { type MemberKeyRow, SET_ASIDE, type TenantNo } from './rows.ts';

export interface MemberKeyStore {
  /** The one that seals what is recorded about somebody from now on. */
  inUse(tenantNo: TenantNo, about: NamedRef): MemberKeyRow | undefined;
  /** By its id; `destroyed` if it was. */
  find(tenantNo: TenantNo, kid: string): MemberKeyRow | 'destroyed' | undefined;
  /** How many somebody has and had, in the tenant's log and in those that were set aside. */
  count(tenantNo: TenantNo, about: NamedRef): { readonly living: number; readonly destroyed: number };
}

export interface MemberKeyCommands {
  /** `undefined` where there is one in use. */
  readonly putMemberKey: (args: { tenantNo: TenantNo; key: MemberKeyRow }) => boolean | undefined;
  /**
   * Answers how many were destroyed here. A change also where there was none: keys are each store's own, and another one
   * that serves the tenant may have some.
   */
  readonly destroyMemberKeys: (args: { tenantNo: TenantNo; about: NamedRef; at: number }) => number;
}

const COLUMNS = 'kid, class, name, sealed, created_at AS createdAt';

/** A log that was set aside keeps its keys under its own number. */
const ALL_LOGS = `tenant_no IN (SELECT other.no FROM tenants other JOIN tenants own ON own.no = @no
  WHERE other.no = own.no OR other.id LIKE own.id || '${SET_ASIDE}%')`;

/** Written over in place, as it keeps its length (see the schema). */
const DESTROY = `UPDATE member_keys SET sealed = zeroblob(length(sealed)), destroyed = 1
  WHERE ${ALL_LOGS} AND destroyed = 0`;

/** A key that was made so long after an erasure, by another server's clock, is taken to be from before it. */
const CLOCKS_APART_MS = 60_000;

export function memberKeyStore(db: Connection): MemberKeyStore {
  const inUse = db.prepare<[number, string, string], MemberKeyRow>(
    `SELECT ${COLUMNS} FROM member_keys WHERE tenant_no = ? AND class = ? AND name = ? AND destroyed = 0`,
  );
  const find = db.prepare<[number, string], MemberKeyRow & { destroyed: number }>(
    `SELECT ${COLUMNS}, destroyed FROM member_keys WHERE tenant_no = ? AND kid = ?`,
  );
  const count = db.prepare<[object], { living: number; destroyed: number }>(
    `SELECT count(*) FILTER (WHERE destroyed = 0) AS living, count(*) FILTER (WHERE destroyed = 1) AS destroyed
     FROM member_keys WHERE ${ALL_LOGS} AND class = @class AND name = @id`,
  );
  return {
    inUse: (no, { class: cls, id }) => inUse.get(no, cls, id),
    find: (no, kid) => {
      const row = find.get(no, kid);
      return row?.destroyed ? 'destroyed' : row;
    },
    count: (no, { class: cls, id }) => count.get({ no, class: cls, id }) ?? { living: 0, destroyed: 0 },
  };
}

export function prepareMemberKeyCommands(db: Connection): MemberKeyCommands {
  const insert = db.prepare(
    `INSERT INTO member_keys (tenant_no, class, name, kid, sealed, created_at) VALUES (?, ?, ?, ?, ?, ?)
     ON CONFLICT (tenant_no, class, name) WHERE destroyed = 0 DO NOTHING`,
  );
  const destroy = db.prepare<[object]>(`${DESTROY} AND class = @class AND name = @id`);
  const note = db.prepare(
    `INSERT INTO erasures (tenant_no, class, name, at) VALUES (?, ?, ?, ?)
     ON CONFLICT DO UPDATE SET at = excluded.at`,
  );
  return {
    putMemberKey: ({ tenantNo, key: { class: cls, name, kid, sealed, createdAt } }) =>
      insert.run(tenantNo, cls, name, kid, sealed, createdAt).changes === 1 || undefined,
    destroyMemberKeys: ({ tenantNo, about: { class: cls, id }, at }) => {
      note.run(tenantNo, cls, id, at);
      return destroy.run({ no: tenantNo, class: cls, id }).changes;
    },
  };
}

/** Destroys what was to be destroyed while nobody told this store of it. */
export function prepareErased(db: Connection): (no: TenantNo) => void {
  const erased = db.prepare<[object]>(
    `${DESTROY} AND created_at <= (SELECT at + ${CLOCKS_APART_MS} FROM erasures
       WHERE tenant_no = @no AND erasures.class = member_keys.class AND erasures.name = member_keys.name)`,
  );
  return (no) => void erased.run({ no });
}
