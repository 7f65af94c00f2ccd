import type { Answer } from '../decision/decisions.ts';
import { type StepUp, stepUpOf } from '../delegation/refused.ts';

/** What the client of a protected resource is told in `WWW-Authenticate`; undefined where another token would not help. */
export function challengeOf({ challenge }: Answer): string | undefined {
  const stepUp = stepUpOf(challenge);
  return stepUp && `Bearer error="insufficient_user_authentication"${parametersOf(stepUp)}`;
}

/** RFC 9470 section 3. */
const parametersOf = ({ acr_values: values, max_age: age }: StepUp): string =>
  `${values === undefined ? '' : `, acr_values="${values}"`}${age === undefined ? '' : `, max_age="${age}"`}`;
