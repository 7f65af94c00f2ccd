import type { Counted } from '../../storage/usage.ts';

/** A window is counted in so many spans, so that it is longer by one of them at most, and never shorter. */
const SPANS = 60;

/** So many are kept of one that is never idle: each decision that meets it goes through them all. */
const MOST_SPANS = 2 * SPANS;

/** How long the spans of a window are, in milliseconds. */
export const spanOf = (windowMs: number): number => Math.ceil(windowMs / SPANS);

/** When the span begins that a moment is in; 0 where there is no window. */
export const beginning = (now: number, windowMs: number | undefined): number =>
  windowMs === undefined ? 0 : Math.floor(now / spanOf(windowMs)) * spanOf(windowMs);

/** What counts at a moment is in spans that begin then or later: also what a clock that was set back has counted. */
export const oldest = (now: number, windowMs: number | undefined): number =>
  windowMs === undefined ? 0 : beginning(now - windowMs, windowMs);

/** From when on nobody asks for a span: a clock that is set back by a window finds it still. */
export const endOfSpan = (since: number, windowMs: number): number =>
  since + 2 * (windowMs + spanOf(windowMs));

/**
 * One count, with what is on its way into the store: nothing is allowed twice because the first is not durable yet. In
 * millionths, as whole numbers.
 */
export class Counter {
  readonly #spans = new Map<number, number>();
  /** How many counts are on their way. */
  pending = 0;
  /** How many were not answered: whether they are in the store is not known, and they count until it is. */
  doubts = 0;
  /** What others had counted when it was read; see `Meters.counted`. */
  generation = 0;
  /** Once nothing is on its way it is to be read anew. */
  isStale = false;

  #from: number;

  /** `stored` is what the store has from `from` on. */
  constructor(stored: readonly Counted[], from: number) {
    this.#from = from;
    for (const { since, amount } of stored) this.add(since, amount);
  }

  get isIdle(): boolean {
    return this.pending === 0 && this.doubts === 0;
  }

  add(since: number, amount: number): void {
    this.#spans.set(since, (this.#spans.get(since) ?? 0) + amount);
  }

  /** What was added and came to nothing. A span that was given up meanwhile does not begin anew by it. */
  takeBack(since: number, amount: number): void {
    if (this.#spans.has(since)) this.add(since, -amount);
  }

  total(from: number): number {
    let sum = 0;
    for (const [since, amount] of this.#spans) {
      if (since >= from) sum += amount;
      else if (this.isIdle || this.#spans.size > MOST_SPANS) this.#drop(since, from);
    }
    return sum;
  }

  /** Whether it has all from then on: a clock that was set back, or a longer window, asks for what is only in the store. */
  has(from: number): boolean {
    return from >= this.#from;
  }

  /** From then on it has what the store has, of what it had given up. Never less than what it has itself. */
  reach(from: number, stored: readonly Counted[]): void {
    for (const { since, amount } of stored)
      if (since < this.#from) this.#spans.set(since, Math.max(amount, this.#spans.get(since) ?? 0));
    this.#from = from;
  }

  #drop(since: number, from: number): void {
    this.#spans.delete(since);
    this.#from = from;
  }
}
