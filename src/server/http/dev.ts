import { exportJWK, generateKeyPair, SignJWT } from 'jose';
import { ACCESS_TOKEN_TYPE } from '../../delegation/exchange.ts';
import type { Clock } from '../../effects.ts';
import { ServiceError } from '../../errors.ts';
import type { TrustedIssuer } from '../../tenancy/manifest.ts';
import type { Tenants } from '../../tenancy/tenants.ts';
import type { Route } from './router.ts';

const LIFETIME_SECONDS = 3600;

/**
 * A stand-in for the identity provider, only under --dev and only from this machine: it signs a user's access token
 * for whoever asks, so that the first page of the README works before there is a provider. Its key lives in memory and
 * ends with the process.
 */
export async function devIssuer(clock: Clock, base: () => string, tenants: Tenants): Promise<Route[]> {
  const { privateKey, publicKey } = await generateKeyPair('ES256');
  const jwk = { ...(await exportJWK(publicKey)), kid: 'dev', alg: 'ES256', use: 'sig' };
  return [
    { method: 'GET', path: '/dev/jwks', handle: async () => ({ status: 200, body: { keys: [jwk] } }) },
    {
      method: 'POST',
      path: '/t/{tenant}/dev/token',
      handle: async (request, { tenant: id = '' }) => {
        const tenant = tenants.get(id);
        if (!request.peer.loopback)
          throw new ServiceError('permission_denied', 'the development issuer is for this machine');
        const user = request.url.searchParams.get('user') ?? '';
        const agent = request.url.searchParams.get('client') ?? '';
        if (user === '' || agent === '')
          throw new ServiceError(
            'invalid_request',
            'name the user and the client that asks for its token: ?user=alice&client=research-agent',
          );
        const now = Math.floor(clock() / 1000);
        const acr = request.url.searchParams.get('acr');
        const signedIn = acr ? { acr, auth_time: now } : {};
        const token = await new SignJWT({ client_id: agent, ...signedIn })
          .setProtectedHeader({ alg: 'ES256', kid: 'dev', typ: 'at+jwt' })
          .setIssuer(devIssuerOf(base()))
          .setSubject(user)
          .setAudience(devAudience)
          .setIssuedAt(now)
          .setExpirationTime(now + LIFETIME_SECONDS)
          .sign(privateKey);
        return {
          status: 200,
          headers: { 'cache-control': 'no-store' },
          body: {
            access_token: token,
            issued_token_type: ACCESS_TOKEN_TYPE,
            expires_in: LIFETIME_SECONDS,
            tenant: tenant.id,
          },
        };
      },
    },
  ];
}

const devAudience = 'mandate-dev';
const devIssuerOf = (base: string): string => `${base}/dev`;

/** The development issuer, which every tenant trusts: one object for as long as it is at one place. */
export function devIssuers(base: () => string): () => readonly TrustedIssuer[] {
  let known: readonly TrustedIssuer[] = [];
  let at: string | undefined;
  return () => {
    const now = base();
    if (now !== at) [known, at] = [[devTrust(now)], now];
    return known;
  };
}

const devTrust = (base: string): TrustedIssuer => ({
  issuer: devIssuerOf(base),
  jwks_uri: `${base}/dev/jwks`,
  algorithms: ['ES256'],
  audiences: [devAudience],
  subject_class: 'user',
  subject_claim: 'sub',
  subject_claim_trusted: false,
  access_token_types: ['at+jwt'],
  access_token_claims: [],
  id_token_claims: [],
});
