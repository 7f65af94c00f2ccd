import { hash } from 'node:crypto';
import type { GrantId, PrincipalClass, PrincipalRef, TenantId } from '../ids.ts';
import type { Connection } from './database.ts';
import type { StoreFault } from './faults.ts';
import type { GrownLog, LogAppender } from './log/appender.ts';
import {
  checkTenantNo,
  type GrantRow,
  type KeyRow,
  type LogKeyRow,
  type PrincipalRow,
  SET_ASIDE,
  type TenantNo,
} from './rows.ts';

/**
 * Every change of state that the store knows, run inside the writer's transaction. A command answers
 * `undefined` when its condition no longer holds; then its record is not appended either.
 */
export interface Commands {
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
  /** The key of a log's checkpoints, and the first of them; `undefined` where it has one, or another is called so. */
  readonly putLogKey: (args: { tenantNo: TenantNo; key: LogKeyRow; note: string }) => boolean | undefined;
  /** Nothing is appended to the log any more, for a fault that was found elsewhere. */
  readonly closeLog: (args: { fault: StoreFault }) => boolean;
  /** Logs that have grown since their last checkpoint, at most so many, as they are when this is durable. */
  readonly grownLogs: (args: { limit: number }) => GrownLog[];
  /** How a damaged log would be set aside; `whole` where nothing is wrong, `undefined` where there is no such tenant. */
  readonly damagedLog: (args: { id: TenantId }) => RestartedLog | 'whole' | undefined;
  /** Sets it aside, and gives the tenant's things a new number, under which a new log begins: with the record of it. */
  readonly restartLog: (args: { id: TenantId; log: RestartedLog }) => boolean;
  /** `undefined` where there is a newer one. */
  readonly putCheckpoint: (args: { tenantNo: TenantNo; size: number; note: string }) => boolean | undefined;
  /** How far a sink is. */
  readonly putCursors: (args: {
    sink: string;
    cursors: readonly { readonly tenantNo: TenantNo; readonly next: number }[];
  }) => number;
  /** The newest checkpoint that witnesses have signed. */
  readonly putCosigned: (args: {
    tenantNo: TenantNo;
    size: number;
    note: string;
    at: number;
  }) => boolean | undefined;
  readonly putKey: (args: { tenantNo: TenantNo; key: KeyRow }) => boolean;
  /**
   * `undefined` when the parent was revoked or has expired, or the subject or an actor was disabled since the
   * exchange was decided: the check and the insert are one transaction of one writer, so no revocation can pass
   * between them.
   */
  readonly insertGrant: (args: { tenantNo: TenantNo; grant: GrantRow }) => boolean | undefined;
  /** Revokes the grant and its subtree; answers how many were alive, `undefined` when none was. */
  readonly revokeGrant: (args: { tenantNo: TenantNo; id: GrantId; at: number }) => number | undefined;
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

export interface RestartedLog {
  readonly no: TenantNo;
  /** The number of the old one. */
  readonly old: TenantNo;
  /** What the old one is called in the store from now on. */
  readonly setAside: string;
  readonly damage: string;
  /** Its newest checkpoint, as it is stored; empty where it has none. */
  readonly checkpoint: string;
}

export type CommandName = keyof Commands;

/** `log` is what the records of the same transactions are appended by. */
export function prepareCommands(db: Connection, log: LogAppender): Commands {
  const tenantByName = db.prepare<[string], { no: number; manifest_hash: string }>(
    'SELECT no, manifest_hash FROM tenants WHERE id = ?',
  );
  const insertTenant = db.prepare('INSERT INTO tenants (id) VALUES (?)');
  const insertAs = db.prepare('INSERT INTO tenants (no, id) VALUES (?, ?)');
  const lastNo = db.prepare<[], number>('SELECT max(no) FROM tenants').pluck();
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
  // Also what has expired, as the clock has it: a clock that is wrong today is right tomorrow, and would let it live.
  const revokeOf = db
    .prepare<[object], number>(`
    WITH RECURSIVE doomed(id) AS (
      SELECT id FROM grants WHERE tenant_no = @no AND subject_class = @class AND subject_id = @id
      UNION SELECT id FROM grants WHERE tenant_no = @no AND actor_class = @class AND actor_id = @id
      UNION SELECT g.id FROM grants g JOIN doomed d ON g.tenant_no = @no AND g.parent_id = d.id
    )
    UPDATE grants SET revoked_at = @at
    WHERE tenant_no = @no AND revoked_at IS NULL AND id IN (SELECT id FROM doomed)
    RETURNING expires_at > @at`)
    .pluck();
  const revokeTree = db.prepare(`
    WITH RECURSIVE doomed(id) AS (
      SELECT id FROM grants WHERE tenant_no = @no AND id = @id
      UNION SELECT g.id FROM grants g JOIN doomed d ON g.tenant_no = @no AND g.parent_id = d.id
    )
    UPDATE grants SET revoked_at = @at
    WHERE tenant_no = @no AND revoked_at IS NULL AND id IN (SELECT id FROM doomed)`);
  const insertKey = db.prepare(
    'INSERT INTO keys (tenant_no, kid, alg, public_jwk, sealed, created_at) VALUES (?, ?, ?, ?, ?, ?)',
  );
  const insertLogKey = db.prepare(
    'INSERT INTO log_keys (tenant_no, origin, public, sealed, created_at) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING',
  );
  const insertCheckpoint = db.prepare('INSERT INTO checkpoints (tenant_no, size, note) VALUES (?, 0, ?)');
  const putCheckpoint = db.prepare(
    `INSERT INTO checkpoints (tenant_no, size, note) VALUES (?, ?, ?)
     ON CONFLICT DO UPDATE SET size = excluded.size, note = excluded.note WHERE excluded.size > size`,
  );
  const putCursor = db.prepare(
    'INSERT INTO sink_cursors (sink, tenant_no, next) VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET next = excluded.next',
  );
  const putCosigned = db.prepare(
    `INSERT INTO cosigned (tenant_no, size, note, at) VALUES (?, ?, ?, ?)
     ON CONFLICT DO UPDATE SET size = excluded.size, note = excluded.note, at = excluded.at WHERE excluded.size >= size`,
  );
  const named = db
    .prepare<[string, string], number>('SELECT count(*) FROM tenants WHERE id = ? OR id LIKE ?')
    .pluck();
  const rename = db.prepare('UPDATE tenants SET id = ? WHERE no = ?');
  const checkpointOf = db
    .prepare<[number], string>('SELECT note FROM checkpoints WHERE tenant_no = ?')
    .pluck();
  const moved = ['principals', 'grants', 'keys'].map((table) =>
    db.prepare(`UPDATE ${table} SET tenant_no = ? WHERE tenant_no = ?`),
  );
  const parentAlive = db
    .prepare('SELECT 1 FROM grants WHERE tenant_no = ? AND id = ? AND revoked_at IS NULL AND expires_at >= ?')
    .pluck();
  const active = db
    .prepare('SELECT 1 FROM principals WHERE tenant_no = ? AND class = ? AND id = ? AND disabled_at IS NULL')
    .pluck();
  const insertGrant = db.prepare(`
    INSERT INTO grants (tenant_no, id, parent_id, depth, subject_class, subject_id, actors, actor_class, actor_id,
      scopes, audience, issued_at, expires_at)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`);

  /** However a principal is disabled or taken out, what was granted to it or through it ends, and stays ended. */
  const endGrants = (no: TenantNo, { class: klass, id }: PrincipalRef, at: number): number => {
    let alive = 0;
    for (const wasAlive of revokeOf.iterate({ no, class: klass, id, at })) alive += wasAlive;
    return alive;
  };

  const stateOf = (no: TenantNo, { class: klass, id }: PrincipalRef): PrincipalState | undefined => {
    const row = stored.get(no, klass, id);
    return row && told(row);
  };

  const put = (
    no: TenantNo,
    rows: readonly PrincipalRow[],
    source: string,
    at: number,
  ): PrincipalChange[] => {
    const changes: PrincipalChange[] = [];
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
      if (row.disabled) endGrants(no, row, at);
      const after = stateOf(no, row);
      const principal = { class: row.class, id: row.id };
      if (JSON.stringify(before) !== JSON.stringify(after)) changes.push({ principal, before, after });
    }
    return changes;
  };

