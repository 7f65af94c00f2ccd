import type { ServiceError } from '../errors.ts';
import type { Parcel } from './log/parcel.ts';
import type { RecordRow } from './rows.ts';
import type { BatchItem, CommandEntry, ItemDone, ItemError } from './writer-protocol.ts';

export type Settle = (error: ServiceError | undefined, index: number, value: unknown) => void;

/** An item on its way, and who is told what became of it. */
export interface Sent {
  readonly item: BatchItem;
  readonly entries: number;
  readonly settle: (done: ItemDone) => void;
  readonly fail: (error: ServiceError) => void;
}

/** Entries that share a parcel, and who waits for each. */
export class Gathering {
  readonly #parcel: Parcel;
  readonly #commands: CommandEntry[] = [];
  readonly #settles: Settle[] = [];
  /** Makes the error of an entry from what the thread says of it. */
  readonly #errorOf: (error: ItemError) => ServiceError;

  constructor(parcel: Parcel, errorOf: (error: ItemError) => ServiceError) {
    this.#parcel = parcel;
    this.#errorOf = errorOf;
  }

  get isEmpty(): boolean {
    return this.#settles.length === 0;
  }

  add(
    command: { name: string; args: unknown } | undefined,
    row: RecordRow | undefined,
    settle: Settle,
  ): void {
    if (command) this.#commands.push({ ...command, unit: this.#settles.length, recorded: row !== undefined });
    if (row) this.#parcel.add(row);
    this.#settles.push(settle);
  }

  /** Nothing is added any more. */
  sent(): Sent {
    const settles = this.#settles;
    return {
      item: { parcel: this.#parcel.seal(), commands: this.#commands, shared: undefined, whole: false },
      entries: settles.length,
      settle: ({ indexes, values, errors }) => {
        for (let unit = 0; unit < settles.length; unit += 1) {
          const failed = errors.get(unit);
          const error = failed === undefined ? undefined : this.#errorOf(failed);
          settles[unit]?.(error, indexes[unit] ?? -1, values.get(unit));
        }
      },
      fail: (error) => {
        for (const settle of settles) settle(error, -1, undefined);
      },
    };
  }
}
