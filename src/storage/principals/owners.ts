import { type PrincipalRef, principalKey } from '../../ids.ts';
import type { Connection } from '../database.ts';
import type { TenantNo } from '../rows.ts';

/** What is kept of who answers for whom. */
export interface Owners {
  /** Replaces them. */
  put(tenantNo: TenantNo, of: PrincipalRef, owners: readonly string[]): void;
  /** Those that one of these answers for, each once. */
  ownedBy(tenantNo: TenantNo, owners: ReadonlySet<string>): PrincipalRef[];
  /** Whether somebody who answers for it is active; true for one that nobody has to answer for. */
  isAnsweredFor(tenantNo: TenantNo, of: PrincipalRef): boolean;
}

const GROUP = 'group:';

export function prepareOwners(db: Connection): Owners {
  const drop = db.prepare('DELETE FROM owners WHERE tenant_no = ? AND class = ? AND id = ?');
  const insert = db.prepare('INSERT INTO owners (tenant_no, owner, class, id) VALUES (?, ?, ?, ?)');
  const any = db.prepare<[number], number>('SELECT 1 FROM owners WHERE tenant_no = ? LIMIT 1').pluck();
  const owned = db.prepare<[number, string], PrincipalRef>(
    'SELECT class, id FROM owners WHERE tenant_no = ? AND owner = ?',
  );
  const ownersOf = db
    .prepare<[number, string, string], string>(
      'SELECT owner FROM owners WHERE tenant_no = ? AND class = ? AND id = ?',
    )
    .pluck();
  const activeUser = db
    .prepare<[number, string], number>(
      "SELECT 1 FROM principals WHERE tenant_no = ? AND class = 'user' AND id = ? AND disabled_at IS NULL AND suspended_at IS NULL AND retired_at IS NULL",
    )
    .pluck();
  // It ends at the first member that is active; only a group without one is looked for to the end.
  const activeMember = db
    .prepare<[number, string], number>(
      `SELECT 1 FROM principals WHERE tenant_no = ? AND class = 'user' AND disabled_at IS NULL AND suspended_at IS NULL AND retired_at IS NULL
         AND EXISTS (SELECT 1 FROM json_each(groups) WHERE value = ?) LIMIT 1`,
    )
    .pluck();
  const isActive = (no: TenantNo, owner: string): boolean =>
    owner.startsWith(GROUP)
      ? activeMember.get(no, owner.slice(GROUP.length)) !== undefined
      : activeUser.get(no, owner.slice('user:'.length)) !== undefined;
  return {
    put(no, { class: cls, id }, owners) {
      drop.run(no, cls, id);
      for (const owner of new Set(owners)) insert.run(no, owner, cls, id);
    },
    ownedBy(no, owners) {
      if (any.get(no) === undefined) return [];
      const found = [...owners].flatMap((owner) => owned.all(no, owner));
      return [...new Map(found.map((each) => [principalKey(each), each])).values()];
    },
    isAnsweredFor(no, { class: cls, id }) {
      const owners = ownersOf.all(no, cls, id);
      return owners.length === 0 || owners.some((owner) => isActive(no, owner));
    },
  };
}
