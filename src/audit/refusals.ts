import type { Clock, Random } from '../effects.ts';
import { uuidv7 } from '../ids.ts';
import type { TenantNo } from '../storage/rows.ts';
import type { Writer } from '../storage/writer.ts';
import { buildRecord } from './record.ts';

/** Somebody whom a tenant did not let in. */
export interface Refusal {
  readonly tenantNo: TenantNo;
  readonly tenant: string;
  /** Where it came from, as connections are counted. */
  readonly address: string;
  /** Who it is, as records name callers; empty where nobody is known by what was presented. */
  readonly caller: string;
  /** The beginning of the SHA-256 of what was presented; empty where nothing was. */
  readonly fingerprint: string;
  /** Whom a wrong credential was said to be of; empty where that is nobody's. */
  readonly claimed: string;
  readonly operation: string;
  /** The error's. */
  readonly code: string;
}

interface Seen {
  latest: Refusal;
  /** Those that are in no record yet. */
  count: number;
  recordedAt: number;
}

/** A record a second for each address at most, of so many addresses of a tenant. */
const EACH_MS = 1_000;
const MOST_ADDRESSES = 32;
/** How many are remembered over all; those beyond share one place of their tenant. */
const MOST_SEEN = 10_000;
const OTHERS = 'others';
/** And so many records of a tenant at once, and one each so long after: a log is not filled by who is not let in. */
const BURST = 60;
const REFILL_MS = 10_000;

/**
 * Refused callers, in the log of the tenant they wanted: with a credential of another tenant, without the right to what
 * they asked for, or disabled. Whoever tries a thousand times a second fills no log.
 */
export class Refusals implements Disposable {
  readonly #writer: Writer;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #seen = new Map<string, Seen>();
  /** The places that each tenant's addresses have. */
  readonly #own = new Map<TenantNo, Set<string>>();
  readonly #budgets = new Map<TenantNo, { readonly left: number; readonly at: number }>();
  #timer: NodeJS.Timeout | undefined;

  constructor(writer: Writer, clock: Clock, random: Random) {
    this.#writer = writer;
    this.#clock = clock;
    this.#random = random;
  }

  note(refusal: Refusal): void {
    const own = `${refusal.tenantNo} ${refusal.address} ${refusal.caller || refusal.claimed}`;
    const hasRoom =
      this.#seen.has(own) ||
      (this.#seen.size < MOST_SEEN && this.#addressesOf(refusal.tenantNo) < MOST_ADDRESSES);
    const key = hasRoom ? own : `${refusal.tenantNo} ${OTHERS}`;
    const seen = this.#seen.get(key) ?? { latest: refusal, count: 0, recordedAt: Number.NEGATIVE_INFINITY };
    seen.latest = hasRoom
      ? refusal
      : { ...refusal, address: OTHERS, caller: '', fingerprint: '', claimed: '' };
    seen.count += 1;
    this.#seen.set(key, seen);
    if (hasRoom) this.#own.set(refusal.tenantNo, (this.#own.get(refusal.tenantNo) ?? new Set()).add(key));
    if (performance.now() - seen.recordedAt >= EACH_MS) this.#record(seen);
    this.#timer ??= setInterval(() => this.#sweep(), EACH_MS).unref();
  }

  #addressesOf(no: TenantNo): number {
    return this.#own.get(no)?.size ?? 0;
  }

  /** What was counted since gets its record, and who has not come again is forgotten. */
  #sweep(): void {
    const recorded: [string, Seen][] = [];
    for (const [key, seen] of this.#seen)
      if (seen.count > 0) {
        if (this.#record(seen)) recorded.push([key, seen]);
      } else {
        this.#seen.delete(key);
        const { tenantNo } = seen.latest;
        const own = this.#own.get(tenantNo);
        own?.delete(key);
        if (own?.size === 0) this.#own.delete(tenantNo);
      }
    // The next record that a tenant may have is another's.
    for (const [key, seen] of recorded) {
      this.#seen.delete(key);
      this.#seen.set(key, seen);
    }
    if (this.#seen.size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  /** Takes one of those that the tenant has left. */
  #mayRecord(no: TenantNo): boolean {
    const now = performance.now();
    const budget = this.#budgets.get(no) ?? { left: BURST, at: now };
    const earned = (now - budget.at) / REFILL_MS;
    const left = Math.min(BURST, budget.left + earned);
    const isAllowed = left >= 1;
    this.#budgets.set(no, { left: isAllowed ? left - 1 : left, at: now });
    return isAllowed;
  }

  /** Answers whether it may be recorded yet; what has no record is counted on. */
  #record(seen: Seen): boolean {
    const isAllowed = this.#mayRecord(seen.latest.tenantNo);
    if (isAllowed) this.#append(seen);
    return isAllowed;
  }

  #append(seen: Seen): void {
    const { tenantNo, tenant, address, caller, fingerprint, claimed, operation, code } = seen.latest;
    const { count } = seen;
    seen.count = 0;
    seen.recordedAt = performance.now();
    const now = this.#clock();
    const row = buildRecord({
      tenantNo,
      time: now,
      kind: 'access',
      outcome: 'deny',
      decisionId: uuidv7(now, this.#random(10)),
      caller: caller === '' ? 'unknown' : caller,
      subject: undefined,
      actor: undefined,
      reason: code,
      members: `,"reasons":${JSON.stringify([{ code, message: '' }])},"detail":${JSON.stringify({ address, credential: fingerprint, ...(claimed === '' ? {} : { claimed }), count })}`,
      input: JSON.stringify({
        subject: null,
        action: { name: operation },
        resource: { type: 'tenant', id: tenant },
      }),
    });
    // Nobody waits for it: the caller was refused either way, and the store says itself when it cannot record.
    this.#writer.append(row).catch(() => {
      seen.count += count;
    });
  }

  /** What was counted last is recorded. */
  [Symbol.dispose](): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
    for (const seen of this.#seen.values()) if (seen.count > 0) this.#append(seen);
    this.#seen.clear();
  }
}
