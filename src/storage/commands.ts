import { hash } from 'node:crypto';
import type { PrincipalClass, PrincipalRef, TenantId } from '../ids.ts';
import type { Connection } from './database.ts';
import { type GrantCommands, prepareGrantCommands, prepareGrantEnder } from './granting/commands.ts';
import { type KeyCommands, prepareKeyCommands } from './keys.ts';
import type { LogAppender } from './log/appender.ts';
import { type LogCommands, prepareLogCommands } from './log/commands.ts';
import { type MemberKeyCommands, prepareMemberKeyCommands } from './member-keys.ts';
import { checkTenantNo, type PrincipalRow, type TenantNo } from './rows.ts';
import { prepareSitting, type SittingCommands } from './sitting.ts';
import { prepareTenantKeyCommands, type TenantKeyCommands } from './tenant-keys.ts';
import { prepareVolumeCommands, type VolumeCommands } from './volume/commands.ts';

/**
 * Every change of state that the store knows, run inside the writer's transaction. A command answers
 * `undefined` when its condition no longer holds; then its record is not appended either.
 */
export interface Commands
  extends LogCommands,
    VolumeCommands,
    MemberKeyCommands,
    GrantCommands,
    KeyCommands,
    TenantKeyCommands,
    SittingCommands {
  /** Makes the tenant if it is new. */
  readonly putTenant: (args: { id: TenantId }) => { no: TenantNo; manifestHash: string };
  /** Replaces the principals that came from the manifest by these. */
  readonly putManifest: (args: {
    tenantNo: TenantNo;
    hash: string;
    principals: readonly PrincipalRow[];
    at: number;
  }) => PrincipalChanges;
  readonly putPrincipals: (args: {
    tenantNo: TenantNo;
    principals: readonly PrincipalRow[];
    at: number;
  }) => PrincipalChanges;
  /** Answers how many grants ended; `undefined` when there is no such principal. */
  readonly setStatus: (args: {
    tenantNo: TenantNo;
    class: PrincipalClass;
    id: string;
    disabled: boolean;
    at: number;
  }) => number | undefined;
}

/** What became of principals that were written. */
export interface PrincipalChanges {
  readonly written: number;
  /** How many are other than they were. */
  readonly changed: number;
  /** The first MOST_TOLD of those. */
  readonly told: readonly PrincipalChange[];
}

export interface PrincipalChange {
  readonly principal: PrincipalRef;
  /** Undefined where there was none, or there is none any more. */
  readonly before: PrincipalState | undefined;
  readonly after: PrincipalState | undefined;
}

export interface PrincipalState {
  readonly status: 'active' | 'disabled';
  readonly roles: readonly string[];
  readonly groups: readonly string[];
  readonly scopes: readonly string[];
  /** SHA-256 of their JSON, as hex: what they say may be nobody's business. */
  readonly properties_sha256: string;
}

const MOST_TOLD = 100;

export type CommandName = keyof Commands;

