import { setTimeout as delay } from 'node:timers/promises';
import type { Backlog, Cursor, Outgoing } from './backlog.ts';
import type { SinkState } from './settings.ts';

/** Takes records away. */
export interface Delivery extends AsyncDisposable {
  /** Resolves once they are somewhere safe. Rejects with `NotDelivered`: all of them are brought again. */
  deliver(records: readonly Outgoing[], signal: AbortSignal): Promise<void>;
}

export class NotDelivered extends Error {
  /** The same might do in smaller parts. */
  readonly isTooLarge: boolean;
  /** How long it is to be left alone, at least, in milliseconds. */
  readonly waitMs: number;

  constructor(message: string, more: { isTooLarge?: boolean; waitMs?: number; cause?: unknown } = {}) {
    super(message, { cause: more.cause });
    this.isTooLarge = more.isTooLarge ?? false;
    this.waitMs = more.waitMs ?? 0;
  }
}

const MOST_RECORDS = 2_000;
const MOST_BYTES = 1024 * 1024;
/** How soon it is looked for more, and how long it waits after a failure: twice as long after each. */
const LOOK_MS = 500;
const FIRST_WAIT_MS = 500;
const MOST_WAIT_MS = 60_000;
const ASKED_WAIT_MS = 600_000;

/**
 * One sink's work: takes what is durable from the logs, delivers it, keeps its place, and so on. It never drops a record
 * and never asks anybody to wait: where it is behind it catches up from the store. After a failure the same comes again,
 * and after the end of the process what was delivered and not yet noted does: at least once.
 */
export class Sink {
  readonly #name: string;
  readonly #backlog: Backlog;
  readonly #delivery: Delivery;
  readonly #keep: (cursors: readonly Cursor[]) => Promise<unknown>;
  #hasBegun = false;
  #brought = 0;
  #delivered = 0;
  #problem = '';
  /** How many records are brought at a time: fewer where that is too large. */
  #most = MOST_RECORDS;

  /** `keep` resolves when the places are durable. */
  constructor(
    name: string,
    backlog: Backlog,
    delivery: Delivery,
    keep: (cursors: readonly Cursor[]) => Promise<unknown>,
  ) {
    this.#name = name;
    this.#backlog = backlog;
    this.#delivery = delivery;
    this.#keep = keep;
  }

  get state(): SinkState {
    return { name: this.#name, lag: this.#backlog.lag(), delivered: this.#delivered, problem: this.#problem };
  }

  /** Until the signal. */
  async run(signal: AbortSignal): Promise<void> {
    await using _ = this.#delivery;
    for (let failures = 0; !signal.aborted; ) {
      try {
        const isIdle = !(await this.#once(signal));
        failures = 0;
        this.#problem = '';
        if (isIdle) await wait(LOOK_MS, signal);
      } catch (error) {
        if (signal.aborted) return;
        this.#problem = (error as Error).message;
        if (error instanceof NotDelivered && error.isTooLarge && this.#halve()) continue;
        failures += 1;
        const asked = error instanceof NotDelivered ? Math.min(error.waitMs, ASKED_WAIT_MS) : 0;
        await wait(Math.max(asked, Math.min(MOST_WAIT_MS, FIRST_WAIT_MS * 2 ** (failures - 1))), signal);
      }
    }
  }

  /** Answers whether there was anything. */
  async #once(signal: AbortSignal): Promise<boolean> {
    if (!this.#hasBegun) await this.#begin();
    const { records, cursors } = this.#backlog.take(this.#most, MOST_BYTES);
    this.#brought = records.length;
    if (cursors.length === 0) return false;
    if (records.length > 0) await this.#delivery.deliver(records, signal);
    await this.#keep(cursors);
    this.#backlog.moved(cursors);
    this.#delivered += records.length;
    this.#most = Math.min(MOST_RECORDS, this.#most + Math.ceil(this.#most / 8));
    return true;
  }

  /** Answers whether fewer can be brought. */
  #halve(): boolean {
    if (this.#brought <= 1) return false;
    this.#most = Math.ceil(this.#brought / 2);
    return true;
  }

  async #begin(): Promise<void> {
    const first = this.#backlog.begin();
    if (first.length > 0) await this.#keep(first);
    this.#backlog.moved(first);
    this.#hasBegun = true;
  }
}

const wait = (ms: number, signal: AbortSignal): Promise<unknown> =>
  delay(ms, undefined, { signal }).catch(() => undefined);
