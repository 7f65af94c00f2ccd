import { z } from 'zod';
import { meterName } from './meters-declared.ts';

/**
 * How a member of an authorization detail (RFC 9396) narrows: it stays what it was, is a set that may only lose members,
 * or a number that may only fall.
 */
export const comparisons = ['same', 'subset', 'at_most'] as const;
export type Comparison = (typeof comparisons)[number];

/** One authorization detail: its type, and the members that the tenant declares for it. */
export type Detail = { readonly [name: string]: unknown; readonly type: string };

const typeName = z.string().regex(/^[A-Za-z][\w.:/#?&=%+~-]{0,255}$/);
/** The type itself is no member to declare. */
const memberName = z.string().regex(/^(?!type$)[A-Za-z][\w.-]{0,63}$/);

const named =
  (what: string) =>
  ({ code }: { code: string }): string | undefined =>
    code === 'invalid_key' ? what : undefined;

const ownComparison = (
  members: Readonly<Record<string, Comparison>>,
  name: string,
): Comparison | undefined => (Object.hasOwn(members, name) ? members[name] : undefined);

const detailType = z
  .strictObject({
    /** Member → how it narrows. A detail has no others. */
    members: z.record(memberName, z.enum(comparisons), {
      error: named('a member is a name such as max_calls, and not type'),
    }),
    /** What a detail must say; a member that is left out bounds nothing. */
    required: z.array(memberName).max(64).default([]),
    /** Member → the meter that it bounds: so much, and no more, may a grant and all that comes of it be used for. */
    bounds: z.record(memberName, meterName).default({}),
  })
  .refine(
    ({ members, bounds }) => Object.keys(bounds).every((name) => ownComparison(members, name) === 'at_most'),
    {
      path: ['bounds'],
      error: 'what bounds a meter is a member that is at_most',
    },
  )
  .refine(({ members, required }) => required.every((name) => Object.hasOwn(members, name)), {
    path: ['required'],
    error: 'what is required is one of the members',
  });

/** The types that a tenant declares, in tenant.yaml: `authorization_details`. */
export const detailTypes = z
  .record(typeName, detailType, { error: named('a type is a name such as tool_call, or a URI') })
  .refine((types) => Object.keys(types).length <= 64, 'at most 64 types')
  .default({});
export type DetailTypes = z.infer<typeof detailTypes>;

/** What an agent may get at most: as details, of which each may leave out what it does not bound. */
export const ceilingDetails = z
  .array(z.looseObject({ type: z.string() }))
  .max(64)
  .default([]);

const MAX_SET = 256;
const MAX_TEXT = 256;

/** What is wrong with a member's value; undefined if nothing. */
const readers: Readonly<Record<Comparison, (value: unknown) => string | undefined>> = {
  same: (value) => (value === null || value === undefined ? 'is null' : undefined),
  subset: (value) =>
    Array.isArray(value) && value.length > 0 && value.length <= MAX_SET && isSetOfTexts(value)
      ? undefined
      : `is no array of 1 to ${MAX_SET} different texts of 1 to ${MAX_TEXT} characters`,
  at_most: (value) => (Number.isFinite(value) ? undefined : 'is no number'),
};

const isSetOfTexts = (items: readonly unknown[]): boolean =>
  new Set(items).size === items.length &&
  items.every((each) => typeof each === 'string' && each !== '' && each.length <= MAX_TEXT);

/**
 * Why a value is no detail of one of the types; undefined if it is one. A `bound` may leave out what its type requires.
 * No value is told: it may be what the tenant seals.
 */
export function detailProblem(
  types: DetailTypes,
  value: unknown,
  as: 'detail' | 'bound',
): string | undefined {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return 'is no object';
  const { type, ...members } = value as Record<string, unknown>;
  if (typeof type !== 'string') return 'has no type';
  const declared = Object.hasOwn(types, type) ? types[type] : undefined;
  if (!declared) return `is of a type that the tenant does not declare: ${type.slice(0, MAX_TEXT)}`;
  for (const [name, each] of Object.entries(members)) {
    const comparison = Object.hasOwn(declared.members, name) ? declared.members[name] : undefined;
    if (!comparison) return `has a member that ${type} does not declare: ${name.slice(0, 64)}`;
    const problem = readers[comparison](each);
    if (problem !== undefined) return `${name} ${problem}`;
  }
  const missing = declared.required.find((name) => !Object.hasOwn(members, name));
  return as === 'detail' && missing !== undefined ? `${missing} is missing` : undefined;
}