  return {
    putTenant: ({ id }) => {
      const known = tenantByName.get(id);
      if (known) return { no: checkTenantNo(known.no), manifestHash: known.manifest_hash };
      return { no: checkTenantNo(Number(insertTenant.run(id).lastInsertRowid)), manifestHash: '' };
    },
    putManifest: ({ tenantNo, hash, principals, at }) => {
      const names = JSON.stringify(principals.map((row) => `${row.class}:${row.id}`));
      const changes: PrincipalChange[] = [];
      for (const { class: klass, id, ...row } of dropStale.all(tenantNo, names)) {
        const principal = { class: klass, id };
        endGrants(tenantNo, principal, at);
        changes.push({ principal, before: told(row), after: undefined });
      }
      setHash.run(hash, tenantNo);
      return summed(principals.length, [...changes, ...put(tenantNo, principals, 'manifest', at)]);
    },
    putPrincipals: ({ tenantNo, principals, at }) =>
      summed(principals.length, put(tenantNo, principals, 'api', at)),
    setStatus: ({ tenantNo, class: klass, id, disabled, at }) => {
      if (setDisabled.run(disabled ? at : null, tenantNo, klass, id).changes === 0) return undefined;
      return disabled ? endGrants(tenantNo, { class: klass, id }, at) : 0;
    },
    putKey: ({ tenantNo, key }) =>
      insertKey.run(tenantNo, key.kid, key.alg, key.publicJwk, key.sealed, key.createdAt).changes === 1,
    putLogKey: ({ tenantNo, key: { origin, publicKey, sealed, createdAt }, note }) => {
      if (insertLogKey.run(tenantNo, origin, publicKey, sealed, createdAt).changes !== 1) return undefined;
      insertCheckpoint.run(tenantNo, note);
      return true;
    },
    closeLog: ({ fault }) => {
      if (fault.tenantNo !== undefined) log.close(fault.tenantNo, fault);
      return true;
    },
    grownLogs: ({ limit }) => log.grown(limit),
    putCheckpoint: ({ tenantNo, size, note }) => {
      log.stated(tenantNo, size);
      return putCheckpoint.run(tenantNo, size, note).changes === 1 || undefined;
    },
    putCursors: ({ sink, cursors }) => {
      for (const { tenantNo, next } of cursors) putCursor.run(sink, tenantNo, next);
      return cursors.length;
    },
    putCosigned: ({ tenantNo, size, note, at }) =>
      putCosigned.run(tenantNo, size, note, at).changes === 1 || undefined,
    damagedLog: ({ id }) => {
      const known = tenantByName.get(id);
      if (!known) return undefined;
      const damage = log.damageIn(checkTenantNo(known.no));
      if (damage === undefined) return 'whole';
      return {
        no: checkTenantNo((lastNo.get() ?? 0) + 1),
        old: known.no as TenantNo,
        setAside: `${id}${SET_ASIDE}${named.get(id, `${id}${SET_ASIDE}%`)}`,
        damage,
        checkpoint: checkpointOf.get(known.no) ?? '',
      };
    },
    restartLog: ({ id, log: { no, old, setAside } }) => {
      rename.run(setAside, old);
      insertAs.run(no, id);
      for (const move of moved) move.run(no, old);
      return true;
    },
    insertGrant: ({ tenantNo, grant }) => {
      if (grant.parentId && !parentAlive.get(tenantNo, grant.parentId, grant.expiresAt)) return undefined;
      for (const principal of [grant.subject, ...grant.actors])
        if (!active.get(tenantNo, principal.class, principal.id)) return undefined;
      const [actor] = grant.actors;
      insertGrant.run(
        tenantNo,
        grant.id,
        grant.parentId,
        grant.depth,
        grant.subject.class,
        grant.subject.id,
        JSON.stringify(grant.actors),
        actor?.class ?? '',
        actor?.id ?? '',
        JSON.stringify(grant.scopes),
        grant.audience,
        grant.issuedAt,
        grant.expiresAt,
      );
      return true;
    },
    revokeGrant: ({ tenantNo, id, at }) => revokeTree.run({ no: tenantNo, id, at }).changes || undefined,
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

const summed = (written: number, changes: readonly PrincipalChange[]): PrincipalChanges => ({
  written,
  changed: changes.length,
  told: changes.slice(0, MOST_TOLD),
});
