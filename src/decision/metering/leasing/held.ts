import type { Meter } from '../../../tenancy/meters-declared.ts';
import type { Lease } from './leases.ts';

/** What is left of a lease, in millionths. */
interface Part {
  readonly id: string;
  readonly limit: number;
  left: number;
  /** By the monotonic clock. */
  readonly ends: number;
}

/** How many parts there are at once: one that is used, and the next. */
const MOST_PARTS = 2;
/** What is over so soon is asked for anew before it is. In milliseconds. */
const SOON_MS = 3_000;
/** What is met so often is worth a lease: this many times within this many milliseconds. */
const OFTEN = 2;
const OFTEN_MS = 10_000;

/** One counter of an authority's, by the parts of it that may be counted here. Times by the monotonic clock. */
export class Held {
  readonly name: string;
  readonly of: string;
  /** When it may be asked for again. */
  notBefore = 0;
  /** While it is asked for. */
  isAsked = false;
  /** As it was declared when parts were asked for: they are of no use to another. */
  #meter: Meter;
  #parts: Part[] = [];
  #over: Part[] = [];
  #begun = Number.NEGATIVE_INFINITY;
  #met = 0;
  /** How much the newest part was. */
  #size = 0;

  constructor(name: string, of: string, meter: Meter) {
    this.name = name;
    this.of = of;
    this.#meter = meter;
  }

  isAs(meter: Meter): boolean {
    if (meter === this.#meter) return true;
    if (JSON.stringify(meter) !== JSON.stringify(this.#meter)) return false;
    this.#meter = meter;
    return true;
  }

  add({ id, amount, limit }: Lease, ends: number): void {
    this.#parts.push({ id, limit, left: amount, ends });
    this.#size = amount;
  }

  /** How much may be counted here, in millionths. */
  left(now: number): number {
    let sum = 0;
    let isAnyOver = false;
    for (const part of this.#parts) {
      if (isOver(part, now)) isAnyOver = true;
      else sum += part.left;
    }
    if (isAnyOver) {
      this.#over.push(...this.#parts.filter((each) => isOver(each, now)));
      this.#parts = this.#parts.filter((each) => !isOver(each, now));
    }
    return sum;
  }

  /**
   * How much was counted at most, wherever: an authority lets no more be counted than the limit, and what is left here nobody
   * has counted. In millionths, as is the limit that is declared.
   */
  most(now: number, declared: number): number {
    const left = this.left(now);
    return this.#parts.reduce((most, { limit }) => Math.max(most, limit), declared) - left;
  }

  /** Counts as much, of what ends first. Answers how to take it back, where it came to nothing. */
  take(amount: number): () => void {
    let rest = amount;
    const used: [Part, number][] = [];
    for (const part of this.#parts) {
      const of = Math.min(rest, part.left);
      part.left -= of;
      rest -= of;
      used.push([part, of]);
    }
    return () => {
      // What is over may have been given back without it.
      for (const [part, of] of used) if (this.#parts.includes(part)) part.left += of;
    };
  }

  /** Takes note that it was met; answers whether to ask for more of it. */
  isWanted(now: number): boolean {
    if (now - this.#begun > OFTEN_MS) {
      this.#begun = now;
      this.#met = 0;
    }
    this.#met += 1;
    const left = this.left(now);
    if (this.isAsked || now < this.notBefore || this.#parts.length >= MOST_PARTS) return false;
    if (left === 0) return this.#met >= OFTEN;
    return left * 2 < this.#size || this.#parts.every(({ ends }) => ends - now < SOON_MS);
  }

  /** Nobody has met it for a while, and nothing is left of it. */
  isForgotten(now: number): boolean {
    return this.#parts.length === 0 && !this.isAsked && now - this.#begun > OFTEN_MS;
  }

  /** What is left is of no use here. */
  giveUp(): void {
    this.#over.push(...this.#parts.splice(0));
  }

  /** What is over and not given back yet. */
  over(now: number): Part[] {
    this.left(now);
    return this.#over.splice(0);
  }
}

const isOver = ({ left, ends }: Part, now: number): boolean => left <= 0 || ends <= now;
