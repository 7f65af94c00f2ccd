import { RUN_RECORDS, recordIndex } from '../rows.ts';
import { Heads } from './heads.ts';

/** Records that stand side by side among those they came with, from one place to before another. */
export interface Piece {
  readonly heads: Heads;
  readonly bodies: Uint8Array;
  readonly from: number;
  to: number;
}

/** Records that follow each other in one log, as they are stored: none of them beyond a multiple of RUN_RECORDS. */
export interface LaidRun {
  /** Row id of the first. */
  readonly id: number;
  readonly heads: Heads;
  readonly bodies: Uint8Array;
}

/** Heads in a row, bodies in a row, and each head says where its body now ends. */
export function laidOut(id: number, pieces: readonly Piece[]): LaidRun {
  const heads = Heads.run(pieces);
  let [place, size] = [0, 0];
  for (const { heads: from, from: first, to } of pieces) {
    const shift = size - from.start(first);
    for (let at = first; at < to; at += 1) heads.lay(place++, from.end(at) + shift);
    size = from.end(to - 1) + shift;
  }
  heads.seal(id);
  const parts = pieces.map((piece) =>
    piece.bodies.subarray(piece.heads.start(piece.from), piece.heads.end(piece.to - 1)),
  );
  // Those of a tenant that is alone in the commit are not copied.
  return { id, heads, bodies: parts.length === 1 && parts[0] ? parts[0] : Buffer.concat(parts) };
}

/** Runs that follow each other within one tile, as one. */
export function joined(runs: readonly LaidRun[]): LaidRun {
  const [first, ...more] = runs;
  if (!first) throw new Error('nothing is no run');
  if (more.length === 0) return first;
  return laidOut(
    first.id,
    runs.map(({ heads, bodies }) => ({ heads, bodies, from: 0, to: heads.capacity })),
  );
}

export const endOf = ({ id, heads }: LaidRun): number => id + heads.capacity;

export const tileOf = (index: number): number => Math.floor(index / RUN_RECORDS);

/** Whether a tile of its log ends with it. */
export const endsTile = (run: LaidRun): boolean => recordIndex(endOf(run)) % RUN_RECORDS === 0;

/** Those of each tile together. */
export function byTile(runs: readonly LaidRun[]): LaidRun[][] {
  const tiles: LaidRun[][] = [];
  let current: number | undefined;
  for (const run of runs) {
    const tile = tileOf(recordIndex(run.id));
    if (tile === current) tiles.at(-1)?.push(run);
    else tiles.push([run]);
    current = tile;
  }
  return tiles;
}
