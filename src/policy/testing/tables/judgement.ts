import { isDeepStrictEqual } from 'node:util';
import { ServiceError } from '../../../errors.ts';
import { readVerdict, type Verdict } from '../../../verdict.ts';
import type { Evaluated } from '../evaluation.ts';
import type { Judged } from '../judgement.ts';
import type { Asked } from './asked.ts';
import type { TableOpinion } from './opinions.ts';
import { unmet } from './unmet.ts';

const NANOSECONDS = 1_000_000;

/**
 * The engine's decision is held to what the table says. OPA's evaluator is the second opinion, as on tests in Rego:
 * where the two come to different results the test fails, whatever was expected.
 */
export function judgeTabled({ file, test }: Asked, evaluated: Evaluated, opinion: TableOpinion): Judged {
  const judged: Judged = {
    location: { file: `tenant/${file}`, row: test.line, col: 1 },
    package: file,
    name: test.name,
    tabled: true,
    duration: Math.round(evaluated.milliseconds * NANOSECONDS),
    cost: evaluated.cost,
  };
  const { error, value } = evaluated;
  if (evaluated.verdict === 'limited') return { ...judged, error: errorOf(error) };
  if ('silent' in opinion)
    return {
      ...judged,
      error: { code: 'unavailable', message: `OPA's evaluator has no opinion (${opinion.silent})` },
    };
  if ('failure' in opinion && error) return { ...judged, error: errorOf(error, opinion.failure) };
  const result: unknown = value === undefined ? undefined : JSON.parse(value);
  if ('failure' in opinion || error || !isDeepStrictEqual(result, opinion.result))
    return {
      ...judged,
      fail: true,
      differs: {
        engine: error ? `${error.code}: ${error.message}` : shown(result),
        opa: 'failure' in opinion ? opinion.failure : shown(opinion.result),
      },
    };
  try {
    const lines = unmet(test, verdictOf(result));
    return lines.length === 0 ? judged : { ...judged, fail: true, unmet: lines };
  } catch (cause) {
    if (!(cause instanceof ServiceError)) throw cause;
    return { ...judged, error: errorOf(cause) };
  }
}

/** Throws `policy_failed` for what is no decision; a request is then denied with that code. */
function verdictOf(result: unknown): Verdict {
  if (result === undefined) throw new ServiceError('policy_undefined', 'the policy decides nothing');
  return readVerdict(result, 'authz');
}

function errorOf(error: ServiceError | undefined, also = ''): NonNullable<Judged['error']> {
  const detail = [error?.detail ?? '', also].filter((each) => each !== '').join('\n');
  return {
    code: error?.code ?? 'internal',
    message: error?.message ?? 'unknown',
    ...(detail === '' ? {} : { detail }),
  };
}

const shown = (value: unknown): string => (JSON.stringify(value) ?? 'nothing').slice(0, 1_000);
