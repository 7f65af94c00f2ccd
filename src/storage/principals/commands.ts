import { hash } from 'node:crypto';
import { type PrincipalClass, type PrincipalRef, principalKey } from '../../ids.ts';
import type { Connection } from '../database.ts';
import type { GrantEnder } from '../granting/commands.ts';
import type { PrincipalRow, TenantNo } from '../rows.ts';
import { prepareOwners } from './owners.ts';
import {
  type PrincipalSource,
  type PrincipalStatus,
  STORED,
  type StoredPrincipal,
  statusOf,
} from './store.ts';

export interface PrincipalCommands {
  /** Replaces the principals that came from the manifest by these. */
  readonly putManifest: (args: {
    tenantNo: TenantNo;
    hash: string;
    /** As it is written. */
    text: string;
    principals: readonly PrincipalRow[];
    at: number;
  }) => PrincipalChanges;
  /** `undefined` where one of them is the manifest's, or was retired. `ending`: what was granted to them ends. */
  readonly putPrincipals: (args: {
    tenantNo: TenantNo;
    principals: readonly PrincipalRow[];
    at: number;
    ending?: boolean;
  }) => StatusChanges | undefined;
  /** `undefined` when there is no such principal, or it was retired. */
  readonly setStatus: (args: {
    tenantNo: TenantNo;
    class: PrincipalClass;
    id: string;
    disabled: boolean;
    at: number;
  }) => StatusChanges | undefined;
  /** For good. `undefined` when there is no such principal, it is the manifest's, or it was retired before. */
  readonly retirePrincipal: (args: {
    tenantNo: TenantNo;
    class: PrincipalClass;
    id: string;
    at: number;
  }) => StatusChanges | undefined;
}

/** What became of principals that were written. */
export interface PrincipalChanges {
  readonly written: number;
  /** How many are other than they were. */
  readonly changed: number;
  /** The first MOST_TOLD of those. */
  readonly told: readonly PrincipalChange[];
}

export interface StatusChanges extends PrincipalChanges {
  /** How many grants ended. */
  readonly ended: number;
}

export interface PrincipalChange {
  readonly principal: PrincipalRef;
  /** Undefined where there was none, or there is none any more. */
  readonly before: PrincipalState | undefined;
  readonly after: PrincipalState | undefined;
}

export interface PrincipalState {
  readonly status: PrincipalStatus;
  readonly roles: readonly string[];
  readonly groups: readonly string[];
  readonly scopes: readonly string[];
  /** SHA-256 of their JSON, as hex: what they say may be nobody's business. */
  readonly properties_sha256: string;
  /** JSON, as it is kept. */
  readonly registration: string | null;
}

const MOST_TOLD = 100;

