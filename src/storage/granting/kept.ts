import { Generations } from '../../generations.ts';

/**
 * What was read of the store and holds until something ends there. What is known by another number than the one asked by
 * is gone with all the rest.
 */
export class Kept<Value> {
  readonly #values: Generations<string, Value>;
  #ends = Number.NaN;

  constructor(bytes: number) {
    this.#values = new Generations(bytes);
  }

  /** `ends` is the number of `Pulse.ends` as it is now. */
  get(name: string, ends: number): Value | undefined {
    if (ends === this.#ends) return this.#values.get(name);
    this.#values.clear();
    this.#ends = ends;
    return undefined;
  }

  /** `ends` is the number from before the value was read. */
  set(name: string, value: Value, bytes: number, ends: number): void {
    if (ends === this.#ends) this.#values.set(name, value, bytes);
  }
}
