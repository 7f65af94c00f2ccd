import type { MessagePort } from 'node:worker_threads';
import type { ThreadError } from '../../errors.ts';
import type { FromBeside } from '../../storage/beside.ts';
import type { LogNews } from './receiver.ts';
import type { Owner } from './shipment.ts';

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
  /** Whose log it may be a part of, and who sends it: main knows that they may. */
  readonly owner: Owner;
  readonly operator: string;
  /** By main's clock. */
  readonly now: number;
  /** A ShipRequest, unread. Its buffer changes hands. */
  readonly message: Uint8Array<ArrayBuffer>;
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
