import { ServiceError } from '../../errors.ts';

/**
 * What a thread has sent to main and main has not taken up yet, in KiB. Messages between threads wait without bound: so who
 * sends looks first how much does, and a flood is refused where it comes in.
 */
export class Backlog {
  readonly shared: SharedArrayBuffer;
  readonly #taken: Int32Array;
  #sent = 0;

  constructor(shared = new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT)) {
    this.shared = shared;
    this.#taken = new Int32Array(shared);
  }

  /** Both counts may go round: their difference does not. */
  get waiting(): number {
    return (this.#sent - Atomics.load(this.#taken, 0)) | 0;
  }

  /** The thread is about to send something of that weight. `most`: how much may wait before. Throws `resource_exhausted`. */
  send(weight: number, most: number): void {
    if (this.waiting >= most)
      throw new ServiceError('resource_exhausted', 'too much waits to be served', { retryAfterMs: RETRY_MS });
    this.#sent = (this.#sent + weight) | 0;
  }

  /** Main has taken it up. */
  take(weight: number): void {
    Atomics.add(this.#taken, 0, weight);
  }
}

/** For calls of callers who are known; and for whatever else may be anybody's, so that those have room beside it. */
export const MOST_WAITING = { known: 16 * 1_024, anybody: 8 * 1_024 };

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