/** `log` is what the records of the same transactions are appended by. */
export function prepareCommands(db: Connection, log: LogAppender): Commands {
  const tenantByName = db.prepare<[string], { no: number; manifest_hash: string }>(
    'SELECT no, manifest_hash FROM tenants WHERE id = ?',
  );
  const insertTenant = db.prepare('INSERT INTO tenants (id) VALUES (?)');
  const setHash = db.prepare('UPDATE tenants SET manifest_hash = ? WHERE no = ?');
  const dropStale = db.prepare<[number, string], PrincipalRef & StoredState>(
    "DELETE FROM principals WHERE tenant_no = ? AND source = 'manifest' AND class || ':' || id NOT IN (SELECT value FROM json_each(?)) RETURNING class, id, groups, roles, scopes, properties, disabled_at AS disabledAt",
  );
  const upsert = db.prepare(`
    INSERT INTO principals (tenant_no, class, id, groups, roles, scopes, properties, disabled_at, source)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET groups = excluded.groups, roles = excluded.roles, scopes = excluded.scopes,
      properties = excluded.properties, source = excluded.source,
      disabled_at = CASE ? WHEN 'keep' THEN disabled_at WHEN 'on' THEN NULL
                    ELSE COALESCE(disabled_at, excluded.disabled_at) END`);
  const stored = db.prepare<[number, string, string], StoredState>(
    'SELECT groups, roles, scopes, properties, disabled_at AS disabledAt FROM principals WHERE tenant_no = ? AND class = ? AND id = ?',
  );
  const setDisabled = db.prepare(
    'UPDATE principals SET disabled_at = ? WHERE tenant_no = ? AND class = ? AND id = ?',
  );
  const grants = prepareGrantEnder(db);

  const stateOf = (no: TenantNo, { class: klass, id }: PrincipalRef): PrincipalState | undefined => {
    const row = stored.get(no, klass, id);
    return row && told(row);
  };

  const put = (
    no: TenantNo,
    rows: readonly PrincipalRow[],
    source: string,
    at: number,
    changes = new Changes(),
  ): PrincipalChanges => {
    for (const row of rows) {
      const before = stateOf(no, row);
      const status = row.disabled === undefined ? 'keep' : row.disabled ? 'off' : 'on';
      upsert.run(
        no,
        row.class,
        row.id,
        JSON.stringify(row.groups),
        JSON.stringify(row.roles),
        JSON.stringify(row.scopes),
        JSON.stringify(row.properties),
        row.disabled ? at : null,
        source,
        status,
      );
      if (row.disabled) grants.end(no, row, at);
      const after = stateOf(no, row);
      const principal = { class: row.class, id: row.id };
      if (JSON.stringify(before) !== JSON.stringify(after)) changes.add({ principal, before, after });
    }
    return changes.summed(rows.length);
  };

  return {
    ...prepareLogCommands(db, log),
    ...prepareVolumeCommands(db, log),
    ...prepareMemberKeyCommands(db),
    ...prepareGrantCommands(db),
    ...prepareKeyCommands(db),
    ...prepareTenantKeyCommands(db),
    ...prepareSitting(db),
    putTenant: ({ id }) => {
      const known = tenantByName.get(id);
      if (known) return { no: checkTenantNo(known.no), manifestHash: known.manifest_hash };
      return { no: checkTenantNo(Number(insertTenant.run(id).lastInsertRowid)), manifestHash: '' };
    },
    putManifest: ({ tenantNo, hash, principals, at }) => {
      const names = JSON.stringify(principals.map((row) => `${row.class}:${row.id}`));
      const changes = new Changes();
      for (const { class: klass, id, ...row } of dropStale.all(tenantNo, names)) {
        const principal = { class: klass, id };
        grants.end(tenantNo, principal, at);
        changes.add({ principal, before: told(row), after: undefined });
      }
      setHash.run(hash, tenantNo);
      return put(tenantNo, principals, 'manifest', at, changes);
    },
    putPrincipals: ({ tenantNo, principals, at }) => put(tenantNo, principals, 'api', at),
    setStatus: ({ tenantNo, class: klass, id, disabled, at }) => {
      if (setDisabled.run(disabled ? at : null, tenantNo, klass, id).changes === 0) return undefined;
      if (!disabled) return 0;
      const ended = grants.count(tenantNo, { class: klass, id }, at);
      grants.end(tenantNo, { class: klass, id }, at);
      return ended;
    },
  };
}

interface StoredState {
  readonly groups: string;
  readonly roles: string;
  readonly scopes: string;
  readonly properties: string;
  readonly disabledAt: number | null;
}

const told = ({ groups, roles, scopes, properties, disabledAt }: StoredState): PrincipalState => ({
  status: disabledAt === null ? 'active' : 'disabled',
  roles: JSON.parse(roles) as string[],
  groups: JSON.parse(groups) as string[],
  scopes: JSON.parse(scopes) as string[],
  properties_sha256: hash('sha256', properties, 'hex'),
});

/** A manifest may change a million principals: the first of them are kept, and how many they are. */
class Changes {
  #changed = 0;
  readonly #told: PrincipalChange[] = [];

  add(change: PrincipalChange): void {
    this.#changed += 1;
    if (this.#told.length < MOST_TOLD) this.#told.push(change);
  }

  summed(written: number): PrincipalChanges {
    return { written, changed: this.#changed, told: this.#told };
  }
}
