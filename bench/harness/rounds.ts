import { type Measured, undisturbed } from './machine.ts';

/** The middle value, or the mean of the two middle ones. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const half = sorted.length >> 1;
  if (sorted.length % 2 === 1) return sorted[half] ?? Number.NaN;
  return ((sorted[half - 1] ?? Number.NaN) + (sorted[half] ?? Number.NaN)) / 2;
}

/** A contender's figures in the order of the rounds. */
export interface Rounds<T> {
  readonly figures: readonly T[];
  /** How much of the machine something else used in each round. */
  readonly foreign: readonly number[];
}

/**
 * Measures the contenders in turn, round after round (a, b, a, b, …), so that whatever disturbs the machine disturbs
 * all of them alike, and again where it was disturbed.
 */
export async function interleaved<T>(
  rounds: number,
  contenders: Readonly<Record<string, () => Promise<T>>>,
  tries?: number,
): Promise<Record<string, Rounds<T>>> {
  const measured = new Map<string, Measured<T>[]>(Object.keys(contenders).map((name) => [name, []]));
  for (let round = 0; round < rounds; round += 1)
    for (const [name, measure] of Object.entries(contenders))
      measured.get(name)?.push(await undisturbed(measure, tries));
  return Object.fromEntries(
    [...measured].map(([name, each]) => [
      name,
      { figures: each.map(({ figure }) => figure), foreign: each.map(({ foreign }) => foreign) },
    ]),
  );
}

/** The rounds of one contender for `raw`. */
export const rawOf = ({ figures, foreign }: Rounds<number>) => ({
  rounds: figures.map(rounded),
  foreign_cpu: foreign.map((part) => Number(part.toFixed(2))),
});

/** Four significant digits: more would claim a precision that a shared machine does not have. */
export const rounded = (value: number): number =>
  Number.isFinite(value) ? Number(value.toPrecision(4)) : value;
