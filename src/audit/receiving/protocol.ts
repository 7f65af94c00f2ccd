import type { MessagePort } from 'node:worker_threads';
import type { ThreadError } from '../../errors.ts';
import type { FromBeside } from '../../storage/beside.ts';
import type { LogNews } from './receiver.ts';
import type { Owner, Shipment } from './shipment.ts';

/** What main and the thread that verifies other servers' logs say to each other. */

/** What it is started with. */
export interface ReceivingOptions {
  readonly folder: string;
  readonly writer: MessagePort;
  readonly writerPulse: SharedArrayBuffer;
  /** Where it shows that it turns. */
  readonly pulse: SharedArrayBuffer;
  /** Where it is asked, and answers. */
  readonly asks: MessagePort;
  /** How large the store may be. */
  readonly maxBytes: number | undefined;
  /** What this server's own part of each log is called. */
  readonly node: string;
}

export interface Asked {
  /** Goes with the answer. */
  readonly no: number;
  readonly owner: Owner;
  /** Who sends it; main knows that it is them. */
  readonly operator: string;
  /** By main's clock. */
  readonly now: number;
  readonly shipment: PackedShipment;
}

/** 'ready': once, before any answer. */
export type FromReceiving = 'ready' | Answered;

export interface Answered {
  readonly no: number;
  /** How many entries of the log are kept, or why none of these is. */
  readonly kept: number | ThreadError;
  /** What is published in the thread is heard there alone: since the answer before. */
  readonly news: readonly LogNews[];
  readonly commits: readonly number[];
}

/** What stands in a line each for who watches. */
export type ReceivingState = FromBeside<string>;

/** A shipment whose bytes change hands. */
export interface PackedShipment extends Omit<Shipment, 'entries' | 'proof'> {
  readonly entries: Packed;
  readonly proof: Packed;
}

/** Byte strings one after the other. Views would be cloned with all that they are views of. */
interface Packed {
  readonly bytes: ArrayBuffer;
  /** Where each ends. */
  readonly ends: Uint32Array<ArrayBuffer>;
}

export const packedShipment = (shipment: Shipment): PackedShipment => ({
  ...shipment,
  entries: packed(shipment.entries),
  proof: packed(shipment.proof),
});

export const buffersOf = ({ entries, proof }: PackedShipment): ArrayBuffer[] =>
  [entries, proof].flatMap(({ bytes, ends }) => [bytes, ends.buffer]);

export const unpackedShipment = (shipment: PackedShipment): Shipment => ({
  ...shipment,
  entries: unpacked(shipment.entries),
  proof: unpacked(shipment.proof),
});

function packed(all: readonly Uint8Array[]): Packed {
  const ends = new Uint32Array(all.length);
  let end = 0;
  for (const [at, { length }] of all.entries()) {
    end += length;
    ends[at] = end;
  }
  // Of its own memory, and not of a pool's, which could not be given away.
  const bytes = Buffer.allocUnsafeSlow(end);
  for (const [at, each] of all.entries()) bytes.set(each, (ends[at] ?? 0) - each.length);
  return { bytes: bytes.buffer, ends };
}

function unpacked({ bytes, ends }: Packed): Uint8Array[] {
  let start = 0;
  return Array.from(ends, (end) => {
    const each = new Uint8Array(bytes, start, end - start);
    start = end;
    return each;
  });
}
