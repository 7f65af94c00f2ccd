import type { Answer } from '../decision/decisions.ts';
import { type StepUp, stepUpOf } from '../delegation/refused.ts';
import { DPOP_ALGORITHMS } from '../delegation/sender/dpop.ts';

/** What the client of a protected resource is told in `WWW-Authenticate`; undefined where another token would not help. */
export function challengeOf({ challenge, reasons }: Answer): string | undefined {
  const stepUp = stepUpOf(challenge);
  if (stepUp) return `Bearer error="insufficient_user_authentication"${parametersOf(stepUp)}`;
  const code = reasons[0]?.code ?? '';
  if (code === 'unauthenticated') return 'Bearer';
  // RFC 8705 section 3.
  if (code.startsWith('token_') || code === 'certificate_invalid') return 'Bearer error="invalid_token"';
  // RFC 9449 section 7.1.
  if (code === 'dpop_invalid') return `DPoP error="invalid_dpop_proof", algs="${DPOP_ALGORITHMS.join(' ')}"`;
  // RFC 6750 section 3.1: all that the operation takes, in one challenge.
  const scopes = new Set(reasons.flatMap(({ needed_scopes: needed = [] }) => needed));
  return scopes.size === 0
    ? undefined
    : `Bearer error="insufficient_scope", scope="${[...scopes].join(' ')}"`;
}

/** RFC 9470 section 3. */
const parametersOf = ({ acr_values: values, max_age: age }: StepUp): string =>
  `${values === undefined ? '' : `, acr_values="${values}"`}${age === undefined ? '' : `, max_age="${age}"`}`;
