import type { Connection } from '../database.ts';
import type { LogAppender } from '../log/appender.ts';
import { Heads } from '../log/heads.ts';
import { SEGMENT_RECORDS } from '../log/segments.ts';
import { recordId, recordIndex, recordTenant, type TenantNo } from '../rows.ts';
import type { MadeVolume } from './making.ts';
import type { VolumeRow } from './volumes.ts';

/** The commands that are about what stands in volumes. Files are made before, and taken away after. */
export interface VolumeCommands {
  /** A volume that is on the disk. `undefined` where the log is not as long, or another holds some of its records. */
  readonly putVolume: (args: { volume: MadeVolume; at: number }) => boolean | undefined;
  /** Takes out of so many runs what stands in volumes, or was removed. Answers whether there are more. */
  readonly clearRuns: (args: { runs: number }) => boolean;
  /**
   * A volume was archived, or is to be removed. `undefined` where it is not here any more, or may not be removed: its log
   * is held, or an older one is still here.
   */
  readonly endVolume: (args: {
    id: number;
    state: 'archived' | 'removed';
    place: string;
    at: number;
  }) => boolean | undefined;
  /** How many bytes a log takes now: the count in the store is a second behind. */
  readonly logBytes: (args: { tenantNo: TenantNo }) => number;
  /** Nothing of the log is removed until it is released. `undefined` where it is held already. */
  readonly putHold: (args: {
    tenantNo: TenantNo;
    reason: string;
    caller: string;
    at: number;
  }) => boolean | undefined;
  /** `undefined` where it is not held. */
  readonly dropHold: (args: { tenantNo: TenantNo }) => boolean | undefined;
}

export function prepareVolumeCommands(db: Connection, log: LogAppender): VolumeCommands {
  const insert = db.prepare(
    `INSERT INTO volumes (id, end_id, bytes, body_bytes, sha256, first_time, last_time, made_at, cleared_id)
     VALUES (@id, @endId, @bytes, @bodyBytes, @sha256, @firstTime, @lastTime, @at, @id)`,
  );
  const before = db
    .prepare<[number], number>('SELECT end_id FROM volumes WHERE id < ? ORDER BY id DESC LIMIT 1')
    .pluck();
  const counted = db.prepare<[number], number>('SELECT size FROM logs WHERE tenant_no = ?').pluck();
  const toClear = db.prepare<[], { id: number; endId: number; clearedId: number; state: string }>(
    `SELECT id, end_id AS endId, cleared_id AS clearedId, state FROM volumes INDEXED BY volumes_to_clear
     WHERE cleared_id < end_id LIMIT 1`,
  );
  const runs = db.prepare<[number, number, number], { id: number; heads: Uint8Array; bytes: number }>(
    'SELECT id, heads, length(bodies) AS bytes FROM runs WHERE id >= ? AND id < ? ORDER BY id LIMIT ?',
  );
  const clear = db.prepare("UPDATE runs SET bodies = x'' WHERE id = ?");
  const strip = db.prepare("UPDATE runs SET heads = ?, bodies = x'' WHERE id = ?");
  const cleared = db.prepare('UPDATE volumes SET cleared_id = ? WHERE id = ?');
  const known = db.prepare<[number], Pick<VolumeRow, 'id' | 'endId' | 'bytes' | 'state' | 'place'>>(
    'SELECT id, end_id AS endId, bytes, state, place FROM volumes WHERE id = ?',
  );
  const older = db
    .prepare<[number, number], number>(
      "SELECT count(*) FROM volumes WHERE id >= ? AND id < ? AND state <> 'removed'",
    )
    .pluck();
  const held = db.prepare<[number], number>('SELECT 1 FROM holds WHERE tenant_no = ?').pluck();
  const end = db.prepare(
    'UPDATE volumes SET state = ?, place = ?, state_at = ?, cleared_id = CASE ? WHEN 1 THEN id ELSE cleared_id END WHERE id = ?',
  );
  const dropParts = db
    .prepare<[number, number], number>(
      'DELETE FROM parts WHERE tenant_no = ? AND last_id < ? RETURNING length(CAST(body AS BLOB))',
    )
    .pluck();
  const dropIndexes = ['segments', 'decisions', 'spans'].map((table) =>
    db.prepare(`DELETE FROM ${table} WHERE id >= ? AND id <= ?`),
  );
  const insertHold = db.prepare(
    'INSERT INTO holds (tenant_no, reason, caller, at) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING',
  );
  const deleteHold = db.prepare('DELETE FROM holds WHERE tenant_no = ?');

  /** What finds records that are removed, and what they had in common. */
  const forget = (no: TenantNo, endId: number): void => {
    for (const drop of dropIndexes) drop.run(recordId(no, 0), endId - SEGMENT_RECORDS);
    const bytes = dropParts.all(no, endId).reduce((sum, each) => sum + each, 0);
    if (bytes > 0) log.adjust(no, -bytes);
  };

  return {
    putVolume: ({ volume, at }) => {
      const no = recordTenant(volume.id);
      if ((counted.get(no) ?? 0) < recordIndex(volume.endId)) return undefined;
      if ((before.get(volume.endId) ?? 0) > volume.id) return undefined;
      insert.run({ ...volume, at });
      log.adjust(no, volume.bytes);
      return true;
    },
    clearRuns: ({ runs: most }) => {
      const volume = toClear.get();
      if (!volume) return false;
      const { id: first, endId, clearedId, state } = volume;
      const found = runs.all(clearedId, endId, most);
      for (const { id, heads: stored } of found) {
        const heads = Heads.stored(stored);
        // What is damaged stays as it is: it is evidence.
        if (state === 'removed' && heads.isSound(id)) strip.run(heads.removed(id).all, id);
        else clear.run(id);
      }
      const bytes = found.reduce((sum, each) => sum + each.bytes, 0);
      if (bytes > 0) log.adjust(recordTenant(first), -bytes);
      cleared.run(found.length < most ? endId : (found.at(-1)?.id ?? 0) + 1, first);
      return true;
    },
    endVolume: ({ id, state, place, at }) => {
      const volume = known.get(id);
      if (!volume || volume.state === 'removed' || volume.state === state) return undefined;
      const no = recordTenant(id);
      const isRemoval = state === 'removed';
      if (isRemoval && (held.get(no) !== undefined || older.get(recordId(no, 0), id) !== 0)) return undefined;
      end.run(state, isRemoval ? volume.place : place, at, isRemoval ? 1 : 0, id);
      if (volume.state === 'here') log.adjust(no, -volume.bytes);
      if (isRemoval) forget(no, volume.endId);
      return true;
    },
    logBytes: ({ tenantNo }) => log.bytes(tenantNo),
    putHold: ({ tenantNo, reason, caller, at }) =>
      insertHold.run(tenantNo, reason, caller, at).changes === 1 || undefined,
    dropHold: ({ tenantNo }) => deleteHold.run(tenantNo).changes === 1 || undefined,
  };
}
