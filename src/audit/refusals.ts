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
  readonly operation: string;
  /** The error's. */
  readonly code: string;
}

interface Seen {
  readonly latest: Refusal;
  /** Those that are in no record yet. */
  count: number;
  recordedAt: number;
}

/** A record a second for each address and tenant, with how often it was; and so many addresses of a tenant. */
const EACH_MS = 1_000;
const MOST_ADDRESSES = 32;
/** How many are remembered over all; those beyond share one place of their tenant. */
const MOST_SEEN = 10_000;
const OTHERS = 'others';

/**
 * Refused callers, in the log of the tenant they wanted: with a credential of another tenant, without the right to what
 * they asked for, or disabled. Whoever tries a thousand times a second fills no log.
 */
export class Refusals implements Disposable {
  readonly #writer: Writer;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #seen = new Map<string, Seen>();
  readonly #addresses = new Map<TenantNo, number>();
  #timer: NodeJS.Timeout | undefined;

  constructor(writer: Writer, clock: Clock, random: Random) {
    this.#writer = writer;
    this.#clock = clock;
    this.#random = random;
  }

  note(refusal: Refusal): void {
    const { tenantNo } = refusal;
    const own = `${tenantNo} ${refusal.address} ${refusal.caller}`;
    const isKnown = this.#seen.has(own);
    const count = this.#addresses.get(tenantNo) ?? 0;
    const hasRoom = isKnown || (count < MOST_ADDRESSES && this.#seen.size < MOST_SEEN);
    const key = hasRoom ? own : `${tenantNo} ${OTHERS}`;
    const latest = hasRoom ? refusal : { ...refusal, address: OTHERS, caller: '', fingerprint: '' };
    const before = this.#seen.get(key);
    if (!before && hasRoom) this.#addresses.set(tenantNo, count + 1);
    const seen = {
      latest,
      count: (before?.count ?? 0) + 1,
      recordedAt: before?.recordedAt ?? Number.NEGATIVE_INFINITY,
    };
    this.#seen.set(key, seen);
    if (performance.now() - seen.recordedAt >= EACH_MS) this.#record(seen);
    this.#timer ??= setInterval(() => this.#sweep(), EACH_MS).unref();
  }

  /** What was counted since gets its record, and who has not come again is forgotten. */
  #sweep(): void {
    for (const [key, seen] of this.#seen)
      if (seen.count > 0) this.#record(seen);
      else {
        this.#seen.delete(key);
        const { tenantNo } = seen.latest;
        const left = (this.#addresses.get(tenantNo) ?? 1) - 1;
        if (left > 0) this.#addresses.set(tenantNo, left);
        else this.#addresses.delete(tenantNo);
      }
    if (this.#seen.size === 0) this[Symbol.dispose]();
  }

  #record(seen: Seen): void {
    const { tenantNo, tenant, address, caller, fingerprint, operation, code } = seen.latest;
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
      members: `,"reasons":${JSON.stringify([{ code, message: '' }])},"detail":${JSON.stringify({ address, credential: fingerprint, count })}`,
      input: JSON.stringify({
        subject: null,
        action: { name: operation },
        resource: { type: 'tenant', id: tenant },
      }),
    });
    // Nobody waits for it: the caller was refused either way, and the store says itself when it cannot record.
    this.#writer.append(row).catch(() => undefined);
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }
}
