import type { StoreFault } from '../faults.ts';
import { recordIndex, recordTenant } from '../rows.ts';
import { damagedRecords } from './damage.ts';
import { Heads } from './heads.ts';

export interface RunRow {
  readonly id: number;
  readonly heads: Uint8Array;
  readonly bodies: Uint8Array;
}

/** Records that are damaged one after the other, told as one. */
export class Damages {
  readonly #tell: (fault: StoreFault) => void;
  #from = 0;
  #end = 0;

  constructor(tell: (fault: StoreFault) => void) {
    this.#tell = tell;
  }

  /** By row ids of records, the last one excluded. */
  add(from: number, end: number): void {
    if (from !== this.#end || recordIndex(from) === 0) this.flush();
    if (this.#end === 0) this.#from = from;
    this.#end = end;
  }

  flush(): void {
    if (this.#end === 0) return;
    const first = recordIndex(this.#from);
    this.#tell(damagedRecords(recordTenant(this.#from), first, first + this.#end - this.#from));
    this.#end = 0;
  }
}

/**
 * Looks whether a run is what was written, every record of it, and stands where the one before it ends. Answers the row
 * id of the record after its last.
 */
export function lookAt({ id, heads: bytes, bodies }: RunRow, expectedId: number, damages: Damages): number {
  const heads = Heads.stored(bytes);
  const end = id + heads.capacity;
  if (id > expectedId) damages.add(expectedId, id);
  // One that stands within another, or holds nothing, was put there.
  if (id < expectedId || heads.capacity === 0) damages.add(id, Math.max(end, id + 1));
  else if (!heads.isSound(id)) damages.add(id, end);
  else
    for (let at = 0; at < heads.capacity; at += 1)
      if (!heads.isOf(at, bodies.subarray(heads.start(at), heads.end(at)))) damages.add(id + at, id + at + 1);
  return Math.max(end, expectedId);
}
