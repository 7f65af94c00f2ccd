import { ServiceError } from '../errors.ts';
import type { Authentication } from '../storage/rows.ts';
import { CLOCK_TOLERANCE } from './claims.ts';
import type { TrustedIssuer } from './manifest.ts';

const MAX_TEXT = 256;
const MAX_METHODS = 16;
/** Of groups, or of roles: as many as providers put into a token before they leave them all out. */
const MAX_NAMES = 200;
/** Of the names together, in characters: they stand in each record. */
const MAX_NAMES_TEXT = 8_192;

type Claims = Readonly<Record<string, unknown>>;

/**
 * What the verified claims of an issuer's token say of how its subject signed in (OpenID Connect Core section 2, RFC 9068
 * section 2.2.1), and of its groups and roles where the tenant says which claims hold them. A claim of the former that is
 * not of its form is left out, and so is a time to come: neither proves anything. Throws `token_invalid` where groups or
 * roles are not of theirs: a policy may deny by them. `now` in milliseconds since the epoch.
 */
export function authenticationIn(
  claims: Claims,
  now: number,
  { groups_claim: groups, roles_claim: roles }: Pick<TrustedIssuer, 'groups_claim' | 'roles_claim'>,
): Authentication {
  const { acr, amr, auth_time: time } = claims;
  const latest = now / 1000 + CLOCK_TOLERANCE;
  return {
    ...(isText(acr) ? { acr } : {}),
    ...(Array.isArray(amr) && amr.length <= MAX_METHODS && amr.every(isText) ? { amr } : {}),
    ...(typeof time === 'number' && time >= 0 && time <= latest ? { auth_time: time } : {}),
    ...(groups && { groups: namesAt(claims, groups) }),
    ...(roles && { roles: namesAt(claims, roles) }),
  };
}

/** Each once. A token that does not have the claim says that there are none. */
function namesAt(claims: Claims, path: readonly string[]): string[] {
  let value: unknown = claims;
  for (const step of path) {
    if (value === undefined) return [];
    if (typeof value !== 'object' || value === null || Array.isArray(value)) throw malformed(path);
    value = Object.hasOwn(value, step) ? (value as Claims)[step] : undefined;
  }
  if (value === undefined) return [];
  if (!Array.isArray(value) || value.length > MAX_NAMES || !value.every(isText)) throw malformed(path);
  if (value.join('').length > MAX_NAMES_TEXT) throw malformed(path);
  return [...new Set(value)];
}

const malformed = (path: readonly string[]): ServiceError =>
  new ServiceError(
    'token_invalid',
    `the claim ${path.join('.')} of the token is no list of at most ${MAX_NAMES} names and ${MAX_NAMES_TEXT} characters`,
  );

const isText = (value: unknown): value is string =>
  typeof value === 'string' && value !== '' && value.length <= MAX_TEXT;
