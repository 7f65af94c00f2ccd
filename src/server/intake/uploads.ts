import { ServiceError } from '../../errors.ts';
import type { NodeRequest } from '../http/exchange.ts';

/** How long a request may take to come to its end: between this and twice this. */
const ROUND_MS = 15_000;

/**
 * Requests that have begun and not come to their end. Whoever stalls is given up, without a timer for each: what has
 * not ended when the second round after its begin is over was too slow.
 */
export class Uploads {
  readonly #roundMs: number;
  #young = new Map<object, () => void>();
  #old = new Map<object, () => void>();
  #rounds: NodeJS.Timeout | undefined;

  constructor(roundMs = ROUND_MS) {
    this.#roundMs = roundMs;
  }

  get open(): number {
    return this.#young.size + this.#old.size;
  }

  /** `late` is called once, unless `end` is called with the same key before. */
  begin(key: object, late: () => void): void {
    this.#young.set(key, late);
    this.#rounds ??= setInterval(() => this.#turn(), this.#roundMs).unref();
  }

  end(key: object): void {
    if (!this.#young.delete(key)) this.#old.delete(key);
  }

  #turn(): void {
    const late = this.#old;
    this.#old = this.#young;
    this.#young = new Map();
    for (const giveUp of late.values()) giveUp();
    if (this.open > 0) return;
    clearInterval(this.#rounds);
    this.#rounds = undefined;
  }
}

/** Waits for the chunks of a request, but not for as long as somebody likes to take. */
export class Upload {
  readonly #request: NodeRequest;
  readonly #chunks: AsyncIterator<Uint8Array>;
  readonly #uploads: Uploads;
  #late: ServiceError | undefined;
  #giveUp: ((late: ServiceError) => void) | undefined;

  constructor(request: NodeRequest, uploads: Uploads) {
    this.#request = request;
    // Leaving it must not destroy the request: a refusal goes out on the same connection.
    this.#chunks = request.iterator({ destroyOnReturn: false });
    this.#uploads = uploads;
  }

  begin(): void {
    this.#uploads.begin(this, () => {
      this.#late = new ServiceError('deadline_exceeded', 'the request did not come to its end in time');
      this.#giveUp?.(this.#late);
    });
  }

  end(): void {
    this.#uploads.end(this);
  }

  /** Undefined at the end. Rejects with `deadline_exceeded`, or `cancelled`: what fails here is the connection. */
  next(): Promise<Uint8Array | undefined> {
    return new Promise((resolve, reject) => {
      if (this.#late) return reject(this.#late);
      this.#giveUp = reject;
      this.#chunks.next().then(
        ({ done, value }) => {
          if (!done) resolve(value);
          else if (isBrokenOff(this.#request)) reject(gone());
          else resolve(undefined);
        },
        (cause: unknown) => reject(gone(cause)),
      );
    });
  }
}

/** A stream that was reset ends like any other, and what came of it is no whole. */
const isBrokenOff = (request: NodeRequest): boolean =>
  'stream' in request && (request.stream.aborted || request.stream.rstCode !== 0);

const gone = (cause?: unknown): ServiceError =>
  new ServiceError('cancelled', 'the caller is gone', { cause });
