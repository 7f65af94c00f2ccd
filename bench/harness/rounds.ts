/** The middle value, or the mean of the two middle ones. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const half = sorted.length >> 1;
  if (sorted.length % 2 === 1) return sorted[half] ?? Number.NaN;
  return ((sorted[half - 1] ?? Number.NaN) + (sorted[half] ?? Number.NaN)) / 2;
}

/**
 * Measures the contenders in turn, round after round (a, b, a, b, …), so that whatever disturbs the machine disturbs
 * all of them. Answers each one's figures in the order of the rounds.
 */
export async function interleaved<T>(
  rounds: number,
  contenders: Readonly<Record<string, () => Promise<T>>>,
): Promise<Record<string, T[]>> {
  const figures: Record<string, T[]> = {};
  for (let round = 0; round < rounds; round += 1)
    for (const [name, measure] of Object.entries(contenders)) (figures[name] ??= []).push(await measure());
  return figures;
}

/** Four significant digits: more would claim a precision that a shared machine does not have. */
export const rounded = (value: number): number =>
  Number.isFinite(value) ? Number(value.toPrecision(4)) : value;
