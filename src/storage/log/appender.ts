import type { Connection } from '../database.ts';
import { RUN_RECORDS, recordId, recordIndex, type TenantNo } from '../rows.ts';
import { HEAD_BYTES, Heads } from './heads.ts';
import { SEGMENT_RECORDS, sealSegment } from './segments.ts';

/** Records that stand side by side among those they came with, from one place to before another. */
interface Piece {
  readonly heads: Heads;
  readonly bodies: Uint8Array;
  readonly from: number;
  to: number;
}

/** What one transaction appends to one tenant's log. */
interface Run {
  readonly firstId: number;
  readonly pieces: Piece[];
}

/**
 * Appends records to the tenants' logs, each at the next index of its tenant. What one transaction appends to a log
 * is one row, a run: inserting a row a record costs more than everything else together. A run does not cross a
 * multiple of RUN_RECORDS.
 *
 * Where a log ends is read once and then counted on; after a failure it is read again, so that it is never guessed.
 */
export class LogAppender {
  readonly #ends = new Map<number, number>();
  readonly #runs = new Map<number, Run>();
  readonly #endOf: (no: TenantNo) => number;
  readonly #insert: (id: number, heads: Uint8Array, bodies: Uint8Array) => void;
  readonly #seal: (startId: number) => void;

  constructor(db: Connection) {
    const last = db.prepare<[number, number], { id: number; size: number }>(
      `SELECT id, length(heads) / ${HEAD_BYTES} AS size FROM runs WHERE id >= ? AND id < ? ORDER BY id DESC LIMIT 1`,
    );
    this.#endOf = (no) => {
      const first = recordId(no, 0);
      const run = last.get(first, recordId((no + 1) as TenantNo, 0));
      return run ? run.id + run.size : first;
    };
    const insert = db.prepare('INSERT INTO runs (id, heads, bodies) VALUES (?, ?, ?)');
    this.#insert = (id, heads, bodies) => void insert.run(id, heads, bodies);
    const headsOf = db
      .prepare<[number, number], Uint8Array>('SELECT heads FROM runs WHERE id >= ? AND id < ? ORDER BY id')
      .pluck();
    const insertSegment = db.prepare('INSERT INTO segments (id, principals) VALUES (?, ?)');
    this.#seal = (start) =>
      void insertSegment.run(start, sealSegment(headsOf.all(start, start + SEGMENT_RECORDS)));
  }

  /** Takes a record up; answers its index. It is in the transaction after `write`. */
  add(heads: Heads, at: number, bodies: Uint8Array): number {
    const no = heads.tenantNo(at) as TenantNo;
    const id = this.#ends.get(no) ?? this.#endOf(no);
    this.#ends.set(no, id + 1);
    const run = this.#runs.get(no);
    const last = run?.pieces.at(-1);
    if (last?.heads === heads && last.to === at) last.to += 1;
    else if (run) run.pieces.push({ heads, bodies, from: at, to: at + 1 });
    else this.#runs.set(no, { firstId: id, pieces: [{ heads, bodies, from: at, to: at + 1 }] });
    if ((id + 1) % RUN_RECORDS === 0) this.#finish(no, id + 1);
    return recordIndex(id);
  }

  /** Writes what was taken up. */
  write(): void {
    for (const no of this.#runs.keys()) this.#finish(no, 0);
  }

  /** After a transaction that did not commit. */
  forget(): void {
    this.#ends.clear();
    this.#runs.clear();
  }

  #finish(no: number, endId: number): void {
    const run = this.#runs.get(no);
    if (!run) return;
    this.#runs.delete(no);
    const { heads, bodies } = laidOut(run.pieces);
    this.#insert(run.firstId, heads, bodies);
    if (endId !== 0 && recordIndex(endId) % SEGMENT_RECORDS === 0) this.#seal(endId - SEGMENT_RECORDS);
  }
}

/** The bytes of a run: its heads in a row, its bodies in a row, and each head says where its body now ends. */
function laidOut(pieces: readonly Piece[]): { heads: Uint8Array; bodies: Uint8Array } {
  const heads = Buffer.concat(pieces.map((piece) => piece.heads.bytes(piece.from, piece.to)));
  const laid = new Heads(heads);
  let [place, size] = [0, 0];
  for (const { heads: from, from: first, to } of pieces) {
    const shift = size - from.start(first);
    for (let at = first; at < to; at += 1) laid.setEnd(place++, from.end(at) + shift);
    size = from.end(to - 1) + shift;
  }
  const parts = pieces.map((piece) =>
    piece.bodies.subarray(piece.heads.start(piece.from), piece.heads.end(piece.to - 1)),
  );
  // Those of a tenant that is alone in the commit are not copied.
  return { heads, bodies: parts.length === 1 && parts[0] ? parts[0] : Buffer.concat(parts) };
}
