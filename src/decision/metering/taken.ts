import type { Commands } from '../../storage/commands.ts';
import { isUntried } from '../../storage/writing/errors.ts';

/** What became of a count. */
export type Settled = 'written' | 'not written' | 'unknown';

/** What was counted and is not durable yet. It is settled once: by what becomes of its write, or by being released. */
export class Taken {
  /** What goes into the store with the record. */
  readonly command: Parameters<Commands['countUsage']>[0];
  readonly #settle: (how: Settled) => void;

  constructor(command: Taken['command'], settle: (how: Settled) => void) {
    this.command = command;
    this.#settle = settle;
  }

  /** What it is to be written with; where that cannot be made, it is released. */
  made<Row>(row: Row | Promise<Row>): Row | Promise<Row> {
    return row instanceof Promise ? this.#made(row) : row;
  }

  async #made<Row>(row: Promise<Row>): Promise<Row> {
    try {
      return await row;
    } catch (error) {
      this.release();
      throw error;
    }
  }

  /** Settles it by what becomes of the write. A value of `undefined` means: nothing was done. */
  by<Result extends { readonly value: unknown }>(write: Promise<Result>): Promise<Result> {
    return write.then(
      (result) => {
        this.#settle(result.value === undefined ? 'not written' : 'written');
        return result;
      },
      (error: unknown) => {
        this.#settle(isUntried(error) ? 'not written' : 'unknown');
        throw error;
      },
    );
  }

  /** Nothing was sent to be written. */
  release(): void {
    this.#settle('not written');
  }
}
