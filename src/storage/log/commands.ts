import type { TenantId } from '../../ids.ts';
import type { Connection } from '../database.ts';
import type { StoreFault } from '../faults.ts';
import { checkTenantNo, type LogKeyRow, SET_ASIDE, type TenantNo } from '../rows.ts';
import type { GrownLog, LogAppender } from './appender.ts';

/** The commands that are about a log itself: its keys, checkpoints and readers, and what is done when it is damaged. */
export interface LogCommands {
  /** The key of a log's checkpoints, and the first of them; `undefined` where it has one, or another is called so. */
  readonly putLogKey: (args: { tenantNo: TenantNo; key: LogKeyRow; note: string }) => boolean | undefined;
  /** `undefined` where there is one. */
  readonly putMlDsaKey: (args: { tenantNo: TenantNo; key: Omit<LogKeyRow, 'origin'> }) => boolean | undefined;
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
}

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

/** The tables of a tenant that are not its log's: they go with it where its log begins anew under another number. */
export const MOVED_TABLES = [
  'principals',
  'owners',
  'credential_uses',
  'issuers',
  'once',
  'grants',
  'ends',
  'usage',
  'leases',
  'approvals',
  'approval_keys',
  'erasures',
  'keys',
  'revisions',
  'revision_files',
  'policy_files',
  'policies',
  'manifests',
  'versions',
  'received',
] as const;

export function prepareLogCommands(db: Connection, log: LogAppender): LogCommands {
  const numberOf = db.prepare<[string], TenantNo>('SELECT no FROM tenants WHERE id = ?').pluck();
  const insertAs = db.prepare(
    'INSERT INTO tenants (no, id, grants) VALUES (@no, @id, (SELECT grants FROM tenants WHERE no = @old))',
  );
  const lastNo = db.prepare<[], number>('SELECT max(no) FROM tenants').pluck();
  const insertLogKey = db.prepare(
    'INSERT INTO log_keys (tenant_no, origin, public, sealed, created_at) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING',
  );
  const insertMlDsaKey = db.prepare(
    'INSERT INTO ml_dsa_keys (tenant_no, public, sealed, created_at) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING',
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
  // What was ended stays so under the new number, and what is granted next counts on.
  const moved = MOVED_TABLES.map((table) =>
    db.prepare(`UPDATE ${table} SET tenant_no = ? WHERE tenant_no = ?`),
  );
  const forgetChanges = db.prepare<[object]>(
    'DELETE FROM changes WHERE id >= @old << 36 AND id < (@old + 1) << 36',
  );
  const restartChanges = db.prepare(
    'UPDATE versions SET oldest = version + 1, bytes = 0 WHERE tenant_no = ?',
  );
  return {
    putLogKey: ({ tenantNo, key: { origin, publicKey, sealed, createdAt }, note }) => {
      if (insertLogKey.run(tenantNo, origin, publicKey, sealed, createdAt).changes !== 1) return undefined;
      insertCheckpoint.run(tenantNo, note);
      return true;
    },
    putMlDsaKey: ({ tenantNo, key: { publicKey, sealed, createdAt } }) =>
      insertMlDsaKey.run(tenantNo, publicKey, sealed, createdAt).changes === 1 || undefined,
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
      const known = numberOf.get(id);
      if (known === undefined) return undefined;
      const damage = log.damageIn(known);
      if (damage === undefined) return 'whole';
      return {
        no: checkTenantNo((lastNo.get() ?? 0) + 1),
        old: known,
        setAside: `${id}${SET_ASIDE}${named.get(id, `${id}${SET_ASIDE}%`)}`,
        damage,
        checkpoint: checkpointOf.get(known) ?? '',
      };
    },
    restartLog: ({ id, log: { no, old, setAside } }) => {
      rename.run(setAside, old);
      insertAs.run({ no, id, old });
      for (const move of moved) move.run(no, old);
      // What was kept of its changes is under the old number: whoever follows begins with a copy.
      forgetChanges.run({ old });
      restartChanges.run(no);
      return true;
    },
  };
}
