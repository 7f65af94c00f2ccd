/**
 * Keeps what came last, in two generations: once the younger has half of what may be kept, the older goes. To look
 * something up costs one or two look-ups of a map, and nothing is kept in order.
 */
export class Generations<Key, Value> {
  readonly #half: number;
  #young = new Map<Key, Value>();
  #old: ReadonlyMap<Key, Value> = new Map();
  #weight = 0;

  /** `most`: the sum of the weights of what is kept at a time. */
  constructor(most: number) {
    this.#half = most / 2;
  }

  get(key: Key): Value | undefined {
    return this.#young.get(key) ?? this.#old.get(key);
  }

  set(key: Key, value: Value, weight = 1): void {
    if (this.#weight + weight > this.#half) {
      this.#old = this.#young;
      this.#young = new Map();
      this.#weight = 0;
    }
    this.#young.set(key, value);
    this.#weight += weight;
  }

  clear(): void {
    this.#young = new Map();
    this.#old = new Map();
    this.#weight = 0;
  }
}
