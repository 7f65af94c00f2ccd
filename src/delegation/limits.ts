import type { Reason } from '../decision/verdict.ts';
import type { GrantRow } from '../storage/rows.ts';

/** What the limits of a policy took from a grant. A member that is not there: nothing of that. */
export interface Cut {
  readonly scopes?: readonly string[];
  /** How much sooner it ends, in seconds. */
  readonly lifetimeSeconds?: number;
}

export interface Limited {
  readonly grant: GrantRow;
  readonly cut: Cut;
}

/** What the package `delegation` may say in `limits`. */
interface Limits {
  readonly lifetime_seconds?: number;
  readonly scope?: readonly string[];
}

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
} as const satisfies Record<keyof Limits, (value: unknown) => string | undefined>;

/**
 * Narrows a proposed grant to what the policy's `limits` say; they never widen it. Pure. Answers the reason of a deny
 * for limits that cannot be read, an unknown member among them, and for those that leave nothing: nobody can tell what
 * else their author meant to keep back.
 */
export function limit(proposed: GrantRow, said: unknown, now: number): Limited | { readonly reason: Reason } {
  const problem = problemOf(said);
  if (problem !== undefined) return { reason: { code: 'limits_malformed', message: problem } };
  const limits = said as Limits;
  const scopes = proposed.scopes.filter((scope) => limits.scope?.includes(scope) ?? true);
  if (scopes.length === 0) return nothingLeft('scopes');
  const expiresAt = Math.min(proposed.expiresAt, endOf(limits, now));
  const grant = { ...proposed, scopes, expiresAt };
  return { grant, cut: cutFrom(proposed, grant) };
}

function problemOf(said: unknown): string | undefined {
  if (typeof said !== 'object' || said === null || Array.isArray(said)) return 'limits is no object';
  for (const [name, value] of Object.entries(said)) {
    if (!Object.hasOwn(readers, name))
      return `limits has an unknown member ${name.slice(0, 64)}; it may have ${Object.keys(readers).join(', ')}`;
    const problem = readers[name as keyof Limits](value);
    if (problem !== undefined) return `limits.${name} ${problem}`;
  }
  return undefined;
}

const nothingLeft = (what: string) => ({
  reason: { code: 'limits_leave_nothing', message: `the limits of the policy leave none of the ${what}` },
});

/** Whole seconds, rounded down as all ends of grants are. */
const endOf = ({ lifetime_seconds: seconds = Number.POSITIVE_INFINITY }: Limits, now: number): number =>
  Math.floor((now + seconds * 1000) / 1000) * 1000;

function cutFrom(proposed: GrantRow, grant: GrantRow): Cut {
  const scopes = proposed.scopes.filter((scope) => !grant.scopes.includes(scope));
  const lifetimeSeconds = (proposed.expiresAt - grant.expiresAt) / 1000;
  return {
    ...(scopes.length > 0 ? { scopes } : {}),
    ...(lifetimeSeconds > 0 ? { lifetimeSeconds } : {}),
  };
}

/** As it stands in records and in the answer of the token endpoint; undefined where nothing was taken. */
export function cutMembers({ scopes, lifetimeSeconds }: Cut): Record<string, unknown> | undefined {
  const members = {
    ...(scopes ? { scope: scopes } : {}),
    ...(lifetimeSeconds ? { lifetime_seconds: lifetimeSeconds } : {}),
  };
  return Object.keys(members).length > 0 ? members : undefined;
}
