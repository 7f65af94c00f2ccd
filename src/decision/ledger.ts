import { TENANT_SPAN, type TenantNo } from '../storage/rows.ts';

/** What is under way, and what rates have left: what admission counts in. By the number of the tenant. */
export interface Counts {
  /** Decisions that wait for their answer. */
  readonly open: number;
  /** Tenants that have any. */
  readonly busy: number;
  openOf(no: TenantNo): number;
  take(no: TenantNo, count: number): void;
  giveBack(no: TenantNo, count: number): void;
  /**
   * Pays for `count` at so many a second, out of a bucket that holds one second's worth and may be overdrawn by what is
   * paid at once. Answers 0, or after how many milliseconds there is something in it again, and then nothing is paid.
   */
  pay(no: TenantNo, rate: number, count: number): number;
}

interface Bucket {
  left: number;
  refilledAt: number;
}

/** Where one thread admits all. */
export class OwnCounts implements Counts {
  readonly #clock: () => number;
  readonly #open = new Map<TenantNo, number>();
  readonly #buckets = new Map<TenantNo, Bucket>();
  #sum = 0;

  constructor(clock: () => number) {
    this.#clock = clock;
  }

  get open(): number {
    return this.#sum;
  }

  get busy(): number {
    return this.#open.size;
  }

  openOf(no: TenantNo): number {
    return this.#open.get(no) ?? 0;
  }

  take(no: TenantNo, count: number): void {
    this.#sum += count;
    this.#open.set(no, this.openOf(no) + count);
  }

  giveBack(no: TenantNo, count: number): void {
    this.#sum -= count;
    const open = this.openOf(no) - count;
    if (open > 0) this.#open.set(no, open);
    else this.#open.delete(no);
  }

  pay(no: TenantNo, rate: number, count: number): number {
    const now = this.#clock();
    const bucket = this.#buckets.get(no) ?? { left: rate, refilledAt: now };
    this.#buckets.set(no, bucket);
    // A clock that is set back must not take away what was earned.
    const earned = (Math.max(0, now - bucket.refilledAt) / 1_000) * rate;
    bucket.left = Math.min(rate, bucket.left + earned);
    bucket.refilledAt = now;
    if (bucket.left < 1) return Math.ceil(((1 - bucket.left) / rate) * 1_000);
    bucket.left -= count;
    return 0;
  }
}

/** What threads that all admit count in together; and what one of them has taken, which is given back if it ends. */
export interface SharedLedger {
  /** The sum of what is open, the number of tenants that have any, and of each tenant what it has. */
  readonly open: SharedArrayBuffer;
  /** When each bucket is full again, in nanoseconds of a clock that the process has one of. */
  readonly full: SharedArrayBuffer;
  readonly own: SharedArrayBuffer;
}

const [SUM, BUSY, FIRST] = [0, 1, 2];
const SECOND = 1_000_000_000n;

/** The pages that nobody counts in are never there. */
export const sharedLedgers = (threads: number): SharedLedger[] => {
  const open = new SharedArrayBuffer((FIRST + TENANT_SPAN) * Int32Array.BYTES_PER_ELEMENT);
  const full = new SharedArrayBuffer(TENANT_SPAN * BigInt64Array.BYTES_PER_ELEMENT);
  return Array.from({ length: threads }, () => ({
    open,
    full,
    own: new SharedArrayBuffer(TENANT_SPAN * Int32Array.BYTES_PER_ELEMENT),
  }));
};

/** Where several threads admit, each by itself. Between a look and what is taken another may take, one call each at most. */
export class SharedCounts implements Counts {
  readonly #open: Int32Array;
  readonly #full: BigInt64Array;
  readonly #own: Int32Array;
  readonly #monotonic: () => bigint;

  constructor({ open, full, own }: SharedLedger, monotonic: () => bigint = () => process.hrtime.bigint()) {
    this.#open = new Int32Array(open);
    this.#full = new BigInt64Array(full);
    this.#own = new Int32Array(own);
    this.#monotonic = monotonic;
  }

  get open(): number {
    return Atomics.load(this.#open, SUM);
  }

  get busy(): number {
    return Atomics.load(this.#open, BUSY);
  }

  openOf(no: TenantNo): number {
    return Atomics.load(this.#open, FIRST + no);
  }

  take(no: TenantNo, count: number): void {
    this.#add(no, count);
    this.#own[no] = (this.#own[no] ?? 0) + count;
  }

  giveBack(no: TenantNo, count: number): void {
    this.#own[no] = (this.#own[no] ?? 0) - count;
    this.#add(no, -count);
  }

  #add(no: TenantNo, count: number): void {
    const before = Atomics.add(this.#open, FIRST + no, count);
    Atomics.add(this.#open, SUM, count);
    if (before === 0) Atomics.add(this.#open, BUSY, 1);
    if (before + count === 0) Atomics.sub(this.#open, BUSY, 1);
  }

  /** The same bucket as one thread's, told by when it is full: so it is one number, which is changed at once. */
  pay(no: TenantNo, rate: number, count: number): number {
    const each = SECOND / BigInt(rate);
    for (;;) {
      const now = this.#monotonic();
      const known = Atomics.load(this.#full, no);
      const full = known > now ? known : now;
      const short = full - now - (SECOND - each);
      if (short > 0n) return Number((short + 999_999n) / 1_000_000n);
      if (Atomics.compareExchange(this.#full, no, known, full + each * BigInt(count)) === known) return 0;
    }
  }

  /** Of a thread that has ended: what it had taken is free again. */
  release(): void {
    this.#own.forEach((count, no) => {
      if (count !== 0) this.#add(no as TenantNo, -count);
    });
    this.#own.fill(0);
  }
}
