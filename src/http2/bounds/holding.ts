import type { Budget } from './limits.ts';

/** The budget is asked for so much at a time. */
const STEP_BYTES = 16 * 1024;

/** What one connection makes us hold: of requests that are not read, and of answers that are not taken. */
export class Holding {
  readonly #budget: Budget;
  readonly #max: number;
  #held = 0;
  #taken = 0;
  #isReleased = false;

  constructor(budget: Budget, max: number) {
    this.#budget = budget;
    this.#max = max;
  }

  /** More, or less; false where it is too much, and then it is as before. */
  change(bytes: number): boolean {
    if (this.#isReleased) return true;
    const held = this.#held + bytes;
    if (bytes > 0 && held > this.#max) return false;
    const wanted = Math.ceil(held / STEP_BYTES) * STEP_BYTES;
    if (wanted > this.#taken && !this.#budget.tryTake(wanted - this.#taken)) return false;
    // What goes up and down by a little is not given back each time.
    if (wanted > this.#taken || this.#taken - wanted > 4 * STEP_BYTES || held === 0) {
      if (wanted < this.#taken) this.#budget.giveBack(this.#taken - wanted);
      this.#taken = wanted;
    }
    this.#held = held;
    return true;
  }

  release(): void {
    if (this.#taken > 0) this.#budget.giveBack(this.#taken);
    this.#taken = 0;
    this.#held = 0;
    this.#isReleased = true;
  }
}
