import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { ServiceError } from '../../../src/errors.ts';
import type { Condition } from '../../../src/policy/plan/condition.ts';
import { holds } from '../../../src/policy/plan/evaluate.ts';
import { fitsPostgres, fitsSqlite, postgresStore, type Store, sqliteStore } from './databases.ts';
import { policies, type Resource, resources, subjects } from './grammar.ts';
import { type Subject, subjectOf } from './subject.ts';

/** A plan is what Check says, of resources among which attributes are missing, null and of other types. */
const RUNS = Number(process.env['PLAN_RUNS'] ?? 25);
const RESOURCES = 150;

/** Of a counterexample what is thrown says all. */
const told = <T>(run: fc.RunDetails<T>): void => {
  if (run.failed)
    throw new Error(`seed ${run.seed}, path ${run.counterexamplePath}`, { cause: run.errorInstance });
};

const many = fc.array(resources, { minLength: RESOURCES, maxLength: RESOURCES });

interface Planned {
  readonly subject: Subject;
  /** Whether the filter leaves nothing out that is allowed. */
  readonly isCertain: boolean;
  readonly policy: string;
}

/** Looks at so many policies that can be planned. */
async function eachPlan(
  look: (planned: Planned, all: readonly Resource[]) => Promise<void> | void,
): Promise<{ planned: number; refused: number }> {
  const met = { planned: 0, refused: 0 };
  await fc.assert(
    fc.asyncProperty(policies, subjects, many, async ({ text: policy, isCertain }, asker, all) => {
      let subject: Subject;
      try {
        subject = await subjectOf(policy, asker);
      } catch (error) {
        if (!(error instanceof ServiceError) || error.code !== 'plan_unsupported') throw error;
        met.refused += 1;
        return;
      }
      met.planned += 1;
      await look({ subject, isCertain, policy }, all);
    }),
    { numRuns: RUNS, endOnFailure: true, reporter: told },
  );
  return met;
}

const wrong = ({ policy, subject }: Planned, resource: Resource, allowed: boolean): Error =>
  new Error(
    `${JSON.stringify(resource)}: ${allowed ? 'allowed' : 'denied'}, the filter says otherwise:\n${JSON.stringify(subject.plan.condition)}\n${policy}`,
  );

test('a condition holds of a resource if and only if the engine allows it', async () => {
  const decided = { allowed: 0, denied: 0 };
  const { planned, refused } = await eachPlan((each, all) => {
    for (const resource of all) {
      const allowed = each.subject.allows(resource);
      decided[allowed ? 'allowed' : 'denied'] += 1;
      const held = holds(each.subject.plan.condition, { resource });
      if (held ? !allowed : allowed && each.isCertain) throw wrong(each, resource, allowed);
    }
  });
  expect(planned).toBeGreaterThan(refused);
  expect(decided.allowed).toBeGreaterThan(RUNS);
  expect(decided.denied).toBeGreaterThan(RUNS);
}, 600_000);

async function selects(
  store: Store,
  each: Planned,
  all: readonly Resource[],
  asked: (resource: Resource) => readonly Resource[],
): Promise<void> {
  const condition: Condition = each.subject.plan.condition;
  await store.fill(all);
  const selected = await store.select(condition);
  for (const [at, row] of all.entries()) {
    const answers = asked(row).map(each.subject.allows);
    const isIn = selected.has(at);
    if (isIn ? answers.includes(false) : answers.length === 1 && answers[0] && each.isCertain)
      throw wrong(each, row, !isIn);
  }
}

/** Null in a column of text, numbers or booleans is what it means; within json it is null. */
const scalarsOut = ({ id, properties }: Resource): Resource => {
  const { owner, level, open, ...json } = properties;
  const left = Object.entries({ owner, level, open }).filter(
    ([, value]) => value !== undefined && value !== null,
  );
  return { id, properties: { ...json, ...Object.fromEntries(left) } };
};
const scalarsNull = (resource: Resource): Resource => {
  const { id, properties } = resource;
  return { id, properties: { owner: null, level: null, open: null, ...properties } };
};

const meanings = {
  absent: (row: Resource) => [scalarsOut(row)],
  either: (row: Resource) => [scalarsOut(row), scalarsNull(row)],
} as const;

test.each(['absent', 'either'] as const)(
  'SQLite selects what is allowed, where a NULL is %s',
  async (meaning) => {
    const store = sqliteStore(meaning);
    const { planned } = await eachPlan((each, all) =>
      selects(store, each, all.filter(fitsSqlite), meanings[meaning]),
    );
    expect(planned).toBeGreaterThan(0);
  },
  600_000,
);

test.each(['absent', 'either'] as const)(
  'PostgreSQL selects what is allowed, where a NULL is %s',
  async (meaning) => {
    await using store = await postgresStore(meaning);
    const { planned } = await eachPlan((each, all) =>
      selects(store, each, all.filter(fitsPostgres), meanings[meaning]),
    );
    expect(planned).toBeGreaterThan(0);
  },
  600_000,
);
