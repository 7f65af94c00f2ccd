import type { UsageCount } from '../../storage/usage.ts';
import { refusal, type Verdict } from '../verdict.ts';
import { inUnits } from './amount.ts';
import type { Taken } from './taken.ts';

/** How much may be counted in all, and what says so. */
export interface Bounded {
  readonly what: string;
  readonly most: number;
}

/** A meter as a decision finds it. Amounts in millionths. */
export interface Reading {
  readonly name: string;
  readonly seen: number;
  /** Where it is counted: for one, or for a grant and each that it came from. */
  readonly levels: readonly {
    readonly of: string;
    readonly until: number | null;
    readonly total: number;
    readonly bounded: Bounded | undefined;
  }[];
  readonly since: number;
  readonly counts: boolean;
  /** How much this one is; undefined where the request does not say it, or nothing is counted. */
  readonly amount: number | undefined;
  readonly sum: string | undefined;
}

/** What was counted before a decision, and what it counts itself. */
export class Usage {
  readonly #readings: readonly Reading[];
  readonly #take: ((counts: readonly UsageCount[]) => Taken) | undefined;

  /** Without `take` nothing is counted: it is but asked what would be decided. */
  constructor(readings: readonly Reading[], take: ((counts: readonly UsageCount[]) => Taken) | undefined) {
    this.#readings = readings;
    this.#take = take;
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
    const amounts = this.#counting().map(({ name, amount }) => [name, inUnits(amount)]);
    return amounts.length === 0 ? '' : `,"counted":${JSON.stringify(Object.fromEntries(amounts))}`;
  }

  /** Counts. Called with nothing awaited since it was looked at. Undefined where there is nothing to count. */
  take(): Taken | undefined {
    const counts = this.#counting().flatMap(({ name: meter, levels, since, amount }) =>
      levels.map(({ of, until }) => ({ meter, of, since, amount, until })),
    );
    return counts.length === 0 ? undefined : this.#take?.(counts);
  }

  #counting() {
    if (!this.#take) return [];
    return this.#readings.flatMap((reading) => {
      const { counts, amount = 0 } = reading;
      return counts && amount > 0 ? [{ ...reading, amount }] : [];
    });
  }
}

const A_NUMBER = 'a number, 0 or more, of at most six decimals';
