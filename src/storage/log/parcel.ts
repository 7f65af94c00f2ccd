import { type Hash, leafHash } from '../../merkle/hashes.ts';
import type { RecordFinder, RecordRow } from '../rows.ts';
import { Heads } from './heads.ts';

const INITIAL_RECORDS = 256;
const INITIAL_BYTES = 128 * 1024;
/** Buffers that a burst has made larger than this are not kept. */
const KEPT_BYTES = 4 * 1024 * 1024;
const KEPT_PARCELS = 8;

/** Records as bytes that change hands: cloning objects and strings for another thread costs more than inserting them. */
export interface ParcelBytes {
  readonly heads: ArrayBuffer;
  readonly bodies: ArrayBuffer;
  readonly count: number;
}

/** Gathers records as bytes the moment they are made, so that nothing else of them has to be kept until the commit. */
export class Parcel {
  #headBytes: ArrayBuffer;
  #heads: Heads;
  #bodies: Buffer;
  #count = 0;
  #end = 0;

  constructor(bytes?: { readonly heads: ArrayBuffer; readonly bodies: ArrayBuffer }) {
    this.#headBytes = bytes?.heads ?? new ArrayBuffer(Heads.sizeOf(INITIAL_RECORDS));
    this.#heads = Heads.carried(new Uint8Array(this.#headBytes));
    this.#bodies = bytes ? Buffer.from(bytes.bodies) : Buffer.allocUnsafeSlow(INITIAL_BYTES);
  }

  get count(): number {
    return this.#count;
  }

  add(row: RecordRow): void {
    const { body } = row;
    // No UTF-16 unit takes more than three bytes.
    this.#makeRoom(body.length * 3);
    const start = this.#end;
    this.#end += this.#bodies.write(body, start, 'utf8');
    this.#put(row, leafHash(this.#bodies.subarray(start, this.#end)));
  }

  /** The same of a record that is bytes already, with their hash as a leaf. */
  addHashed(finder: RecordFinder, body: Uint8Array, leaf: Hash): void {
    this.#makeRoom(body.length);
    this.#bodies.set(body, this.#end);
    this.#end += body.length;
    this.#put(finder, leaf);
  }

  #put(
    { time, tenantNo, subject, actor, kind, outcome, key, caller, names }: RecordFinder,
    leaf: Hash,
  ): void {
    if (this.#count === this.#heads.capacity) this.#growHeads();
    this.#heads.put(this.#count, time, tenantNo, this.#end, subject, actor, kind, outcome, key, caller);
    this.#heads.putNames(this.#count, names);
    this.#heads.putLeaf(this.#count, leaf);
    this.#count += 1;
  }

  /** Gives the bytes away; the parcel is not used again. */
  seal(): ParcelBytes {
    return { heads: this.#headBytes, bodies: this.#bodies.buffer as ArrayBuffer, count: this.#count };
  }

  #makeRoom(needed: number): void {
    if (this.#end + needed > this.#bodies.length) this.#growBodies(needed);
  }

  #growBodies(needed: number): void {
    const larger = Buffer.allocUnsafeSlow(Math.max(this.#bodies.length * 2, this.#end + needed));
    this.#bodies.copy(larger, 0, 0, this.#end);
    this.#bodies = larger;
  }

  #growHeads(): void {
    const before = this.#heads;
    const { capacity } = before;
    this.#headBytes = new ArrayBuffer(Heads.sizeOf(capacity * 2));
    this.#heads = Heads.carried(new Uint8Array(this.#headBytes));
    before.copyTo(this.#heads);
  }
}

/** Makes parcels, of buffers that came back where there are any: memory the collector need not look for. */
export class Parcels {
  readonly #spare: ParcelBytes[] = [];

  make(): Parcel {
    return new Parcel(this.#spare.pop());
  }

  giveBack(bytes: ParcelBytes): void {
    if (this.#spare.length < KEPT_PARCELS && bytes.bodies.byteLength <= KEPT_BYTES) this.#spare.push(bytes);
  }
}
