import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { faultChannel, type StoreFault, setAsideChannel } from './faults.ts';
import type { TenantNo } from './rows.ts';

/**
 * How long a fault that may pass is held against the store. Who asks whether it is ready sends nothing until it is, so
 * it must be so again without another read.
 */
const DOUBTED_MS = 5_000;

/** Damage has many places once it has one; an operator needs the first. Of each log, as one may be set aside. */
const MOST_KEPT = 20;

/** The faults that anybody met since the start: with one that lasts, or one that is new, the store is not ready. */
export class StoreHealth implements Disposable {
  readonly #lasting = new Map<string, StoreFault>();
  readonly #counts = new Map<TenantNo | undefined, number>();
  #passing = '';
  #failedAt = Number.NEGATIVE_INFINITY;
  readonly #hear = (message: unknown): void => {
    const fault = message as StoreFault;
    if (fault.tenantNo !== undefined && this.#setAside.has(fault.tenantNo)) return;
    if (fault.lasts) return this.#keep(fault);
    this.#passing = fault.text;
    this.#failedAt = performance.now();
  };

  readonly #setAside = new Set<TenantNo>();
  readonly #forgive = (message: unknown): void => {
    const { tenantNo } = message as { tenantNo: TenantNo };
    this.#setAside.add(tenantNo);
    for (const [key, fault] of this.#lasting) if (fault.tenantNo === tenantNo) this.#lasting.delete(key);
  };

  constructor() {
    subscribe(faultChannel.name, this.#hear);
    subscribe(setAsideChannel.name, this.#forgive);
  }

  get ready(): boolean {
    return this.#lasting.size === 0 && !this.#isDoubted;
  }

  /** What an operator should know, a line each. */
  problems(): string[] {
    const lasting = [...this.#lasting.values()];
    const own = lasting.filter(({ tenantNo }) => tenantNo === undefined).map(({ text }) => text);
    if (lasting.length > own.length) own.push('it is damaged: a log has records that cannot be read');
    return [...own, ...(this.#isDoubted ? [this.#passing] : [])].map((text) => `store: ${text}`);
  }

  /** Those that are about one tenant. */
  ofTenants(): StoreFault[] {
    return [...this.#lasting.values()].filter(({ tenantNo }) => tenantNo !== undefined);
  }

  #keep(fault: StoreFault): void {
    const count = this.#counts.get(fault.tenantNo) ?? 0;
    const key = `${fault.tenantNo ?? ''} ${fault.text}`;
    if (count === MOST_KEPT || this.#lasting.has(key)) return;
    this.#counts.set(fault.tenantNo, count + 1);
    this.#lasting.set(key, fault);
  }

  get #isDoubted(): boolean {
    return performance.now() - this.#failedAt < DOUBTED_MS;
  }

  [Symbol.dispose](): void {
    unsubscribe(faultChannel.name, this.#hear);
    unsubscribe(setAsideChannel.name, this.#forgive);
  }
}
