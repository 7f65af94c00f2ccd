import { isDeepStrictEqual } from 'node:util';
import { casesIn, hasFailed, leavesOf } from './cases.ts';
import type { Evaluated } from './evaluation.ts';
import { type Cases, gaveUp, messagesIn, type Opinion } from './opinion.ts';

/** What is told of a test: OPA's members with the engine's verdict in them, and what OPA does not have. */
export interface Judged extends Opinion {
  /** Fuel units on the engine that serves. */
  readonly cost: number;
  readonly error?: { readonly code: string; readonly message: string; readonly detail?: string };
  /** Where the two disagree, what each says: a fault of Mandate's. */
  readonly differs?: { readonly engine: string; readonly opa: string };
  /** Of a table: `package` is the file, `name` what the test is called in it. */
  readonly tabled?: true;
  /** What a decision of a table was to be and is not. */
  readonly unmet?: readonly string[];
}

const NANOSECONDS = 1_000_000;

/**
 * The engine's verdict decides; OPA's evaluator is the second opinion. Where they disagree the test fails, whatever
 * each says of it, for then a decision would not be what was tested.
 */
export function judge(opinion: Opinion, evaluated: Evaluated, hasCases: boolean): Judged {
  const { fail: _fail, error: opaError, sub_results: expected = {}, ...rest } = opinion;
  const own = hasCases ? casesOf(evaluated, expected) : undefined;
  const engine = own ? (hasFailed(own) ? 'fail' : 'pass') : evaluated.verdict;
  const opa = verdictOf(opinion);
  const judged = {
    ...rest,
    duration: Math.round(evaluated.milliseconds * NANOSECONDS),
    cost: evaluated.cost,
    ...(own && Object.keys(own).length > 0 ? { sub_results: own } : {}),
  };
  if (engine === 'limited') return { ...judged, error: errorOf(evaluated) };
  if (gaveUp(opaError)) return { ...judged, error: noOpinion(opaError) };
  if (engine !== opa || !isDeepStrictEqual(own ?? {}, expected))
    return { ...judged, fail: true, differs: { engine: said(engine, own), opa: said(opa, expected) } };
  if (engine === 'error') return { ...judged, error: errorOf(evaluated, messagesIn(opaError)) };
  return engine === 'fail' ? { ...judged, fail: true } : judged;
}

/** A rule that the engine has no value of, as it has none of a function, and what OPA says of it. */
export function unasked(opinion: Opinion): Judged {
  const [message = 'it cannot be asked for'] = messagesIn(opinion.error);
  return { ...opinion, cost: 0, error: { code: 'policy_undefined', message } };
}

/** A test that OPA's evaluator takes and its compiler does not: it says nothing of a decision. */
export function unplanned({ fail: _fail, ...opinion }: Opinion, detail = ''): Judged {
  const message = "OPA's compiler to WebAssembly does not take this test, so no engine can run it";
  return { ...opinion, cost: 0, error: { code: 'policy_invalid', message, detail } };
}

function verdictOf({ fail, error }: Opinion): Evaluated['verdict'] {
  if (error !== undefined && error !== null) return 'error';
  return fail ? 'fail' : 'pass';
}

function casesOf({ verdict, value }: Evaluated, expected: Cases): Cases | undefined {
  if (verdict !== 'fail' && verdict !== 'pass') return undefined;
  return value === undefined ? undefined : casesIn(JSON.parse(value), expected);
}

function errorOf({ error }: Evaluated, also: readonly string[] = []): NonNullable<Judged['error']> {
  const detail = [...(error?.detail === undefined ? [] : [error.detail]), ...also].join('\n');
  return {
    code: error?.code ?? 'internal',
    message: error?.message ?? 'unknown',
    ...(detail === '' ? {} : { detail }),
  };
}

const noOpinion = (error: unknown): NonNullable<Judged['error']> => ({
  code: 'unavailable',
  message: `OPA's evaluator took too long for a second opinion (${messagesIn(error)[0]})`,
});

/** What the test said before it was judged, with the cases that failed. */
function said(verdict: Evaluated['verdict'], cases: Cases = {}): string {
  const failed = [...leavesOf(cases)].filter(({ fail }) => fail).map(({ names }) => names.join('/'));
  return failed.length > 0 ? `${verdict} (${failed.join(', ')})` : verdict;
}
