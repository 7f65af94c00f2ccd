import type { Commands } from '../../storage/commands.ts';
import type { RecordRow } from '../../storage/rows.ts';
import type { Writer } from '../../storage/writer.ts';
import { isUntried } from '../../storage/writing/errors.ts';

/** What became of a count. */
export type Settled = 'written' | 'not written' | 'unknown';

type Count = Parameters<Commands['countUsage']>[0];

/** What was counted and is not durable yet. It is settled once: by what becomes of its write, or by being released. */
export class Taken {
  readonly #command: Count | undefined;
  readonly #settle: (how: Settled) => void;

  /** Without a command it is of a part that an authority has counted whole. */
  constructor(command: Count | undefined, settle: (how: Settled) => void) {
    this.#command = command;
    this.#settle = settle;
  }

  /** What goes into the store with the record. */
  get command(): Count {
    if (!this.#command) throw new Error('it is counted in another store');
    return this.#command;
  }

  /** Writes it with the record of what it counts. */
  async written(
    writer: Pick<Writer, 'run' | 'append'>,
    record: RecordRow,
  ): Promise<{ readonly value: boolean | undefined; readonly index: number }> {
    if (this.#command) return writer.run('countUsage', this.#command, record);
    return { value: true, index: await writer.append(record) };
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
