import type { ServiceError } from '../../errors.ts';
import type { Parcel } from '../log/parcel.ts';
import type { RecordRow } from '../rows.ts';
import { errorOf } from './errors.ts';
import type { BatchDone, BatchItem, CommandEntry, ItemDone } from './protocol.ts';

/** `version`: of the tenant's control state, where a command changed it. */
export type Settle = (
  error: ServiceError | undefined,
  index: number,
  value: unknown,
  version?: number,
) => void;

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

  constructor(parcel: Parcel) {
    this.#parcel = parcel;
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
      settle: ({ indexes, values, versions, errors }) => {
        for (let unit = 0; unit < settles.length; unit += 1) {
          const failed = errors.get(unit);
          const error = failed === undefined ? undefined : errorOf(failed);
          settles[unit]?.(error, indexes[unit] ?? -1, values.get(unit), versions.get(unit));
        }
      },
      fail: (error) => {
        for (const settle of settles) settle(error, -1, undefined);
      },
    };
  }
}

/** A parcel whose records are appended all or none. */
export function wholeParcel(
  parcel: Parcel,
  shared: BatchItem['shared'],
  resolve: (indexes: Float64Array) => void,
  reject: (error: ServiceError) => void,
): Sent {
  return {
    item: { parcel: parcel.seal(), commands: [], shared, whole: true },
    entries: parcel.count,
    settle: ({ indexes, errors }) => {
      const failed = errors.get(0);
      if (failed === undefined) resolve(indexes);
      else reject(errorOf(failed));
    },
    fail: reject,
  };
}

/** Tells everybody of a batch; answers how many entries it had, and how many the store failed. */
export function settleAll(sent: readonly Sent[], done: BatchDone): { entries: number; failed: number } {
  let [entries, failed] = [0, 0];
  for (const [at, each] of sent.entries()) {
    const item = done[at];
    if (item) each.settle(item);
    // What a tenant may not do is no fault of the store.
    const lost = [...(item?.errors.values() ?? [])].filter(({ exhausted }) => !exhausted).length;
    failed += each.item.whole && lost > 0 ? each.entries : lost;
    entries += each.entries;
  }
  return { entries, failed };
}
