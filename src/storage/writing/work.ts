import { Heads } from '../log/heads.ts';
import type { BatchItem, ItemDone, ItemError } from './protocol.ts';

/** What is done or not done as one: a command, a record, or both. */
export interface Unit {
  readonly command: BatchItem['commands'][number] | undefined;
  /** The record's place in the parcel. */
  readonly record: number | undefined;
}

/** An item, and what has become of it so far. */
export interface Work extends Omit<ItemDone, 'parcel' | 'values' | 'versions' | 'errors'> {
  readonly item: BatchItem;
  readonly units: readonly Unit[];
  readonly source: { readonly heads: Heads; readonly bodies: Uint8Array };
  readonly values: Map<number, unknown>;
  readonly versions: Map<number, number>;
  /** A unit that has one is not done. */
  readonly errors: Map<number, ItemError>;
}

export function prepare(item: BatchItem): Work {
  const { parcel } = item;
  const units = unitsOf(item);
  return {
    item,
    units,
    source: { heads: Heads.carried(new Uint8Array(parcel.heads)), bodies: Buffer.from(parcel.bodies) },
    indexes: new Float64Array(units.length).fill(-1),
    values: new Map(),
    versions: new Map(),
    errors: new Map(),
  };
}

/** As it was before anything was tried. */
export const anew = ({ item, errors }: Work): Work => ({ ...prepare(item), errors: new Map(errors) });

/** Nothing of it counts, whatever was done. */
export function refuse(work: Work, detail: string): void {
  work.indexes.fill(-1);
  for (const at of work.item.whole ? [0] : work.units.keys()) work.errors.set(at, { detail });
}

export const doneOf = ({ item: { parcel }, indexes, values, versions, errors }: Work): ItemDone => ({
  parcel,
  indexes,
  values,
  versions,
  errors,
});

function unitsOf({ parcel, commands }: BatchItem): Unit[] {
  const units: Unit[] = [];
  let record = 0;
  const recordsUpTo = (unit: number): void => {
    while (units.length < unit && record < parcel.count) units.push({ command: undefined, record: record++ });
  };
  for (const command of commands) {
    recordsUpTo(command.unit);
    units.push({ command, record: command.recorded ? record++ : undefined });
  }
  recordsUpTo(Number.POSITIVE_INFINITY);
  return units;
}
