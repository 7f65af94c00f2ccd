import type { MessagePort } from 'node:worker_threads';
import type { StoreOptions } from '../database.ts';
import type { StoreFault } from '../faults.ts';
import type { ParcelBytes } from '../log/parcel.ts';
import type { SharedPart, TenantNo } from '../rows.ts';

/** What the thread is started with. */
export interface WriterOptions extends StoreOptions {
  /** Where it shows that it turns. */
  readonly pulse: SharedArrayBuffer;
}

/** What the writer's two halves say to each other. A batch is one transaction: its items, one after the other. */
export type Batch = readonly BatchItem[];

/**
 * Records, and commands among them. Its units, in the order in which they were asked for, are records, commands, and
 * commands with their record.
 */
export interface BatchItem {
  /** Transferred, not copied. */
  readonly parcel: ParcelBytes;
  readonly commands: readonly CommandEntry[];
  /** What its records have in common; they are all of one tenant then. */
  readonly shared: { readonly tenantNo: TenantNo; readonly parts: readonly SharedPart[] } | undefined;
  /** Appended all or none; else, where the batch cannot be done whole, each unit is done that can be. */
  readonly whole: boolean;
}

export interface CommandEntry {
  readonly unit: number;
  readonly name: string;
  readonly args: unknown;
  /** Whether the parcel's next record is its own, appended only if the command was done. */
  readonly recorded: boolean;
}

/** The command itself, also of a change that was made elsewhere. */
export const madeBy = ({ name, args }: CommandEntry): string =>
  name === 'applyChange' ? (args as { name: string }).name : name;

/** To the thread: work, another way in for another thread, or the end. */
export type ToWriter =
  | Batch
  | { readonly connect: MessagePort }
  | { readonly quota: TenantQuota; readonly of: TenantNo }
  /** The write-ahead log is to be brought into the store and cut off. */
  | 'empty'
  | 'close';

/** From the thread: what became of a batch; and to the one that started it, what it met, and what stands in its way now. */
export type FromWriter =
  | BatchDone
  | { readonly fault: StoreFault }
  | { readonly standing: string }
  /** Whether nothing is in the write-ahead log any more. */
  | { readonly emptied: boolean };

/** Why something was not done. */
export interface ItemError {
  readonly detail: string;
  /** Where it is the tenant that has used up what it may, and no fault of the store: until when, in milliseconds. */
  readonly exhausted?: { readonly retryAfterMs: number | undefined } | undefined;
  /** Where it was not tried at all: nothing of it is in the store, nor ever will be. */
  readonly isUntried?: boolean | undefined;
}

/** What a tenant may write. Left out: as much as there is room for. */
export interface TenantQuota {
  readonly bytesPerSecond: number | undefined;
  /** In all, of records' bodies. */
  readonly bytes: number | undefined;
}

export type BatchDone = readonly ItemDone[];

export interface ItemDone {
  /** The item's own, given back. */
  readonly parcel: ParcelBytes;
  /** By unit, where its record stands in the tenant's log; -1 where none was appended. */
  readonly indexes: Float64Array;
  /** By unit, what a command answered: `undefined` when its condition did not hold. */
  readonly values: ReadonlyMap<number, unknown>;
  /** By unit, which version of its tenant's control state a command made. */
  readonly versions: ReadonlyMap<number, number>;
  /** By unit, what it failed with; of a whole item at 0. */
  readonly errors: ReadonlyMap<number, ItemError>;
}
