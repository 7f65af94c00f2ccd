import type { Writer } from '../../storage/writer.ts';

/** How long until it is tried again, in milliseconds. */
const AGAIN = 1_000;

/**
 * What was not answered may have been written all the same: a disk that stalls is given up on, and goes on later. Once
 * the writer answers again, which it does in the order it was asked, what became of it is in the store.
 */
export class Doubt implements Disposable {
  readonly #writer: Pick<Writer, 'run'>;
  readonly #waiting = new Set<() => void>();
  #timer: NodeJS.Timeout | undefined;

  constructor(writer: Pick<Writer, 'run'>) {
    this.#writer = writer;
  }

  /** Calls `learn` once the store can tell. */
  settle(learn: () => void): void {
    this.#waiting.add(learn);
    this.#timer ??= setTimeout(() => void this.#ask(), AGAIN).unref();
  }

  async #ask(): Promise<void> {
    const asked = [...this.#waiting];
    try {
      // It writes nothing, and comes after all that was asked before.
      await this.#writer.run('putUses', { uses: [] });
    } catch {
      this.#timer = setTimeout(() => void this.#ask(), AGAIN).unref();
      return;
    }
    for (const learn of asked) {
      this.#waiting.delete(learn);
      learn();
    }
    this.#timer = this.#waiting.size > 0 ? setTimeout(() => void this.#ask(), AGAIN).unref() : undefined;
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
    this.#waiting.clear();
  }
}
