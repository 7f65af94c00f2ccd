import type { GrantRow } from '../../storage/rows.ts';
import type { Meters } from '../../tenancy/meters-declared.ts';
import { ownValue } from './own-value.ts';
import type { Bounded } from './usage.ts';

/** Whether a task may have a budget by a meter: it counts for each task, from its first use to its last. */
export function isBudgeted(meters: Meters, name: string): boolean {
  const meter = Object.hasOwn(meters, name) ? meters[name] : undefined;
  return meter?.per === 'task' && meter.window === undefined;
}

/**
 * How much the task of a grant may be used for by a meter; undefined where it has no budget of it. One that was given
 * when the meter counted otherwise lets nothing through: nobody has counted what was used of it.
 */
export function budgeted(meters: Meters, name: string, grant: GrantRow | undefined): Bounded | undefined {
  const most = ownValue(grant?.task?.budget, name);
  if (typeof most !== 'number') return undefined;
  return { what: `the budget of the task for ${name}`, most: isBudgeted(meters, name) ? most : -1 };
}
