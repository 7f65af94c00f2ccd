import { type ErrorCode, ServiceError } from '../errors.ts';
import type { JsonObject } from './request.ts';

export type Outcome = 'allow' | 'deny' | 'challenge';

export interface Reason {
  readonly code: string;
  readonly message: string;
}

/** What the policy said, in a shape that can be relied on. */
export interface Verdict {
  readonly outcome: Outcome;
  readonly reasons: readonly Reason[];
  readonly rules: readonly string[];
  readonly obligations: readonly JsonObject[];
  readonly challenge: JsonObject | undefined;
}

const MAX_REASONS = 64;
const outcomes: readonly unknown[] = ['allow', 'deny', 'challenge'] satisfies Outcome[];

/** Reads the result of a platform entry point. Throws `policy_failed` on any other shape: it decides nothing. */
export function readVerdict(result: unknown): Verdict {
  if (!isObject(result) || !outcomes.includes(result['outcome']))
    throw new ServiceError('policy_failed', 'the policy gave no decision', {
      detail: 'no outcome in its result',
    });
  const outcome = result['outcome'] as Outcome;
  const challenge = isObject(result['challenge']) ? result['challenge'] : undefined;
  return {
    outcome,
    reasons: list(result['reasons']).slice(0, MAX_REASONS).map(readReason),
    rules: list(result['rules']).filter((rule) => typeof rule === 'string'),
    obligations: list(result['obligations']).map((item) => {
      if (!isObject(item))
        throw new ServiceError('policy_failed', 'the policy gave an obligation that is not an object');
      return item;
    }),
    challenge: outcome === 'challenge' ? challenge : undefined,
  };
}

/** A deny that the platform itself gives, with its code as the reason. */
export const refusal = (code: ErrorCode, message: string, rule = 'mandate.core'): Verdict => ({
  outcome: 'deny',
  reasons: [{ code, message }],
  rules: [rule],
  obligations: [],
  challenge: undefined,
});

/** Authors may give a reason as a code alone, or as {code, message}. */
function readReason(value: unknown): Reason {
  if (typeof value === 'string') return { code: value, message: '' };
  if (isObject(value) && typeof value['code'] === 'string')
    return { code: value['code'], message: typeof value['message'] === 'string' ? value['message'] : '' };
  return { code: 'unspecified', message: JSON.stringify(value).slice(0, 200) };
}

const list = (value: unknown): unknown[] => (Array.isArray(value) ? value : []);

const isObject = (value: unknown): value is JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
