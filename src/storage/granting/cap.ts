import type { GrantRow, TaskCap } from '../rows.ts';
import { narrowest } from '../use.ts';

/**
 * What is left of a grant in a task that was capped. It is asked of each grant as it is read, and nothing is written to
 * what came of the task: so to cap one costs one row, however many tokens of it there are, and none is read without it.
 * Pure, and never more than there was.
 */
export function capped(grant: GrantRow, cap: TaskCap): GrantRow {
  const { task, scopes, use, details, expiresAt } = grant;
  const until = cap.endsAt ?? Number.POSITIVE_INFINITY;
  return {
    ...grant,
    scopes: cap.scopes ? scopes.filter((each) => cap.scopes?.includes(each)) : scopes,
    use: narrowest(use, cap.use ?? 'act'),
    details: cap.details ? details.map((each) => lowered(each, cap.details)) : details,
    task: task && {
      ...task,
      endsAt: Math.min(task.endsAt, until),
      ...(cap.budget && { budget: leastOf(task.budget, cap.budget) }),
      cap,
    },
    expiresAt: Math.min(expiresAt, until),
  };
}

type Detail = GrantRow['details'][number];

/** One that says nothing of a number is bounded by it from now on. None is taken out: to a policy it may be a bound. */
function lowered(detail: Detail, bounds: TaskCap['details'] = {}): Detail {
  const numbers = Object.hasOwn(bounds, detail.type) ? bounds[detail.type] : undefined;
  if (!numbers) return detail;
  const least = Object.entries(numbers).map(([name, most]) => {
    const held = Object.hasOwn(detail, name) ? detail[name] : undefined;
    return [name, typeof held === 'number' ? Math.min(held, most) : most];
  });
  return { ...detail, ...Object.fromEntries(least) };
}

/** A cap upon another: what both leave. */
export function tighter(before: TaskCap | undefined, cap: TaskCap): TaskCap {
  if (!before) return cap;
  const ends = [before.endsAt, cap.endsAt].filter((each) => each !== undefined);
  const scopes =
    before.scopes && cap.scopes ? bothOf(before.scopes, cap.scopes) : (before.scopes ?? cap.scopes);
  const details = cap.details ? lowerOf(before.details, cap.details) : before.details;
  return {
    at: cap.at,
    ...(ends.length > 0 && { endsAt: Math.min(...ends) }),
    ...(scopes && { scopes }),
    ...((before.use ?? cap.use) && { use: narrowest(before.use ?? 'act', cap.use ?? 'act') }),
    ...(details && { details }),
    ...((cap.budget ?? before.budget) && { budget: leastOf(before.budget, cap.budget) }),
  };
}

const bothOf = (one: readonly string[], other: readonly string[]): readonly string[] =>
  one.filter((each) => other.includes(each));

function lowerOf(before: TaskCap['details'] = {}, more: NonNullable<TaskCap['details']>) {
  const all: Record<string, Numbers> = {};
  for (const [type, numbers] of [...Object.entries(before), ...Object.entries(more)])
    all[type] = leastOf(all[type], numbers);
  return all;
}

type Numbers = Readonly<Record<string, number>>;

/** All that either bounds, each by the lower one. */
function leastOf(one: Numbers = {}, other: Numbers = {}): Numbers {
  const least: Record<string, number> = { ...one };
  for (const [name, most] of Object.entries(other)) least[name] = Math.min(least[name] ?? most, most);
  return least;
}
