import type { GrantRow } from '../../storage/rows.ts';
import type { Meters } from '../../tenancy/meters-declared.ts';
import { budgeted } from './budget.ts';
import type { Met } from './met.ts';
import type { Bounded } from './usage.ts';

/**
 * How much a meter may count for somebody in all, whatever the policy says; undefined where nothing bounds it. `counted`: the
 * grant that it counts for, of `grant`, or that came of it.
 */
export const boundedBy = (
  meters: Meters,
  { name, meter: { limit }, bounds }: Met,
  counted: GrantRow | undefined,
  grant: GrantRow | undefined,
): Bounded | undefined =>
  smallest([
    leastOf(counted, bounds) ?? budgeted(meters, name, grant),
    limit === undefined ? undefined : { what: `the limit of the meter ${name}`, most: limit },
  ]);

const smallest = (all: readonly (Bounded | undefined)[]): Bounded | undefined =>
  all.filter((each) => each !== undefined).toSorted((one, other) => one.most - other.most)[0];

/** The smallest of the numbers by which a grant's details bound the meter; undefined where none does. */
function leastOf(grant: GrantRow | undefined, bounds: Met['bounds']): Bounded | undefined {
  if (!grant || bounds.length === 0) return undefined;
  const all = grant.details.flatMap((detail) =>
    bounds
      .filter(({ type, member }) => type === detail.type && typeof detail[member] === 'number')
      .map(({ type, member }) => ({ what: `${member} of ${type}`, most: detail[member] as number })),
  );
  return smallest(all);
}
