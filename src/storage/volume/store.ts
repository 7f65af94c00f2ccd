import type { Connection } from '../database.ts';
import { Heads } from '../log/heads.ts';
import { recordId, recordIndex, recordTenant, type TenantNo } from '../rows.ts';
import { VOLUME_COLUMNS, type VolumeRow } from './volumes.ts';

/** Why nothing of a log is removed. */
export interface HoldRow {
  readonly reason: string;
  /** Who put it, as records name callers. */
  readonly caller: string;
  /** Milliseconds since the epoch. */
  readonly at: number;
}

/** A log's records that are in no volume yet. */
export interface Loose {
  /** The index of the first. */
  readonly first: number;
  /** Its time, in milliseconds since the epoch. */
  readonly firstTime: number;
  /** How many records the log has, by its count. */
  readonly size: number;
  /** Of bodies, roughly: with what they have in common. */
  readonly bytes: number;
}

/** What is known of volumes. Throws `unavailable` where the store cannot be read. */
export interface VolumeStore {
  list(no: TenantNo): VolumeRow[];
  /** Of all logs. */
  all(): VolumeRow[];
  /** How many records a log has, by its count. */
  size(no: TenantNo): number;
  hold(no: TenantNo): HoldRow | undefined;
  /** Undefined where there are none. */
  loose(no: TenantNo): Loose | undefined;
}

export function volumeStore(db: Connection): VolumeStore {
  const list = db.prepare<[number, number], VolumeRow>(
    `SELECT ${VOLUME_COLUMNS} FROM volumes WHERE id >= ? AND id < ? ORDER BY id`,
  );
  const hold = db.prepare<[number], HoldRow>('SELECT reason, caller, at FROM holds WHERE tenant_no = ?');
  const counted = db.prepare<[number], { size: number; bytes: number }>(
    'SELECT size, bytes FROM logs WHERE tenant_no = ?',
  );
  const ends = db.prepare<[number, number], { endId: number | null; here: number | null }>(
    `SELECT max(end_id) AS endId, sum(CASE state WHEN 'here' THEN bytes ELSE 0 END) AS here
     FROM volumes WHERE id >= ? AND id < ?`,
  );
  const run = db.prepare<[number, number], { id: number; heads: Uint8Array }>(
    'SELECT id, heads FROM runs WHERE id >= ? AND id < ? ORDER BY id LIMIT 1',
  );
  const range = (no: TenantNo): [number, number] => [recordId(no, 0), recordId((no + 1) as TenantNo, 0)];
  return {
    list: (no) => list.all(...range(no)),
    all: () => list.all(0, Number.MAX_SAFE_INTEGER),
    size: (no) => counted.get(no)?.size ?? 0,
    hold: (no) => hold.get(no),
    loose(no) {
      const { size, bytes } = counted.get(no) ?? { size: 0, bytes: 0 };
      const { endId, here } = ends.get(...range(no)) ?? {};
      const firstId = endId ?? recordId(no, 0);
      if (recordIndex(firstId) >= size) return undefined;
      const row = run.get(firstId, recordId(recordTenant(firstId), size));
      if (!row) return undefined;
      const firstTime = Heads.stored(row.heads).time(0);
      return { first: recordIndex(firstId), firstTime, size, bytes: bytes - (here ?? 0) };
    },
  };
}
