import type { Delegations } from '../../delegation/delegations.ts';
import { ACCESS_TOKEN_TYPE, type TokenType, tokenTypes } from '../../delegation/exchange.ts';
import type { Introspection } from '../../delegation/introspection.ts';
import type { Keys } from '../../delegation/keys/keys.ts';
import { JWKS_MAX_AGE } from '../../delegation/keys/lifecycle.ts';
import type { Revocation } from '../../delegation/revocation.ts';
import {
  asksForSigned,
  SIGNED_INTROSPECTION,
  signedIntrospection,
} from '../../delegation/signed-introspection.ts';
import { actClaim } from '../../delegation/tokens.ts';
import type { Clock } from '../../effects.ts';
import { ServiceError } from '../../errors.ts';
import type { Caller, Callers, Presented } from '../../tenancy/callers.ts';
import { keyAlgorithms } from '../../tenancy/keys-declared.ts';
import type { Operation } from '../../tenancy/manifest.ts';
import type { Tenant, Tenants } from '../../tenancy/tenants.ts';
import { errorForms, toServiceError } from '../errors.ts';
import { presentedBy } from '../peer.ts';
import type { HttpHandler, HttpRequest, HttpResponse } from './exchange.ts';
import { checkFormType, type Form, formIn } from './form.ts';
import type { Route } from './router.ts';

const TOKEN_EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange';

/** RFC 6749 section 5.1: nothing about a token is kept on the way. */
const NO_STORE = { 'cache-control': 'no-store', pragma: 'no-cache' };

interface Parts {
  readonly tenants: Tenants;
  readonly callers: Callers;
  readonly delegations: Delegations;
  readonly introspection: Introspection;
  readonly revocation: Revocation;
  readonly keys: Keys;
  readonly issuerOf: (tenant: string) => string;
  readonly clock: Clock;
}

type FormHandler = (
  tenant: Tenant,
  caller: Caller,
  form: Form,
  request: HttpRequest,
) => Promise<HttpResponse>;

/** OAuth: token exchange (RFC 8693), introspection (RFC 7662, 9701), revocation (RFC 7009), keys and metadata (RFC 8414). */
export function oauthRoutes(parts: Parts): Route[] {
  const { tenants, delegations, introspection, revocation, keys, issuerOf, clock } = parts;
  const form = (operation: Operation, handle: FormHandler): HttpHandler =>
    formHandler(parts, operation, handle);
  return [
    {
      method: 'POST',
      path: '/t/{tenant}/oauth2/token',
      handle: form('exchange', async (tenant, caller, fields) => {
        const { token, grant } = await delegations.exchange(tenant, caller, exchangeAsked(fields));
        return {
          status: 200,
          headers: NO_STORE,
          body: {
            access_token: token,
            issued_token_type: ACCESS_TOKEN_TYPE,
            token_type: 'Bearer',
            expires_in: Math.floor((grant.expiresAt - grant.issuedAt) / 1000),
            scope: grant.scopes.join(' '),
            grant_id: grant.id,
          },
        };
      }),
    },
    {
      method: 'POST',
      path: '/t/{tenant}/oauth2/introspect',
      handle: form('introspect', async (tenant, caller, fields, request) => {
        const grant = await introspection.introspect(tenant, caller, fields.one('token'));
        const body = grant
          ? {
              active: true,
              iss: issuerOf(tenant.id),
              sub: grant.subject.id,
              principal_class: grant.subject.class,
              client_id: grant.actors[0]?.id,
              aud: grant.audience,
              scope: grant.scopes.join(' '),
              act: actClaim(grant.actors),
              iat: Math.floor(grant.issuedAt / 1000),
              exp: Math.floor(grant.expiresAt / 1000),
              jti: grant.id,
              token_type: 'Bearer',
            }
          : { active: false };
        if (!asksForSigned(request.header('accept'))) return { status: 200, headers: NO_STORE, body };
        const signing = { keys, issuer: issuerOf(tenant.id), clock };
        return {
          status: 200,
          headers: { ...NO_STORE, 'content-type': SIGNED_INTROSPECTION },
          body: await signedIntrospection(signing, tenant, caller, body),
        };
      }),
    },
    {
      method: 'POST',
      path: '/t/{tenant}/oauth2/revoke',
      handle: form('revoke', async (tenant, caller, fields) => {
        await revocation.revoke(tenant, caller, { token: fields.one('token') });
        return { status: 200, headers: NO_STORE };
      }),
    },
    {
      method: 'GET',
      path: '/t/{tenant}/oauth2/jwks',
      handle: async (_request, { tenant: id = '' }) => ({
        status: 200,
        headers: { 'cache-control': `public, max-age=${JWKS_MAX_AGE}` },
        body: await keys.jwks(tenants.get(id)),
      }),
    },
    {
      method: 'GET',
      path: '/.well-known/oauth-authorization-server/t/{tenant}',
      handle: async (_request, { tenant: id = '' }) => {
        const tenant = tenants.get(id);
        return { status: 200, body: metadata(issuerOf(tenant.id), tenant) };
      },
    },
  ];
}

