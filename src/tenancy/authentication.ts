import type { Authentication } from '../storage/rows.ts';
import { CLOCK_TOLERANCE } from './claims.ts';

const MAX_TEXT = 256;
const MAX_METHODS = 16;

/**
 * What the verified claims of an issuer's token say of how its subject signed in (OpenID Connect Core section 2, RFC 9068
 * section 2.2.1). A claim that is not of its form is left out, and so is a time to come: neither proves anything.
 * `now` in milliseconds since the epoch.
 */
export function authenticationIn(claims: Readonly<Record<string, unknown>>, now: number): Authentication {
  const { acr, amr, auth_time: time } = claims;
  const latest = now / 1000 + CLOCK_TOLERANCE;
  return {
    ...(isText(acr) ? { acr } : {}),
    ...(Array.isArray(amr) && amr.length <= MAX_METHODS && amr.every(isText) ? { amr } : {}),
    ...(typeof time === 'number' && time >= 0 && time <= latest ? { auth_time: time } : {}),
  };
}

const isText = (value: unknown): value is string =>
  typeof value === 'string' && value !== '' && value.length <= MAX_TEXT;
