import { setTimeout as delay } from 'node:timers/promises';
import { type Clock, jittered } from '../../effects.ts';
import { describe } from '../../errors.ts';
import { Damaged } from '../../storage/faults.ts';
import type { TenantNo } from '../../storage/rows.ts';
import { Missing, type Outgoing, type OwnLog, type Unshipped } from './unshipped.ts';

/** What an operator is to know of records on their way to an authority. */
export interface ShippingState {
  /** Of the authority. */
  readonly address: string;
  /** Records that are durable here and not known to be so there. */
  readonly lag: number;
  /** Since the start. */
  readonly shipped: number;
  /** Whether it lets this server decide first: what waits is neither old nor much. */
  readonly yields: boolean;
  /** Why the authority cannot be reached; empty if it can. */
  readonly problem: string;
  /** Tenants whose log it does not take, with why: the first few. */
  readonly refused: readonly string[];
}

/** Thrown where the authority answered, and does not take a log. */
export class NotTaken extends Error {}

export interface ShipperOptions {
  readonly address: string;
  readonly unshipped: Unshipped;
  /** Resolves with how many entries the authority keeps, durably. Rejects with `NotTaken`; with others where it is not there. */
  readonly ship: (outgoing: Outgoing, signal: AbortSignal) => Promise<number>;
  /** Resolves when the places are durable. */
  readonly keep: (
    cursors: readonly { readonly tenantNo: TenantNo; readonly next: number }[],
  ) => Promise<unknown>;
  /** Whether who decides has no time left. */
  readonly isFull: () => boolean;
  readonly monotonic: Clock;
}

/** How soon it is looked for more, and how long it waits after a failure: twice as long after each. */
const LOOK_MS = 500;
const FIRST_WAIT_MS = 500;
const MOST_WAIT_MS = 10_000;
/** The same of one log. */
const MOST_PAUSE_MS = 30_000;
/** While this server has no time left, what waits may be so old, counted from when it was found, and so much; then it is sent. */
export const YIELD_MS = 5_000;
export const YIELD_RECORDS = 200_000;
/** How many logs are on their way at a time. */
const AT_ONCE = 8;
/** How many refusals are told one by one. */
const TOLD = 10;

interface Pause {
  readonly tenant: string;
  readonly why: string;
  readonly ms: number;
  readonly until: number;
}

/**
 * Sends this server's logs to an authority: each in its order, up to what it has stated of itself. It never drops a
 * record and asks nobody to wait: where it is behind it catches up from the store. Its places are a memory of what the
 * authority said; where that says something else, that counts.
 */
export class Shipper {
  readonly #options: ShipperOptions;
  readonly #pauses = new Map<TenantNo, Pause>();
  #problem = '';
  #shipped = 0;
  #yields = false;
  /** When the first of what waits was found, in milliseconds. */
  #waitsSince: number | undefined;

  constructor(options: ShipperOptions) {
    this.#options = options;
  }

  get state(): ShippingState {
    const { address, unshipped } = this.#options;
    const paused = [...this.#pauses.values()];
    const more = paused.length > TOLD ? [`and ${paused.length - TOLD} more tenants`] : [];
    return {
      address,
      lag: unshipped.lag(),
      shipped: this.#shipped,
      yields: this.#yields,
      problem: this.#problem,
      refused: [...paused.slice(0, TOLD).map(({ tenant, why }) => `tenant ${tenant}: ${why}`), ...more],
    };
  }

  /** Until the signal. */
  async run(signal: AbortSignal): Promise<void> {
    for (let failures = 0; !signal.aborted; ) {
      try {
        const isIdle = !(await this.#round(signal));
        if (!this.#yields) {
          failures = 0;
          this.#problem = '';
        }
        if (isIdle) await wait(LOOK_MS, signal);
      } catch (error) {
        if (signal.aborted) return;
        this.#problem = describe(error);
        failures += 1;
        await wait(jittered(Math.min(MOST_WAIT_MS, FIRST_WAIT_MS * 2 ** (failures - 1))), signal);
      }
    }
  }

  /** A part of each log that waits. Answers whether there is more to do now. */
  async #round(signal: AbortSignal): Promise<boolean> {
    const { unshipped, keep, monotonic } = this.#options;
    const now = monotonic();
    const logs = unshipped.waiting().filter(({ no }) => (this.#pauses.get(no)?.until ?? 0) <= now);
    this.#yields = this.#mayYield(logs, now);
    if (this.#yields) return false;
    for (let at = 0; at < logs.length && !signal.aborted; at += AT_ONCE) {
      const some = logs.slice(at, at + AT_ONCE);
      const nexts = await Promise.all(some.map((log) => this.#one(log, signal)));
      const cursors = some.flatMap(({ no }, place) => {
        const next = nexts[place];
        return next === undefined ? [] : [{ tenantNo: no, next }];
      });
      if (cursors.length > 0) await keep(cursors);
      for (const { tenantNo, next } of cursors) unshipped.moved(tenantNo, next);
    }
    return logs.length > 0;
  }

  /**
   * Whether it may leave the machine to who decides. Once it may not, it sends until nothing waits: where more is recorded
   * than can be sent beside that, it does not yield again, and what is decided is what becomes less.
   */
  #mayYield(logs: readonly OwnLog[], now: number): boolean {
    const { unshipped, isFull } = this.#options;
    if (logs.length === 0) this.#waitsSince = undefined;
    else this.#waitsSince ??= now;
    if (this.#waitsSince === undefined || !isFull() || now - this.#waitsSince >= YIELD_MS) return false;
    return unshipped.count(logs) < YIELD_RECORDS;
  }

  /** Answers where to go on with the log; undefined where it is to be left for a while. */
  async #one(log: OwnLog, signal: AbortSignal): Promise<number | undefined> {
    const { unshipped, ship } = this.#options;
    try {
      const outgoing = unshipped.next(log);
      if (!outgoing) return undefined;
      // No more than there is here, whatever it says.
      const kept = Math.min(await ship(outgoing, signal), outgoing.size);
      this.#shipped += Math.max(0, Math.min(outgoing.entries.length, kept - outgoing.from));
      this.#pauses.delete(log.no);
      return kept;
    } catch (error) {
      if (!(error instanceof NotTaken || error instanceof Missing || error instanceof Damaged)) throw error;
      unshipped.notTaken(log.no);
      const before = this.#pauses.get(log.no)?.ms ?? FIRST_WAIT_MS / 2;
      const ms = Math.min(MOST_PAUSE_MS, before * 2);
      const until = this.#options.monotonic() + jittered(ms);
      this.#pauses.set(log.no, { tenant: log.tenant, why: error.message, ms, until });
      return undefined;
    }
  }
}

const wait = (ms: number, signal: AbortSignal): Promise<unknown> =>
  delay(ms, undefined, { signal }).catch(() => undefined);