const AUTH_METHODS = ['client_secret_basic', 'client_secret_post'];

const metadata = (issuer: string, tenant: Tenant) => ({
  issuer,
  token_endpoint: `${issuer}/oauth2/token`,
  introspection_endpoint: `${issuer}/oauth2/introspect`,
  revocation_endpoint: `${issuer}/oauth2/revoke`,
  jwks_uri: `${issuer}/oauth2/jwks`,
  grant_types_supported: [TOKEN_EXCHANGE],
  response_types_supported: [],
  token_endpoint_auth_methods_supported: AUTH_METHODS,
  introspection_endpoint_auth_methods_supported: AUTH_METHODS,
  // RFC 9701 section 7.
  introspection_signing_alg_values_supported: keyAlgorithms,
  revocation_endpoint_auth_methods_supported: AUTH_METHODS,
  scopes_supported: [...new Set(Object.values(tenant.manifest.roles).flatMap((role) => role.scopes))].sort(),
});

function exchangeAsked(form: Form) {
  const grantType = form.one('grant_type');
  if (grantType !== TOKEN_EXCHANGE)
    throw new ServiceError('unsupported_grant_type', `the only grant type is ${TOKEN_EXCHANGE}`);
  const type = form.one('subject_token_type');
  if (!Object.hasOwn(tokenTypes, type))
    throw new ServiceError(
      'unsupported_token_type',
      `subject_token_type is one of ${Object.keys(tokenTypes).join(', ')}`,
    );
  const requested = form.maybe('requested_token_type');
  if (requested !== undefined && requested !== ACCESS_TOKEN_TYPE)
    throw new ServiceError('unsupported_token_type', `the only requested_token_type is ${ACCESS_TOKEN_TYPE}`);
  // The agent is its client authentication; an actor token would be a second, unverified word on who it is.
  if (form.maybe('actor_token') !== undefined || form.maybe('actor_token_type') !== undefined)
    throw new ServiceError(
      'invalid_request',
      'the actor is the authenticated client; actor_token is not taken',
    );
  const targets = new Set([...form.all('audience'), ...form.all('resource')]);
  if (targets.size > 1)
    throw new ServiceError('invalid_target', 'a token is for one target: name one audience or resource');
  const [audience = ''] = targets;
  return {
    subjectToken: form.one('subject_token'),
    subjectTokenType: type as TokenType,
    audience,
    scopes: (form.maybe('scope') ?? '').split(' ').filter((scope) => scope !== ''),
    lifetimeSeconds: 0,
  };
}

function formHandler({ tenants, callers }: Parts, operation: Operation, handle: FormHandler): HttpHandler {
  return async (request, { tenant: id = '' }) => {
    try {
      const tenant = tenants.get(id);
      checkFormType(request);
      const presented = presentedBy(request.header('authorization'), request.peer);
      // Who is told by the headers is known before the form is read. Others may be told by the form, a small one.
      const isTold = request.header('authorization') !== undefined;
      const early = isTold ? await callers.authenticate(tenant, presented, operation) : undefined;
      const isKnown = isTold || (await isGreeted(callers, presented));
      const form = formIn(await (isKnown ? request.body() : request.strangersBody()));
      const client = clientOf(request, form, presented);
      const caller = early ?? (await callers.authenticate(tenant, client, operation));
      return await handle(tenant, caller, form, request);
    } catch (error) {
      return oauthError(error, `${request.method} ${request.url.pathname}`);
    }
  };
}

async function isGreeted(callers: Callers, presented: Presented): Promise<boolean> {
  try {
    await callers.greet(presented);
    return true;
  } catch (error) {
    if (error instanceof ServiceError && error.code === 'unauthenticated') return false;
    throw error;
  }
}

/** RFC 6749 section 2.3: one way of authentication, not two. */
function clientOf(request: HttpRequest, form: Form, presented: Presented): Presented {
  const secret = form.maybe('client_secret');
  if (secret === undefined) return presented;
  if (request.header('authorization') !== undefined)
    throw new ServiceError('invalid_request', 'the client authenticates in two ways');
  return { kind: 'secret', secret, clientId: form.one('client_id'), address: request.peer.address };
}

function oauthError(error: unknown, where: string): HttpResponse {
  const known = toServiceError(error, where);
  const { http, oauth } = errorForms[known.code];
  return {
    status: http,
    headers: {
      ...NO_STORE,
      ...(known.code === 'unauthenticated' ? { 'www-authenticate': 'Basic realm="mandate"' } : {}),
      ...(known.retryAfterMs === undefined
        ? {}
        : { 'retry-after': String(Math.ceil(known.retryAfterMs / 1000)) }),
    },
    body: {
      error: oauth,
      error_description: describable(`${known.code}: ${known.message}`),
      code: known.code,
    },
  };
}

/** RFC 6749 section 5.2: no quotes, backslashes or control characters in a description. */
const describable = (text: string): string => text.replaceAll(/[^\x20\x21\x23-\x5b\x5d-\x7e]/g, "'");
