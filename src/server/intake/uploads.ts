import { ServiceError } from '../../errors.ts';
import type { Exchange } from '../transport/exchange.ts';
import type { Room } from './gather.ts';
import { Places } from './places.ts';
import type { SharedTally } from './tally.ts';

/** How long a request may take to come to its end: between this and twice this. */
export const ROUND_MS = 15_000;

/** Bytes of requests and messages whose end has not come. One that comes in one piece, as nearly all do, is none. */
const HELD = {
  total: 512 * 1024 * 1024,
  each: 256 * 1024 * 1024,
  full: 'too much that was begun to be sent is unfinished',
};

/** One that has begun: a link of a ring, taken out where it ends, which costs next to nothing. */
export class Begun {
  readonly late: () => void;
  before: Begun = this;
  after: Begun = this;

  constructor(late: () => void) {
    this.late = late;
  }

  /** Whether there is none beside it. */
  get isAlone(): boolean {
    return this.after === this;
  }

  takeOut(): void {
    this.before.after = this.after;
    this.after.before = this.before;
    this.before = this.after = this;
  }
}

const ring = (): Begun => new Begun(() => {});

/**
 * Requests that have begun and not come to their end. Whoever stalls is given up, without a timer for each: what has
 * not ended when the second round after its begin is over was too slow.
 */
export class Uploads {
  readonly #roundMs: number;
  readonly #bytes: Places;
  #young = ring();
  #old = ring();
  #rounds: NodeJS.Timeout | undefined;

  /** `shared`: where threads hold within the same bounds. */
  constructor(roundMs = ROUND_MS, shared?: SharedTally) {
    this.#roundMs = roundMs;
    this.#bytes = new Places(HELD, shared);
  }

  /** What may be held of what `whom` sends, an address, until it has come to its end. */
  roomOf(whom: string): Room {
    return {
      need: (bytes) => this.#bytes.need(whom, bytes),
      giveBack: (bytes) => this.#bytes.giveBack(whom, bytes),
    };
  }

  /** How many bytes are held. */
  get held(): number {
    return this.#bytes.taken;
  }

  /** Whether any has begun and not ended. */
  get isIdle(): boolean {
    return this.#young.isAlone && this.#old.isAlone;
  }

  /** `late` is called once, unless the answer is given to `end` before. */
  begin(late: () => void): Begun {
    const begun = new Begun(late);
    const last = this.#young.before;
    begun.before = last;
    begun.after = this.#young;
    last.after = begun;
    this.#young.before = begun;
    this.#rounds ??= setInterval(() => this.#turn(), this.#roundMs).unref();
    return begun;
  }

  /** Once or more often. */
  end(begun: Begun | undefined): void {
    begun?.takeOut();
  }

  #turn(): void {
    const late = this.#old;
    this.#old = this.#young;
    this.#young = ring();
    while (!late.isAlone) {
      const { after } = late;
      after.takeOut();
      after.late();
    }
    if (!this.isIdle) return;
    clearInterval(this.#rounds);
    this.#rounds = undefined;
  }
}

/** Waits for the parts of a request's body, but not for as long as somebody likes to take. */
export class Upload {
  readonly #exchange: Pick<Exchange, 'next'>;
  readonly #uploads: Uploads;
  #begun: Begun | undefined;
  #late: ServiceError | undefined;
  #giveUp: ((late: ServiceError) => void) | undefined;

  constructor(exchange: Pick<Exchange, 'next'>, uploads: Uploads) {
    this.#exchange = exchange;
    this.#uploads = uploads;
  }

  begin(): void {
    this.#begun = this.#uploads.begin(() => {
      this.#late = new ServiceError('deadline_exceeded', 'the request did not come to its end in time');
      this.#giveUp?.(this.#late);
    });
  }

  end(): void {
    this.#uploads.end(this.#begun);
  }

  /** Undefined at the end. Rejects with `deadline_exceeded`, or `cancelled`: what fails here is the connection. */
  next(): Promise<Uint8Array | undefined> {
    return new Promise((resolve, reject) => {
      if (this.#late) return reject(this.#late);
      this.#giveUp = reject;
      this.#exchange.next().then(resolve, reject);
    });
  }
}
