import { isDeepStrictEqual } from 'node:util';
import { ServiceError } from '../errors.ts';
import { type Comparison, type Detail, type DetailTypes, detailProblem } from '../tenancy/details.ts';

/** Of one grant. They are in its token, which travels in a header, and in every record of its use. */
export const MAX_DETAILS = 16;
export const MAX_DETAILS_CHARACTERS = 4_096;
const MAX_DEPTH = 8;

/** Whether a value is within another, for each way in which a member narrows. */
const within: Readonly<Record<Comparison, (child: unknown, parent: unknown) => boolean>> = {
  same: (child, parent) => isDeepStrictEqual(child, parent),
  subset: (child, parent) =>
    Array.isArray(child) && Array.isArray(parent) && child.every((each) => parent.includes(each)),
  at_most: (child, parent) => typeof child === 'number' && typeof parent === 'number' && child <= parent,
};

/** What two values have in common; undefined if nothing. */
const common: Readonly<Record<Comparison, (one: unknown, other: unknown) => unknown>> = {
  same: (one, other) => (isDeepStrictEqual(one, other) ? one : undefined),
  subset: (one, other) => {
    if (!Array.isArray(one) || !Array.isArray(other)) return undefined;
    const both = (one as unknown[]).filter((each) => other.includes(each));
    return both.length === 0 ? undefined : both;
  },
  at_most: (one, other) =>
    typeof one === 'number' && typeof other === 'number' ? Math.min(one, other) : undefined,
};

/** The members of a detail beside its type. */
const membersOf = ({ type: _type, ...members }: Detail): [string, unknown][] => Object.entries(members);

function comparisonOf(types: DetailTypes, type: string, name: string): Comparison | undefined {
  const members = Object.hasOwn(types, type) ? types[type]?.members : undefined;
  return members && Object.hasOwn(members, name) ? members[name] : undefined;
}

/**
 * Whether a detail is no wider than another of its type. A member that is left out bounds nothing, so where the parent
 * has one the child must have it too. A parent with a member that its type declares no more covers nothing.
 */
export function covers(types: DetailTypes, parent: Detail, child: Detail): boolean {
  if (parent.type !== child.type || !Object.hasOwn(types, child.type)) return false;
  return membersOf(parent).every(([name, bound]) => {
    const comparison = comparisonOf(types, parent.type, name);
    return comparison !== undefined && Object.hasOwn(child, name) && within[comparison](child[name], bound);
  });
}

/** The widest detail that both cover; undefined where there is none. */
export function meet(types: DetailTypes, one: Detail, other: Detail): Detail | undefined {
  if (one.type !== other.type || !Object.hasOwn(types, one.type)) return undefined;
  const met: Record<string, unknown> = { ...other, ...one };
  for (const [name, value] of membersOf(one)) {
    if (!Object.hasOwn(other, name)) continue;
    const comparison = comparisonOf(types, one.type, name);
    const both = comparison && common[comparison](value, other[name]);
    if (both === undefined) return undefined;
    met[name] = both;
  }
  return met as Detail;
}

/** What bounds the details of a child, beside the types: all of it is verified. */
export interface DetailBounds {
  /** As they were asked for: nothing of them is trusted. */
  readonly asked: readonly unknown[];
  /** Of the grant behind the presented token; undefined for a token of an issuer. */
  readonly parent: readonly Detail[] | undefined;
  /** Of the actor, and of each before it. */
  readonly ceilings: readonly (readonly Detail[])[];
}

/**
 * The details of a child: those asked for, and of the parent's those of types that were not asked for. So none is lost by
 * being left out: a policy may read a detail as a bound on what the scopes allow. Each is covered, as a whole, by one of
 * the parent's and by one of each ceiling. Throws `invalid_authorization_details`.
 */
export function narrowDetails(types: DetailTypes, { asked, parent, ceilings }: DetailBounds): Detail[] {
  const own = readDetails(types, asked);
  const kept = (parent ?? []).filter(({ type }) => !own.some((each) => each.type === type));
  const all = [...own, ...kept];
  if (kept.length > 0) readDetails(types, all);
  for (const [at, child] of all.entries()) {
    const name = at < own.length ? `authorization_details[${at}]` : `${child.type}, which the token has,`;
    const isWithin = (bounds: readonly Detail[]): boolean =>
      bounds.some((bound) => covers(types, bound, child));
    if (parent && !isWithin(parent)) throw invalid(`${name} is wider than what the presented token has`);
    if (!ceilings.every(isWithin))
      throw invalid(`${name} is beyond the ceiling of the agent, or of one that acted before it`);
  }
  return all;
}

function readDetails(types: DetailTypes, values: readonly unknown[]): Detail[] {
  const problem = sizeProblem(values);
  if (problem !== undefined) throw invalid(problem);
  for (const [at, value] of values.entries()) {
    const fault = detailProblem(types, value, 'detail');
    if (fault !== undefined) throw invalid(`authorization_details[${at}] ${fault}`);
  }
  return values as Detail[];
}

/** Why a grant cannot hold such details, whatever their types; undefined if it can. */
export function sizeProblem(details: readonly unknown[]): string | undefined {
  if (details.length > MAX_DETAILS) return `at most ${MAX_DETAILS} authorization_details`;
  for (const [at, value] of details.entries()) {
    const problem = soundness(value, MAX_DEPTH);
    if (problem !== undefined) return `authorization_details[${at}] ${problem}`;
  }
  return JSON.stringify(details).length > MAX_DETAILS_CHARACTERS
    ? `authorization_details are at most ${MAX_DETAILS_CHARACTERS} characters of JSON in all`
    : undefined;
}

/** What no JSON text holds, or too deep; stops at the bound. */
function soundness(value: unknown, left: number): string | undefined {
  if (typeof value === 'number' && !Number.isFinite(value)) return 'holds a number that is not finite';
  if (typeof value === 'string' && !value.isWellFormed()) return 'holds half of a surrogate pair';
  if (typeof value !== 'object' || value === null) return undefined;
  if (left === 0) return `nests deeper than ${MAX_DEPTH}`;
  for (const each of [...Object.keys(value), ...Object.values(value)]) {
    const problem = soundness(each, left - 1);
    if (problem !== undefined) return problem;
  }
  return undefined;
}

const invalid = (message: string): ServiceError => new ServiceError('invalid_authorization_details', message);

/**
 * Details within bounds that a policy sets: of each what it has in common with each bound of its type, without those that
 * another covers. One that has nothing in common with any is taken out.
 */
export const detailsWithin = (
  types: DetailTypes,
  details: readonly Detail[],
  bounds: readonly Detail[],
): Detail[] =>
  details.flatMap((detail) =>
    widest(
      types,
      bounds.flatMap((bound) => meet(types, detail, bound) ?? []),
    ),
  );

const widest = (types: DetailTypes, details: readonly Detail[]): Detail[] =>
  details.filter(
    (each, at) =>
      !details.some(
        (other, place) =>
          place !== at && covers(types, other, each) && (place < at || !covers(types, each, other)),
      ),
  );
