import { ServiceError } from '../errors.ts';
import type { TrustedIssuer } from './manifest.ts';

export type TokenKind = 'access_token' | 'id_token';
type Members = Readonly<Record<string, unknown>>;

/** Claims by which providers themselves tell the two apart, and what they say in an ID token: Cognito, Keycloak, FusionAuth. */
const idTokenSays: Readonly<Record<string, string>> = { token_use: 'id', typ: 'ID', tty: 'id' };

/**
 * What a verified token is. RFC 9068 section 2.1 types access tokens `at+jwt`, and RFC 8725 section 3.11 lets no other
 * type pass for one. ID tokens have no type of their own: `JWT`, or none, is what many access tokens have too. Such a
 * token is what its claims make it. Throws `token_invalid`.
 */
export function kindOf(issuer: TrustedIssuer, header: Members, claims: Members): TokenKind {
  const type = typeof header['typ'] === 'string' ? header['typ'].toLowerCase() : 'jwt';
  const short = type.replace(/^application\//, '');
  if (short !== 'jwt' && short !== 'at+jwt')
    throw new ServiceError('token_invalid', 'a token of this type does not name a subject');
  if (short === 'jwt' && isIdToken(issuer, claims)) return 'id_token';
  if (issuer.access_token_types.includes(short)) return 'access_token';
  throw new ServiceError('token_invalid', 'the token is of no type that is taken of its issuer');
}

/** No claim of an access token, and where the tenant names claims that an ID token of the issuer has, one of those. */
function isIdToken(issuer: TrustedIssuer, claims: Members): boolean {
  const has = (name: string): boolean => claims[name] !== undefined;
  for (const [name, value] of Object.entries(idTokenSays))
    if (has(name) && claims[name] !== value) return false;
  const { access_token_claims: marks, id_token_claims: needed, client_claim: client } = issuer;
  // Both kinds name their client in azp.
  if (client !== undefined && client !== 'azp' && client !== 'aud' && has(client)) return false;
  return !marks.some(has) && (needed.length === 0 || needed.some(has));
}

/** The claims that say to which client a token was given: the tenant's choice for the issuer, and the registered ones. */
export const clientClaims = ({ client_claim: own }: TrustedIssuer): readonly string[] => [
  ...new Set([...(own === undefined ? [] : [own]), 'client_id', 'azp']),
];

/**
 * RFC 9068 section 2.2 requires `client_id` of an access token; a provider that came before it has a claim of its own.
 * One that says nothing could have been given to anybody. Throws `token_invalid`.
 */
export function requireClient(issuer: TrustedIssuer, claims: Members): void {
  const needed = issuer.client_claim === undefined ? clientClaims(issuer) : [issuer.client_claim];
  if (!needed.some((name) => claims[name] !== undefined))
    throw new ServiceError(
      'token_invalid',
      `the token does not say for which client it is: ${needed.join(', ')}`,
    );
}
