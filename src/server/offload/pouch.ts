const LEAST_ENTRIES = 16;
const LEAST_BYTES = 2 * 1024;

/** Numbers that go with each message. */
const FIELDS = 4;

/** Messages on their way to another thread: two buffers that change hands, instead of an object and a copy for each. */
export interface PouchBytes {
  /** FIELDS a message, the last one where it ends among the bytes. */
  readonly fields: Int32Array<ArrayBuffer>;
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly count: number;
}

/** Gathers messages with three numbers each. */
export class Pouch {
  #fields = new Int32Array(LEAST_ENTRIES * FIELDS);
  #bytes = new Uint8Array(LEAST_BYTES);
  #count = 0;
  #end = 0;

  get count(): number {
    return this.#count;
  }

  add(first: number, second: number, third: number, message: Uint8Array): void {
    const end = this.#end + message.length;
    if (end > this.#bytes.length)
      this.#bytes = grown(new Uint8Array(Math.max(this.#bytes.length * 2, end)), this.#bytes);
    if ((this.#count + 1) * FIELDS > this.#fields.length)
      this.#fields = grown(new Int32Array(this.#fields.length * 2), this.#fields);
    this.#bytes.set(message, this.#end);
    const at = this.#count * FIELDS;
    this.#fields[at] = first;
    this.#fields[at + 1] = second;
    this.#fields[at + 2] = third;
    this.#fields[at + 3] = end;
    this.#end = end;
    this.#count += 1;
  }

  /** Gives what was gathered away and begins anew. */
  take(): PouchBytes {
    const taken = { fields: this.#fields, bytes: this.#bytes, count: this.#count };
    // As large as this one had to be: large buffers for a few messages would mostly be made to be cleared.
    this.#fields = new Int32Array(Math.max(LEAST_ENTRIES, this.#count) * FIELDS);
    this.#bytes = new Uint8Array(Math.max(LEAST_BYTES, this.#end));
    this.#count = 0;
    this.#end = 0;
    return taken;
  }
}

/** What must be handed over with a pouch. */
export const buffersOf = ({ fields, bytes }: PouchBytes): ArrayBuffer[] => [fields.buffer, bytes.buffer];

type Use = (first: number, second: number, third: number, message: Uint8Array) => void;

/** Calls `use` with each message, a view of the pouch's bytes. */
export function unpack(pouch: PouchBytes, use: Use): void {
  new Unpacking(pouch).next(pouch.count, use);
}

/** A pouch that is emptied in steps. */
export class Unpacking {
  readonly #pouch: PouchBytes;
  #at = 0;
  #start = 0;

  constructor(pouch: PouchBytes) {
    this.#pouch = pouch;
  }

  get done(): boolean {
    return this.#at >= this.#pouch.count;
  }

  /** Calls `use` with the next messages, at most `limit`; answers how many there were. */
  next(limit: number, use: Use): number {
    const { fields, bytes, count } = this.#pouch;
    const from = this.#at;
    const to = Math.min(count, from + limit);
    for (; this.#at < to; this.#at += 1) {
      const at = this.#at * FIELDS;
      const end = fields[at + 3] ?? 0;
      use(fields[at] ?? 0, fields[at + 1] ?? 0, fields[at + 2] ?? 0, bytes.subarray(this.#start, end));
      this.#start = end;
    }
    return to - from;
  }
}

function grown<T extends Int32Array | Uint8Array>(larger: T, smaller: T): T {
  larger.set(smaller);
  return larger;
}
