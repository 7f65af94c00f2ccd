import type { Connection } from '../database.ts';
import { Heads } from './heads.ts';
import { SEGMENT_RECORDS, type Segment, sealSegment, sumOf } from './segments.ts';

/** Seals the segment that begins with a row id, from the heads of its runs. One with damage is left to be searched whole. */
export function segmentSealer(db: Connection): (startId: number) => void {
  const runsOf = db.prepare<[number, number], { id: number; heads: Uint8Array }>(
    'SELECT id, heads FROM runs WHERE id >= ? AND id < ? ORDER BY id',
  );
  const principals = db.prepare('INSERT INTO segments (id, principals) VALUES (?, ?) ON CONFLICT DO NOTHING');
  const decisions = db.prepare('INSERT INTO decisions (id, keys) VALUES (?, ?)');
  const span = db.prepare(
    'INSERT INTO spans (id, first_time, last_time, principals_sum, decisions_sum, has_names, revisions) VALUES (?, ?, ?, ?, ?, ?, ?)',
  );
  const sumsOf = ({ principals: by, decisions: keys }: Segment): [number, number] => [
    sumOf(by),
    keys ? sumOf(keys) : 0,
  ];
  return (startId) => {
    const runs = runsOf
      .all(startId, startId + SEGMENT_RECORDS)
      .map(({ id, heads }) => ({ id, heads: Heads.stored(heads) }));
    const count = runs.reduce((sum, { heads }) => sum + heads.capacity, 0);
    if (count !== SEGMENT_RECORDS || runs.some(({ id, heads }) => !heads.isSound(id))) return;
    const segment = sealSegment(runs.map(({ heads }) => heads));
    principals.run(startId, segment.principals);
    if (segment.decisions) decisions.run(startId, segment.decisions);
    span.run(
      startId,
      segment.firstTime,
      segment.lastTime,
      ...sumsOf(segment),
      segment.names,
      segment.revisions,
    );
  };
}
