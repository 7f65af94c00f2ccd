import { ServiceError } from '../../errors.ts';

/** How much may wait, of all and of one address. */
interface Most {
  readonly all: number;
  readonly each?: number;
}

interface Sent {
  readonly whom: string;
  readonly weight: number;
}

/**
 * What a thread has sent to main and main has not taken up yet, in KiB. Messages between threads wait without bound: so who
 * sends looks first how much does, and a flood is refused where it comes in.
 */
export class Backlog {
  readonly shared: SharedArrayBuffer;
  readonly #taken: Int32Array;
  #sent = 0;
  /** In their order, from `#first` on; how much came before that; and how much of the rest is whose. */
  readonly #queue: Sent[] = [];
  #first = 0;
  #before = 0;
  readonly #of = new Map<string, number>();

  constructor(shared = new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT)) {
    this.shared = shared;
    this.#taken = new Int32Array(shared);
  }

  /** Both counts may go round: their difference does not. */
  get waiting(): number {
    return (this.#sent - Atomics.load(this.#taken, 0)) | 0;
  }

  /** The thread is about to send something of that weight, of an address or of nobody's. Throws `resource_exhausted`. */
  send(weight: number, { all, each = all }: Most, whom = ''): void {
    this.#settle();
    const own = this.#of.get(whom) ?? 0;
    if (this.waiting >= all || own >= each)
      throw new ServiceError('resource_exhausted', 'too much waits to be served', { retryAfterMs: RETRY_MS });
    this.#sent = (this.#sent + weight) | 0;
    this.#queue.push({ whom, weight });
    this.#of.set(whom, own + weight);
  }

  /** Main has taken it up. */
  take(weight: number): void {
    Atomics.add(this.#taken, 0, weight);
  }

  /** Main takes up nearly in the order of sending; what counts for an address is right whenever nothing waits. */
  #settle(): void {
    let left = (Atomics.load(this.#taken, 0) - this.#before) | 0;
    for (let next = this.#queue[this.#first]; next && next.weight <= left; next = this.#queue[this.#first]) {
      left -= next.weight;
      this.#before = (this.#before + next.weight) | 0;
      this.#first += 1;
      const own = (this.#of.get(next.whom) ?? 0) - next.weight;
      if (own > 0) this.#of.set(next.whom, own);
      else this.#of.delete(next.whom);
    }
    if (this.#first < KEPT && this.#first < this.#queue.length) return;
    this.#queue.splice(0, this.#first);
    this.#first = 0;
  }
}

/** How many of those that were taken up are kept until they are dropped together. */
const KEPT = 1_024;

/**
 * For calls of callers who are known; and for whatever else may be anybody's, so that those have room beside it and no
 * address keeps the others out.
 */
export const MOST_WAITING = {
  known: { all: 16 * 1_024 },
  anybody: { all: 8 * 1_024, each: 2 * 1_024 },
} as const satisfies Record<string, Most>;

const RETRY_MS = 200;

/** In KiB; what is small has a weight, too. Both ends find the same. */
export const weightOf = (...parts: readonly { readonly length: number }[]): number =>
  1 + (parts.reduce((sum, { length }) => sum + length, 0) >>> 10);

/** What is long in a request: its address and its headers. */
export function* partsOf(request: {
  readonly url: string;
  readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>;
}): Generator<string> {
  yield request.url;
  for (const [name, value = ''] of Object.entries(request.headers)) {
    yield name;
    if (typeof value === 'string') yield value;
    else yield* value;
  }
}
