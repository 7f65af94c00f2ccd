import { isDeepStrictEqual } from 'node:util';
import type { GrantRow, Use } from '../storage/rows.ts';
import { isUse, narrowest, uses } from '../storage/use.ts';
import { type Detail, type DetailTypes, detailProblem } from '../tenancy/details.ts';
import type { Reason } from '../verdict.ts';
import { detailsWithin, MAX_DETAILS, sizeProblem } from './details.ts';

/** What the limits of a policy took from a grant. A member that is not there: nothing of that. */
export interface Cut {
  readonly scopes?: readonly string[];
  /** How much sooner it ends, in seconds. */
  readonly lifetimeSeconds?: number;
  /** The class of use that it would have had. */
  readonly use?: Use;
  /** How many authorization details are not as they would have been granted. What they say may be sealed. */
  readonly details?: number;
}

export interface Limited {
  readonly grant: GrantRow;
  readonly cut: Cut;
}

/** What the package `delegation` may say in `limits`. */
interface Limits {
  readonly lifetime_seconds?: number;
  readonly scope?: readonly string[];
  readonly use?: Use;
  readonly details?: readonly Detail[];
}

type Reader = (value: unknown, types: DetailTypes) => string | undefined;

/** How each member is read. Each answers what is wrong with it; undefined if nothing. */
const readers = {
  lifetime_seconds: (value) =>
    Number.isSafeInteger(value) && (value as number) >= 1
      ? undefined
      : 'is no whole number of seconds from 1 on',
  scope: (value) =>
    Array.isArray(value) && value.every((each) => typeof each === 'string')
      ? undefined
      : 'is no set of texts',
  use: (value) => (isUse(value) ? undefined : `is none of ${uses.join(', ')}`),
  details: (value, types) => {
    if (!Array.isArray(value) || value.length > MAX_DETAILS)
      return `is no set of ${MAX_DETAILS} details at most`;
    const problems = value.map((each) => detailProblem(types, each, 'bound'));
    const at = problems.findIndex((each) => each !== undefined);
    return at < 0 ? undefined : `[${at}] ${problems[at]}`;
  },
} as const satisfies Record<keyof Limits, Reader>;

/**
 * Narrows a proposed grant to what the policy's `limits` say; they never widen it. Pure. Answers the reason of a deny
 * for limits that cannot be read, an unknown member among them, and for those that leave nothing: nobody can tell what
 * else their author meant to keep back.
 */
export function limit(
  proposed: GrantRow,
  said: unknown,
  now: number,
  types: DetailTypes,
): Limited | { readonly reason: Reason } {
  const problem = problemOf(said, types);
  if (problem !== undefined) return malformed(problem);
  const limits = said as Limits;
  const scopes = proposed.scopes.filter((scope) => limits.scope?.includes(scope) ?? true);
  if (scopes.length === 0) return nothingLeft('scopes');
  const details = limits.details ? detailsWithin(types, proposed.details, limits.details) : proposed.details;
  const lost = proposed.details.find(({ type }) => !details.some((each) => each.type === type));
  // To a policy that reads them as a bound, none of a type would say that there is none.
  if (lost) return nothingLeft(`authorization details of the type ${lost.type}`);
  const tooMuch = sizeProblem(details);
  if (tooMuch !== undefined) return malformed(`with limits.details: ${tooMuch}`);
  const expiresAt = Math.min(proposed.expiresAt, endOf(limits, now));
  const use = narrowest(proposed.use, limits.use ?? 'act');
  const grant = { ...proposed, scopes, use, details, expiresAt };
  return { grant, cut: cutFrom(proposed, grant) };
}

function problemOf(said: unknown, types: DetailTypes): string | undefined {
  if (typeof said !== 'object' || said === null || Array.isArray(said)) return 'limits is no object';
  for (const [name, value] of Object.entries(said)) {
    if (!Object.hasOwn(readers, name))
      return `limits has an unknown member ${name.slice(0, 64)}; it may have ${Object.keys(readers).join(', ')}`;
    const problem = readers[name as keyof Limits](value, types);
    if (problem !== undefined) return `limits.${name}${problem.startsWith('[') ? '' : ' '}${problem}`;
  }
  return undefined;
}

const malformed = (message: string) => ({ reason: { code: 'limits_malformed', message } });

const nothingLeft = (what: string) => ({
  reason: { code: 'limits_leave_nothing', message: `the limits of the policy leave none of the ${what}` },
});

/** Whole seconds, rounded down as all ends of grants are. */
const endOf = ({ lifetime_seconds: seconds = Number.POSITIVE_INFINITY }: Limits, now: number): number =>
  Math.floor((now + seconds * 1000) / 1000) * 1000;

function cutFrom(proposed: GrantRow, grant: GrantRow): Cut {
  const scopes = proposed.scopes.filter((scope) => !grant.scopes.includes(scope));
  const details = proposed.details.filter(
    (each) => !grant.details.some((own) => isDeepStrictEqual(own, each)),
  );
  const lifetimeSeconds = (proposed.expiresAt - grant.expiresAt) / 1000;
  return {
    ...(scopes.length > 0 ? { scopes } : {}),
    ...(lifetimeSeconds > 0 ? { lifetimeSeconds } : {}),
    ...(grant.use === proposed.use ? {} : { use: proposed.use }),
    ...(details.length > 0 ? { details: details.length } : {}),
  };
}

/** As it stands in records and in the answer of the token endpoint; undefined where nothing was taken. */
export function cutMembers({
  scopes,
  lifetimeSeconds,
  use,
  details,
}: Cut): Record<string, unknown> | undefined {
  const members = {
    ...(scopes ? { scope: scopes } : {}),
    ...(lifetimeSeconds ? { lifetime_seconds: lifetimeSeconds } : {}),
    ...(use ? { use } : {}),
    ...(details ? { authorization_details: details } : {}),
  };
  return Object.keys(members).length > 0 ? members : undefined;
}
