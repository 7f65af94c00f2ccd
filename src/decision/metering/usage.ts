import { refusal, type Verdict } from '../../verdict.ts';
import { ForAuthority } from '../elsewhere.ts';
import { inUnits } from './amount.ts';
import type { Taken } from './taken.ts';

/** How much may be counted in all, and what says so. */
export interface Bounded {
  readonly what: string;
  readonly most: number;
}

/** A meter as a decision finds it. Amounts in millionths. */
export interface Reading<Where extends Level = Level> {
  readonly name: string;
  readonly seen: number;
  /** Where it is counted: for one, or for a grant and each that it came from. */
  readonly levels: readonly Where[];
  readonly since: number;
  /** Of spans that begin no earlier what was seen is the sum. */
  readonly from: number;
  readonly counts: boolean;
  /** How much this one is; undefined where the request does not say it, or nothing is counted. */
  readonly amount: number | undefined;
  readonly sum: string | undefined;
}

export interface Level {
  readonly of: string;
  readonly until: number | null;
  readonly total: number;
  readonly bounded: Bounded | undefined;
}

/** A meter that something counts for, and how much. */
export type Counting<Of extends Reading = Reading> = Of & { readonly amount: number };

/** What was counted before a decision, and what it counts itself. */
export class Usage {
  readonly #readings: readonly Reading[];
  readonly #take: (() => Taken) | undefined;
  readonly #counting: readonly Counting[];
  readonly #inVain: (() => void) | undefined;

  /**
   * Without `take` nothing is counted: it is but asked what would be decided. `inVain`: of a count that is more than what was
   * counted, called where it was not allowed by it.
   */
  constructor(readings: readonly Reading[], take: (() => Taken) | undefined, inVain?: () => void) {
    this.#readings = readings;
    this.#take = take;
    this.#counting = take ? readings.filter(isCounting) : [];
    this.#inVain = inVain;
  }

  /** Throws `ForAuthority` where it was seen as more than it is, and by what it is it might be allowed. */
  checkAllowed({ outcome }: Pick<Verdict, 'outcome'>): void {
    if (!this.#inVain || outcome === 'allow') return;
    this.#inVain();
    throw new ForAuthority();
  }

  /** `input.usage`. */
  get seen(): Readonly<Record<string, number>> {
    return Object.fromEntries(this.#readings.map(({ name, seen }) => [name, inUnits(seen)]));
  }

  /** Why it is denied whatever the policy says, if it is: nobody can tell how much it would be. */
  get problem(): Verdict | undefined {
    if (!this.#take) return undefined;
    const unclear = this.#readings.find(({ counts, amount }) => counts && amount === undefined);
    return unclear && refusal('usage_unclear', `the meter ${unclear.name} takes ${unclear.sum}: ${A_NUMBER}`);
  }

  /** Why what the policy allows is denied, if it is. */
  get exceeded(): Verdict | undefined {
    for (const { name, levels, amount, counts } of this.#readings) {
      if (!counts) continue;
      // Where it is but asked, the least that there is would have to be left.
      const more = amount ?? 1;
      for (const { total, bounded } of levels) {
        if (!Number.isSafeInteger(total + more))
          return refusal('usage_exceeded', `the meter ${name} is full`);
        if (bounded && inUnits(total + more) > bounded.most)
          return refusal('usage_exceeded', `${bounded.what} allows no more`);
      }
    }
    return undefined;
  }

  /** What it counts, for the record: JSON members with a leading comma. */
  get counted(): string {
    const amounts = this.#counting.map(({ name, amount }) => `"${name}":${inUnits(amount)}`);
    return amounts.length === 0 ? '' : `,"counted":{${amounts.join(',')}}`;
  }

  /** Counts. Called with nothing awaited since it was looked at. Undefined where there is nothing to count. */
  take(): Taken | undefined {
    return this.#counting.length === 0 ? undefined : this.#take?.();
  }
}

export const isCounting = <Of extends Reading>(reading: Of): reading is Counting<Of> =>
  reading.counts && (reading.amount ?? 0) > 0;

const A_NUMBER = 'a number, 0 or more, of at most six decimals';
