import { setImmediate as nextTurn } from 'node:timers/promises';
import { ServiceError } from '../errors.ts';
import type { Outcome } from '../verdict.ts';

/** AuthZEN 1.0, evaluations_semantic. */
export type BatchSemantic = 'execute_all' | 'deny_on_first_deny' | 'permit_on_first_permit';

/** After which outcome a batch goes no further. */
export const stopsAt = {
  execute_all: () => false,
  deny_on_first_deny: (outcome) => outcome !== 'allow',
  permit_on_first_permit: (outcome) => outcome === 'allow',
} as const satisfies Record<BatchSemantic, (outcome: Outcome) => boolean>;

/** How many items are decided before others get their turn, and for how much fuel: a millisecond's worth. */
const SLICE_ITEMS = 100;
const SLICE_FUEL = 4_000_000;

/** Lets others in between the slices of a long batch: it may not hold the thread for more than a few milliseconds. */
export class Pace {
  readonly #isOver: () => boolean;
  #items = 0;
  #spent = 0;

  /** `isOver` says whether nobody waits for the batch any more. */
  constructor(isOver: () => boolean) {
    this.#isOver = isOver;
  }

  get isDue(): boolean {
    return this.#items >= SLICE_ITEMS || this.#spent >= SLICE_FUEL;
  }

  decided(cost: number): void {
    this.#items += 1;
    this.#spent += cost;
  }

  /** Rejects with `deadline_exceeded` once it is over. */
  async pause(): Promise<void> {
    await nextTurn();
    if (this.#isOver()) throw new ServiceError('deadline_exceeded', 'the caller waits no longer');
    this.#items = 0;
    this.#spent = 0;
  }
}
