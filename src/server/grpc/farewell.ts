import { ServiceError } from '../../errors.ts';

/** How the end of a stream goes when the server stops, in milliseconds from the stop. */
const FAREWELL = {
  /** A stream that has been still for so long is ended. */
  quietMs: 250,
  /** From then on what is still asked is refused, each question by its name, so that its client notices. */
  lateMs: 500,
  /** And a client that goes on all the same is ended. */
  overMs: 1_500,
};

/**
 * A stream both ways when the server stops. Its client sends at any time and cannot be told but by an answer: so what
 * comes is answered for a moment, then refused by name, and the stream ends where it is still, or in the end. A
 * question without an answer was sent after that, and was not decided.
 */
export class Farewell {
  readonly error = new ServiceError(
    'unavailable',
    'the server stops; what has no answer was not decided and can be asked elsewhere',
    { retryAfterMs: 0 },
  );
  readonly #end: (error: ServiceError) => void;
  readonly #began = performance.now();
  readonly #last: NodeJS.Timeout;
  #quiet: NodeJS.Timeout;
  #isOver = false;

  /** `end` is called once. */
  constructor(end: (error: ServiceError) => void) {
    this.#end = end;
    this.#quiet = setTimeout(() => this.#finish(), FAREWELL.quietMs);
    this.#last = setTimeout(() => this.#finish(), FAREWELL.overMs);
  }

  /** Whether what comes now is refused. */
  get isLate(): boolean {
    return performance.now() - this.#began >= FAREWELL.lateMs;
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  /** Something was asked. */
  heard(): void {
    this.#quiet.refresh();
  }

  cancel(): void {
    clearTimeout(this.#quiet);
    clearTimeout(this.#last);
  }

  #finish(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.cancel();
    this.#end(this.error);
  }
}
