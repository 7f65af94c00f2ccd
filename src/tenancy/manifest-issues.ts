import type { z } from 'zod';

/** How deep properties may be: what is deeper some reader of them may not get to the end of. */
export const MAX_DEPTH = 64;

export const isDeeper = (value: unknown, levels: number): boolean =>
  typeof value === 'object' &&
  value !== null &&
  (levels === 0 || Object.values(value).some((each) => isDeeper(each, levels - 1)));

/** The first mistakes of what people write, each with the way to it. */
export const listed = (issues: readonly z.core.$ZodIssue[]): string =>
  issues
    .slice(0, 3)
    .map((issue) => `${issue.path.join('.') || 'document'}: ${issue.message}`)
    .join('; ');

/** A member that is not known has a place, too. */
export const placeOf = (issue: z.core.$ZodIssue | undefined): readonly PropertyKey[] =>
  issue?.code === 'unrecognized_keys' ? [...issue.path, issue.keys[0] ?? ''] : (issue?.path ?? []);
