/**
 * What was read of the store and holds until something ends there, in two generations: once the younger has half of the
 * bytes, the older goes. What is known by another number than the one asked by is gone with all the rest.
 */
export class Kept<Value> {
  readonly #most: number;
  #young = new Map<string, Value>();
  #old = new Map<string, Value>();
  #bytes = 0;
  #ends = Number.NaN;

  constructor(bytes: number) {
    this.#most = bytes / 2;
  }

  /** `ends` is the number of `Pulse.ends` as it is now. */
  get(name: string, ends: number): Value | undefined {
    if (ends !== this.#ends) this.#clear(ends);
    return this.#young.get(name) ?? this.#old.get(name);
  }

  /** `ends` is the number from before the value was read. */
  set(name: string, value: Value, bytes: number, ends: number): void {
    if (ends !== this.#ends) return;
    if (this.#bytes + bytes > this.#most) {
      this.#old = this.#young;
      this.#young = new Map();
      this.#bytes = 0;
    }
    this.#young.set(name, value);
    this.#bytes += bytes;
  }

  #clear(ends: number): void {
    this.#young = new Map();
    this.#old = new Map();
    this.#bytes = 0;
    this.#ends = ends;
  }
}
