import { z } from 'zod';
import { describe } from '../../errors.ts';
import { principalClasses } from '../../ids.ts';
import { uses } from '../../storage/use.ts';
import { isDeeper, listed, MAX_DEPTH, placeOf } from '../manifest-issues.ts';
import { type LineOf, readLined, YamlInvalid } from './yaml.ts';

/** A table of requests and what is to be decided of each: `*_test.yaml`. */

/** Of one file. */
export const MAX_TESTS = 2_000;

const text = z.string().min(1).max(1_024);
const members = z.record(z.string(), z.json());
const texts = z.array(text).max(1_000);

const WHO = 'a principal is user:alice, or {class, id, groups, roles, properties, status}';
const RESOURCE = 'a resource is document:roadmap, or {type, id, properties}';

/** `user:alice` is looked up in tenant.yaml; the long form is anybody. */
const who = z.union(
  [
    z.string().regex(new RegExp(`^(?:${principalClasses.join('|')}):.{1,1024}$`, 'u'), WHO),
    z.strictObject({
      class: z.enum(principalClasses),
      id: text,
      groups: texts.default([]),
      roles: texts.default([]),
      properties: members.default({}),
      status: z.enum(['active', 'disabled', 'unknown']).default('active'),
    }),
  ],
  { error: WHO },
);

const grant = z.strictObject({
  id: text.default('grant'),
  scope: texts.default([]),
  use: z.enum(uses).default('act'),
  audience: z.string().max(1_024).default(''),
  /** Left out: the audience alone. */
  audiences: texts.optional(),
  authorization_details: z.array(members).max(64).default([]),
  may_act: members.nullable().default(null),
  cnf: members.optional(),
  task: members.optional(),
  depth: z.int().min(0).max(8).default(1),
  expires_at: z.iso.datetime({ offset: true }).optional(),
});

const test = z
  .strictObject({
    name: z.string().min(1).max(256),
    subject: who,
    actors: z.array(who).max(16).default([]),
    action: z.union([text, z.strictObject({ name: text, properties: members.default({}) })], {
      error: 'an action is its name, or {name, properties}',
    }),
    resource: z.union(
      [
        z.string().regex(/^[^:]{1,1024}:./u, RESOURCE),
        z.strictObject({
          type: text,
          id: z.string().max(1_024).default(''),
          properties: members.default({}),
        }),
      ],
      { error: RESOURCE },
    ),
    context: members.default({}),
    grant: grant.nullable().default(null),
    usage: z.record(z.string(), z.number()).optional(),
    approval: members.optional(),
    /** RFC 3339; left out, it is the time of the run. */
    now: z.iso.datetime({ offset: true, error: 'a time such as 2026-01-31T08:00:00Z' }).optional(),
    expect: z.enum(['allow', 'deny', 'challenge'], { error: 'it is allow, deny or challenge' }),
    /** Codes; all that there are, in any order. */
    reasons: texts.optional(),
    challenge: members.optional(),
    /** All that there are, in any order. */
    obligations: z.array(members).max(64).optional(),
  })
  .refine((one) => one.challenge === undefined || one.expect === 'challenge', {
    path: ['challenge'],
    error: 'there is one only where a challenge is expected',
  });

const table = z.strictObject({ tests: z.array(test).max(MAX_TESTS) });

/** JSON Schema (draft 2020-12) of a table, for editors. */
export const tableSchema = (): object => z.toJSONSchema(table, { io: 'input', unrepresentable: 'any' });

export type Who = z.infer<typeof who>;
export type TabledTest = z.infer<typeof test> & {
  /** Where it begins, from 1, and where each of those that it names stands. */
  readonly line: number;
  readonly subjectLine: number;
  readonly actorLines: readonly number[];
};

/** What is wrong, and where; 0 where unknown. */
export class TableInvalid extends Error {
  readonly line: number;

  constructor(problem: string, line = 0) {
    super(problem);
    this.line = line;
  }
}

/** Throws `TableInvalid`. An empty file holds no test. */
export function readTable(source: string): TabledTest[] {
  const { value, lineOf } = parsed(source);
  if (value === null) return [];
  if (isDeeper(value, MAX_DEPTH)) throw new TableInvalid(`more than ${MAX_DEPTH} levels deep`);
  const read = table.safeParse(value);
  if (!read.success) {
    // Of a member that is mistyped, that it is not known says more than that it is missing.
    const issues = read.error.issues.toSorted((a, b) => isUnknown(b) - isUnknown(a));
    throw new TableInvalid(listed(issues), lineOf(placeOf(issues[0])));
  }
  const names = new Set<string>();
  return read.data.tests.map((each, at) => {
    const line = lineOf(['tests', at]);
    if (names.has(each.name))
      throw new TableInvalid(`two tests are called ${JSON.stringify(each.name)}`, line);
    names.add(each.name);
    return {
      ...each,
      line,
      subjectLine: lineOf(['tests', at, 'subject']),
      actorLines: each.actors.map((_, actor) => lineOf(['tests', at, 'actors', actor])),
    };
  });
}

const isUnknown = ({ code }: z.core.$ZodIssue): number => Number(code === 'unrecognized_keys');

function parsed(source: string): { readonly value: unknown; readonly lineOf: LineOf } {
  try {
    // As in a manifest: an alias is what bombs are made of.
    return readLined(source, { maxAliasCount: 0, exact: false });
  } catch (cause) {
    const problem = describe(cause).split('\n')[0] ?? '';
    throw new TableInvalid(problem, cause instanceof YamlInvalid ? cause.line : 0);
  }
}
