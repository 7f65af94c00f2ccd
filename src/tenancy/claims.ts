import { errors, type JWTPayload } from 'jose';
import { describe, ServiceError } from '../errors.ts';

/** What the claims of an issuer's token must be, beside what jose checks. Each throws `token_invalid`. */

/**
 * How far an issuer's clock may be off, in seconds, wherever its token is taken. The expiry of own tokens gets none:
 * skew would add up hop by hop.
 */
export const CLOCK_TOLERANCE = 30;

/**
 * Beside what jose checks: a date that a double holds, and an issue time that is not to come. A token that claims to be
 * of tomorrow was made by a clock that is wrong, or by somebody who wants it to last. In seconds.
 */
export function checkTimes({ exp, iat, nbf }: JWTPayload, now: number): void {
  for (const time of [exp, iat, nbf])
    if (time !== undefined && !(Number.isFinite(time) && Math.abs(time) < MAX_TIME))
      throw new ServiceError('token_invalid', 'the token holds a time that is none');
  if ((iat ?? 0) > now + CLOCK_TOLERANCE)
    throw new ServiceError('token_invalid', 'the token was issued in the future');
}

/**
 * As jose checks the times of a token when it verifies it, for one that was verified before. `now` in milliseconds since
 * the epoch. Throws `token_expired` too.
 */
export function checkLasting({ exp, nbf }: JWTPayload, now: number): void {
  const seconds = Math.floor(now / 1000);
  if (nbf !== undefined && nbf > seconds + CLOCK_TOLERANCE)
    throw new ServiceError('token_invalid', 'the token is not valid', { detail: 'it is not valid yet' });
  if (exp === undefined || exp <= seconds - CLOCK_TOLERANCE)
    throw new ServiceError('token_expired', 'the token has expired');
}

/** RFC 7519 section 4.1.3: a text, or an array of such. */
export function audiencesOf(claim: unknown): readonly string[] {
  const list: readonly unknown[] = Array.isArray(claim) ? claim : [claim];
  if (list.every((each) => typeof each === 'string')) return list;
  throw new ServiceError('token_invalid', 'the audience of the token is no text');
}

/** The year 9999. */
const MAX_TIME = 253_402_300_800;

/** What jose found wrong with a token. Throws what is no finding: it is a fault of ours. */
export function asTokenError(cause: unknown): ServiceError {
  if (cause instanceof errors.JWTExpired) return new ServiceError('token_expired', 'the token has expired');
  if (!(cause instanceof errors.JOSEError)) throw cause;
  return new ServiceError('token_invalid', 'the token is not valid', { cause, detail: describe(cause) });
}
