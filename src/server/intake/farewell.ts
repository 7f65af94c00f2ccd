import { setImmediate as nextTurn } from 'node:timers/promises';
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

const stops = (): ServiceError =>
  new ServiceError(
    'unavailable',
    'the server stops; what has no answer was not decided and can be asked elsewhere',
    { retryAfterMs: 0 },
  );

/**
 * A stream both ways when the server stops. Its client sends at any time and cannot be told but by an answer: so what
 * comes is answered for a moment, then refused by name, and the stream ends where it is still, or in the end. A
 * question without an answer was sent after that, and was not decided.
 */
export class Farewells implements Disposable {
  readonly #stopping: AbortSignal;
  readonly #end: (error: ServiceError) => void;
  readonly #onStop = (): void => this.#begin();
  #farewell:
    | {
        readonly error: ServiceError;
        readonly at: number;
        readonly quiet: NodeJS.Timeout;
        readonly last: NodeJS.Timeout;
      }
    | undefined;
  #asked = 0;

  /** `end` is called once, if the server stops: nothing more is to be read, and this is the status. */
  constructor(stopping: AbortSignal, end: (error: ServiceError) => void) {
    this.#stopping = stopping;
    this.#end = end;
    if (stopping.aborted) this.#begin();
    else stopping.addEventListener('abort', this.#onStop, { once: true });
  }

  /** Something was asked. Answers with what it is to be refused by, if it comes too late. */
  heard(): ServiceError | undefined {
    if (!this.#farewell) return undefined;
    const { error, at, quiet } = this.#farewell;
    this.#asked += 1;
    quiet.refresh();
    return performance.now() - at >= FAREWELL.lateMs ? error : undefined;
  }

  [Symbol.dispose](): void {
    this.#stopping.removeEventListener('abort', this.#onStop);
    clearTimeout(this.#farewell?.quiet);
    clearTimeout(this.#farewell?.last);
    this.#farewell = undefined;
  }

  #begin(): void {
    const error = stops();
    const end = (): void => {
      if (!this.#farewell) return;
      this[Symbol.dispose]();
      this.#end(error);
    };
    const quiet = setTimeout(() => void this.#isStill().then((still) => still && end()), FAREWELL.quietMs);
    this.#farewell = { error, at: performance.now(), quiet, last: setTimeout(end, FAREWELL.overMs) };
  }

  /** After a long turn of the event loop what has come meanwhile is read only after the timers. */
  async #isStill(): Promise<boolean> {
    const before = this.#asked;
    await nextTurn();
    await nextTurn();
    return this.#asked === before;
  }
}
