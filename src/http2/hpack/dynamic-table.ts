/** RFC 7541 section 4.1: what an entry counts for beside its name and value. */
const ENTRY_OVERHEAD = 32;

/** The peer's dynamic table (RFC 7541 section 2.3.2), a ring: an entry is put in and the oldest fall out, none is moved. */
export class DynamicTable {
  /** What this end allows the peer (SETTINGS_HEADER_TABLE_SIZE), in bytes. */
  readonly #allowed: number;
  #max: number;
  #size = 0;
  #count = 0;
  #newest = 0;
  /** Made with the first entry: most idle connections never have one. */
  #names: string[] = [];
  #values: string[] = [];
  #sound: boolean[] = [];
  readonly #mask: number;

  /** `allowed` is a power of two. */
  constructor(allowed: number) {
    this.#allowed = allowed;
    this.#max = allowed;
    this.#mask = allowed / ENTRY_OVERHEAD - 1;
  }

  get count(): number {
    return this.#count;
  }

  get size(): number {
    return this.#size;
  }

  /** The name of an entry, the newest being 0; there must be so many. */
  name(entry: number): string {
    return this.#names[(this.#newest - entry) & this.#mask] as string;
  }

  value(entry: number): string {
    return this.#values[(this.#newest - entry) & this.#mask] as string;
  }

  /** Whether it is a field as RFC 9113 section 8.2.1 has it: each use of one that is not makes another request malformed. */
  isSound(entry: number): boolean {
    return this.#sound[(this.#newest - entry) & this.#mask] as boolean;
  }

  /** RFC 7541 section 4.4: an entry larger than the table empties it, and is none. Lengths are bytes: text is Latin-1. */
  add(name: string, value: string, isSound: boolean): void {
    const size = name.length + value.length + ENTRY_OVERHEAD;
    this.#shrink(this.#max - size);
    if (size > this.#max) return;
    this.#newest = (this.#newest + 1) & this.#mask;
    this.#names[this.#newest] = name;
    this.#values[this.#newest] = value;
    this.#sound[this.#newest] = isSound;
    this.#count += 1;
    this.#size += size;
  }

  /** A size that the peer has chosen (section 6.3); false if it is more than allowed. */
  resize(max: number): boolean {
    if (max > this.#allowed) return false;
    this.#max = max;
    this.#shrink(max);
    return true;
  }

  #shrink(to: number): void {
    while (this.#size > to && this.#count > 0) {
      this.#count -= 1;
      const oldest = (this.#newest - this.#count) & this.#mask;
      this.#size -=
        (this.#names[oldest] as string).length + (this.#values[oldest] as string).length + ENTRY_OVERHEAD;
      // What has fallen out is kept by nobody: it may have been a credential.
      this.#names[oldest] = this.#values[oldest] = '';
    }
  }
}
