import { setImmediate } from 'node:timers/promises';
import type { Clock } from '../../effects.ts';
import type { TenantId } from '../../ids.ts';
import type { SignerKey } from '../../merkle/keys.ts';
import type { ReceivedRow, ReceivedStore } from '../../storage/received/store.ts';
import type { RecordRow, TenantNo } from '../../storage/rows.ts';
import type { VolumeStore } from '../../storage/volume/store.ts';
import type { Writer } from '../../storage/writer.ts';
import type { LogProofs } from '../proof/proofs.ts';
import type { Unsent } from '../sinks/unsent.ts';
import type { Archive } from './archive.ts';

/** How long records are kept here: what is older, or more than so much, is removed. */
export interface Retention {
  readonly days?: number | undefined;
  readonly mib?: number | undefined;
  /** What is not as old stays, however much it is. */
  readonly atLeastDays?: number | undefined;
}

/** A tenant whose log is kept. */
export interface KeptTenant {
  readonly id: TenantId;
  readonly no: TenantNo;
  readonly retention: Retention;
  /** Whose it is and how it is known, where the log is another server's: `no` is that of the log then. */
  readonly other?: Pick<ReceivedRow, 'tenantNo' | 'node' | 'origin' | 'key'> | undefined;
}

/** What is known of whose log it is, without how long it is kept. */
export type KeptLog = Omit<KeptTenant, 'retention'>;

/** When records become a volume. */
export interface VolumeSettings {
  readonly maxMib: number;
  readonly maxDays: number;
}

export interface KeeperOptions {
  readonly folder: string;
  readonly writer: Writer;
  readonly store: VolumeStore;
  readonly proofs: Pick<LogProofs, 'newest' | 'consistency'>;
  readonly keyOf: (no: TenantNo) => Promise<SignerKey>;
  /** Their own logs, and those of other servers that are here. */
  readonly tenants: () => Iterable<KeptTenant>;
  /** A checkpoint of another server's log; see `ReceivedStore`. */
  readonly reached: ReceivedStore['reached'];
  readonly settings: VolumeSettings;
  readonly archive: Archive | undefined;
  /** Volumes whose records are all older are archived. Undefined: only when somebody asks for it. */
  readonly archiveAfterDays: number | undefined;
  /** The record of what is done to a log. */
  readonly record: (
    log: KeptLog,
    caller: string,
    action: string,
    detail: Readonly<Record<string, unknown>>,
  ) => RecordRow;
  /** What of a log a sink has still to be sent: that neither goes to the archive nor is removed. */
  readonly unsent: (tenant: KeptLog) => Unsent | undefined;
  readonly clock: Clock;
  /** Hears of what went wrong; it is tried again. */
  readonly failed: (error: unknown) => void;
  readonly eachMs?: number;
}

export const DAY_MS = 86_400_000;
export const MIB = 1024 * 1024;

/** How long the thread is kept at a time: it answers callers, and there may be thousands of logs. */
const SLICE_MS = 3;

/** To be called between one log and the next: lets others have their turn, once a slice is over. */
export function sliced(): () => Promise<void> {
  let began = performance.now();
  return async () => {
    if (performance.now() - began < SLICE_MS) return;
    await setImmediate();
    began = performance.now();
  };
}