export function preparePrincipalCommands(db: Connection, grants: GrantEnder): PrincipalCommands {
  const owners = prepareOwners(db);
  const setHash = db.prepare('UPDATE tenants SET manifest_hash = ? WHERE no = ?');
  const setManifest = db.prepare(
    'INSERT INTO manifests (tenant_no, body) VALUES (?, ?) ON CONFLICT DO UPDATE SET body = excluded.body',
  );
  const dropStale = db.prepare<[number, string], PrincipalRef & StoredPrincipal>(
    `DELETE FROM principals WHERE tenant_no = ? AND source = 'manifest' AND retired_at IS NULL AND class || ':' || id NOT IN (SELECT value FROM json_each(?))
     RETURNING class, id, ${STORED}`,
  );
  const upsert = db.prepare(`
    INSERT INTO principals (tenant_no, class, id, groups, roles, scopes, properties, registration, disabled_at, source)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET groups = excluded.groups, roles = excluded.roles, scopes = excluded.scopes,
      properties = excluded.properties, registration = excluded.registration, source = excluded.source,
      disabled_at = CASE CASE WHEN retired_at IS NULL THEN ? ELSE 'keep' END
                    WHEN 'keep' THEN disabled_at WHEN 'on' THEN NULL
                    ELSE COALESCE(disabled_at, excluded.disabled_at) END`);
  const stored = db.prepare<[number, string, string], StoredPrincipal>(
    `SELECT ${STORED} FROM principals WHERE tenant_no = ? AND class = ? AND id = ?`,
  );
  const setDisabled = db.prepare(
    'UPDATE principals SET disabled_at = ? WHERE tenant_no = ? AND class = ? AND id = ?',
  );
  const setSuspended = db.prepare(
    'UPDATE principals SET suspended_at = ? WHERE tenant_no = ? AND class = ? AND id = ?',
  );
  const retire = db.prepare(
    'UPDATE principals SET disabled_at = @at, retired_at = @at, registration = NULL WHERE tenant_no = @no AND class = @class AND id = @id',
  );

  const find = (no: TenantNo, { class: cls, id }: PrincipalRef): StoredPrincipal | undefined =>
    stored.get(no, cls, id);

  const write = (no: TenantNo, row: PrincipalRow, source: PrincipalSource, at: number): void => {
    upsert.run(
      no,
      row.class,
      row.id,
      JSON.stringify(row.groups),
      JSON.stringify(row.roles),
      JSON.stringify(row.scopes),
      JSON.stringify(row.properties),
      row.registration ?? null,
      row.disabled ? at : null,
      source,
      row.disabled === undefined ? 'keep' : row.disabled ? 'off' : 'on',
    );
    owners.put(no, row, row.owners ?? []);
    if (row.disabled) grants.end(no, row, at);
  };

  const put = (
    no: TenantNo,
    rows: readonly PrincipalRow[],
    source: PrincipalSource,
    at: number,
    changes: Changes,
  ): void => {
    for (const row of rows) {
      const before = find(no, row);
      write(no, row, source, at);
      changes.add(row, before, find(no, row));
    }
  };

  /** Suspends whom nobody active answers for any more, and lets those go on for whom somebody does again. */
  const settleOwned = (no: TenantNo, changes: Changes, at: number): void => {
    for (const each of owners.ownedBy(no, changes.owners)) changes.touched.set(principalKey(each), each);
    for (const each of changes.touched.values()) {
      const before = find(no, each);
      if (!before) continue;
      const isSuspended = !owners.isAnsweredFor(no, each);
      if (isSuspended === (before.suspendedAt !== null)) continue;
      setSuspended.run(isSuspended ? at : null, no, each.class, each.id);
      if (isSuspended) grants.end(no, each, at);
      changes.add(each, before, find(no, each));
    }
  };

  /** Answers how many were alive. */
  const endGrants = (no: TenantNo, of: PrincipalRef, at: number): number => {
    const alive = grants.count(no, of, at);
    grants.end(no, of, at);
    return alive;
  };

  const changeOne = (
    no: TenantNo,
    ref: PrincipalRef,
    before: StoredPrincipal,
    ended: number,
    at: number,
  ): StatusChanges => {
    const changes = new Changes();
    changes.touch(ref, before);
    settleOwned(no, changes, at);
    return { ...changes.summed(1), ended };
  };

  return {
    putManifest: ({ tenantNo, hash: sha256, text, principals, at }) => {
      const names = JSON.stringify(principals.map(principalKey));
      const changes = new Changes();
      for (const row of dropStale.all(tenantNo, names)) {
        const principal = { class: row.class, id: row.id };
        grants.end(tenantNo, principal, at);
        owners.put(tenantNo, principal, []);
        changes.add(principal, row, undefined);
      }
      setHash.run(sha256, tenantNo);
      setManifest.run(tenantNo, text);
      put(tenantNo, principals, 'manifest', at, changes);
      settleOwned(tenantNo, changes, at);
      return changes.summed(principals.length);
    },
    putPrincipals: ({ tenantNo, principals, at, ending = false }) => {
      const isTheirs = (row: PrincipalRow): boolean => {
        const before = find(tenantNo, row);
        return before === undefined || (before.source === 'api' && before.retiredAt === null);
      };
      if (!principals.every(isTheirs)) return undefined;
      const changes = new Changes();
      put(tenantNo, principals, 'api', at, changes);
      settleOwned(tenantNo, changes, at);
      let ended = 0;
      if (ending) for (const each of principals) ended += endGrants(tenantNo, each, at);
      return { ...changes.summed(principals.length), ended };
    },
    setStatus: ({ tenantNo, disabled, at, ...ref }) => {
      const before = find(tenantNo, ref);
      if (!before || before.retiredAt !== null) return undefined;
      setDisabled.run(disabled ? at : null, tenantNo, ref.class, ref.id);
      const ended = disabled ? endGrants(tenantNo, ref, at) : 0;
      return changeOne(tenantNo, ref, before, ended, at);
    },
    retirePrincipal: ({ tenantNo, at, ...ref }) => {
      const before = find(tenantNo, ref);
      if (!before || before.retiredAt !== null || before.source === 'manifest') return undefined;
      retire.run({ no: tenantNo, ...ref, at });
      owners.put(tenantNo, ref, []);
      return changeOne(tenantNo, ref, before, endGrants(tenantNo, ref, at), at);
    },
  };
}

/** A manifest may change a million principals: the first of them are kept, and how many they are. */
class Changes {
  #changed = 0;
  readonly #told: PrincipalChange[] = [];
  /** Users that are other than before, as owners are called: each itself, and the groups it is and was in. */
  readonly owners = new Set<string>();
  /** Who is other than before. */
  readonly touched = new Map<string, PrincipalRef>();

  add(of: PrincipalRef, before: StoredPrincipal | undefined, after: StoredPrincipal | undefined): void {
    const principal = { class: of.class, id: of.id };
    const change = { principal, before: before && told(before), after: after && told(after) };
    if (JSON.stringify(change.before) === JSON.stringify(change.after)) return;
    this.touch(principal, before, after);
    this.#changed += 1;
    if (this.#told.length < MOST_TOLD) this.#told.push(change);
  }

  touch(principal: PrincipalRef, ...states: readonly (StoredPrincipal | undefined)[]): void {
    this.touched.set(principalKey(principal), principal);
    if (principal.class !== 'user') return;
    this.owners.add(principalKey(principal));
    for (const state of states)
      for (const group of JSON.parse(state?.groups ?? '[]') as string[]) this.owners.add(`group:${group}`);
  }

  summed(written: number): PrincipalChanges {
    return { written, changed: this.#changed, told: this.#told };
  }
}

const told = (row: StoredPrincipal): PrincipalState => ({
  status: statusOf(row),
  roles: JSON.parse(row.roles) as string[],
  groups: JSON.parse(row.groups) as string[],
  scopes: JSON.parse(row.scopes) as string[],
  properties_sha256: hash('sha256', row.properties, 'hex'),
  registration: row.registration,
});
