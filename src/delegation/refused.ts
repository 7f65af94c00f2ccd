import type { Decided } from '../decision/decide.ts';
import type { JsonObject } from '../decision/request.ts';
import { type ErrorCode, ServiceError } from '../errors.ts';
import type { DecisionId } from '../ids.ts';

/** An exchange that the policy has not allowed: all that it said goes to whoever asked. Its record is durable. */
export class ExchangeRefused extends ServiceError {
  readonly decided: Decided;
  readonly decisionId: DecisionId;
  readonly recordIndex: number;

  constructor(
    decided: Decided,
    decisionId: DecisionId,
    recordIndex: number,
    said: { readonly code: ErrorCode; readonly message: string } = {
      code: codeOf(decided),
      message: messageOf(decided),
    },
  ) {
    super(said.code, said.message);
    this.decided = decided;
    this.decisionId = decisionId;
    this.recordIndex = recordIndex;
  }
}

/** RFC 9470 names what a step-up is; what else a policy may ask for first has no name of its own. */
function codeOf({ outcome, challenge }: Decided): ErrorCode {
  if (outcome !== 'challenge') return 'exchange_denied';
  return isStepUp(challenge) ? 'insufficient_user_authentication' : 'challenge_required';
}

const MAX_MESSAGE = 1_000;

/** It travels in a header. */
function messageOf({ outcome, reasons }: Decided): string {
  const why = reasons.map(({ code, message }) => (message ? `${code}: ${message}` : code)).join('; ');
  const what = outcome === 'challenge' ? 'the policy asks for more first' : 'the policy does not allow it';
  return (why ? `${what} (${why})` : what).slice(0, MAX_MESSAGE);
}

const isStepUp = (challenge: JsonObject | undefined): boolean => challenge?.['type'] === 'step_up';

/** What a challenge asks of the subject's next authentication, by the names of RFC 9470 section 3. */
export interface StepUp {
  /** In order of preference, separated by spaces. */
  readonly acr_values?: string;
  /** How long ago it may be at most, in seconds. */
  readonly max_age?: number;
}

/** Undefined for a challenge that is no step-up. A member that is not of its form is not told by RFC 9470's name. */
export function stepUpOf(challenge: JsonObject | undefined): StepUp | undefined {
  if (!challenge || !isStepUp(challenge)) return undefined;
  const { acr_values: values, max_age: age } = challenge;
  const named = Array.isArray(values) ? values : typeof values === 'string' ? values.split(' ') : [];
  return {
    ...(named.length > 0 && named.every(isValue) ? { acr_values: named.join(' ') } : {}),
    ...(Number.isSafeInteger(age) && (age as number) >= 0 ? { max_age: age as number } : {}),
  };
}

/** What stands between the quotes of a header's parameter as it is, and parts no others. */
const isValue = (value: unknown): value is string =>
  typeof value === 'string' && /^[\x21\x23-\x5b\x5d-\x7e]+$/.test(value);
