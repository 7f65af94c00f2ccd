import * as fc from 'fast-check';
import { ServiceError } from '../../../src/errors.ts';
import { policies, type Resource, resources, subjects } from './grammar.ts';
import { type Subject, subjectOf } from './subject.ts';

/** Plans of many policies, and what they are held to. */

/** `PLAN_RUNS=2000` for a long hunt. */
export const RUNS = Number(process.env['PLAN_RUNS'] ?? 12);
/** Of one test. */
export const PATIENCE_MS = Math.max(600_000, RUNS * 5_000);
const RESOURCES = 150;

/** Of a counterexample what is thrown says all. */
const told = <T>(run: fc.RunDetails<T>): void => {
  if (run.failed)
    throw new Error(`seed ${run.seed}, path ${run.counterexamplePath}`, { cause: run.errorInstance });
};

const many = fc.array(resources, { minLength: RESOURCES, maxLength: RESOURCES });

export interface Planned {
  readonly subject: Subject;
  /** Whether the filter leaves nothing out that is allowed. */
  readonly isCertain: boolean;
  readonly policy: string;
}

/** Looks at so many policies that can be planned. */
export async function eachPlan(
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

export const wrong = (
  { policy, subject }: Planned,
  resource: Resource,
  allowed: boolean,
  filter = '',
): Error =>
  new Error(
    `${JSON.stringify(resource)}: ${allowed ? 'allowed' : 'denied'}, the filter says otherwise:\n${JSON.stringify(subject.plan.condition)}\n${filter}\n${policy}`,
  );

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

/** Where nothing at all is in a column, of JSON too, null is given. */
const allNull = (resource: Resource): Resource => {
  const { id, properties } = scalarsNull(resource);
  return { id, properties: { tags: null, shares: null, ...properties } };
};

export const meanings = {
  absent: (row: Resource) => [scalarsOut(row)],
  null: (row: Resource) => [allNull(row)],
  either: (row: Resource) => [scalarsOut(row), scalarsNull(row)],
  // There is none; and if there is, nobody knows what it means.
  never: (row: Resource) => [scalarsOut(row), scalarsNull(row)],
} as const;
export type Meaning = keyof typeof meanings;
