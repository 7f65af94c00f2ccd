import { capMembers } from '../../decision/task.ts';
import type { Delegations } from '../../delegation/delegations.ts';
import type { Introspection } from '../../delegation/introspection.ts';
import type { Keys } from '../../delegation/keys/keys.ts';
import { JWKS_MAX_AGE } from '../../delegation/keys/lifecycle.ts';
import { ExchangeRefused } from '../../delegation/refused.ts';
import type { Revocation } from '../../delegation/revocation.ts';
import type { DpopProofs } from '../../delegation/sender/dpop.ts';
import {
  asksForSigned,
  SIGNED_INTROSPECTION,
  signedIntrospection,
} from '../../delegation/signed-introspection.ts';
import { actClaim, audienceClaim, detailsClaim, mayActClaim, tokenTypeOf } from '../../delegation/tokens.ts';
import type { Clock } from '../../effects.ts';
import { type ErrorCode, ServiceError } from '../../errors.ts';
import { confirmationOf, signInOf } from '../../storage/rows.ts';
import type { Caller, Callers, Presented } from '../../tenancy/callers.ts';
import type { Operation } from '../../tenancy/manifest.ts';
import type { StateVersions } from '../../tenancy/state-versions.ts';
import type { Tenant, Tenants } from '../../tenancy/tenants.ts';
import { errorForms, toServiceError } from '../errors.ts';
import { presentedBy } from '../peer.ts';
import { type HttpHandler, type HttpRequest, type HttpResponse, STATE_VERSION_HEADER } from './exchange.ts';
import { checkFormType, type Form, formIn } from './form.ts';
import { exchangeAsked, exchangeBody, JWT_BEARER, refusalBody } from './oauth/exchange.ts';
import { metadataRoutes } from './oauth/metadata.ts';
import type { Route } from './router.ts';

/** RFC 6749 section 5.1: nothing about a token is kept on the way. */
const NO_STORE = { 'cache-control': 'no-store', pragma: 'no-cache' };

interface Parts {
  readonly tenants: Tenants;
  readonly callers: Callers;
  readonly delegations: Delegations;
  readonly introspection: Introspection;
  readonly revocation: Revocation;
  readonly keys: Keys;
  readonly dpop: Pick<DpopProofs, 'nonce'>;
  readonly issuerOf: (tenant: string) => string;
  readonly takesCertificates: boolean;
  readonly versions: Pick<StateVersions, 'newest'>;
  readonly clock: Clock;
}

type FormHandler = (
  tenant: Tenant,
  caller: Caller,
  form: Form,
  request: HttpRequest,
) => Promise<HttpResponse>;

/**
 * OAuth: token exchange (RFC 8693), identity assertions (RFC 7523), introspection (RFC 7662, 9701), revocation (RFC 7009),
 * keys and metadata (RFC 8414, 9728).
 */
export function oauthRoutes(parts: Parts): Route[] {
  const { tenants, delegations, introspection, revocation, keys, issuerOf, clock } = parts;
  const form = (operation: Operation, handle: FormHandler): HttpHandler =>
    formHandler(parts, operation, handle);
  return [
    {
      method: 'POST',
      path: '/t/{tenant}/oauth2/token',
      handle: form('exchange', async (tenant, caller, fields, request) => {
        const dpop = request.header('dpop');
        const uri = `${issuerOf(tenant.id)}/oauth2/token`;
        const proof = dpop === undefined ? undefined : { dpop, method: 'POST', uri };
        const asked = exchangeAsked(fields, { proof, certificate: request.peer.x5tS256 });
        const exchanged = await delegations.exchange(tenant, caller, asked);
        const headers = dpop === undefined ? NO_STORE : { ...NO_STORE, 'dpop-nonce': parts.dpop.nonce() };
        return { status: 200, headers, body: exchangeBody(exchanged, asked.issuedTokenType) };
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
              client_id: (grant.actors[0] ?? grant.subject).id,
              aud: audienceClaim(grant),
              scope: grant.scopes.join(' '),
              use: grant.use,
              authorization_details: detailsClaim(grant),
              act: actClaim(grant.actors),
              may_act: mayActClaim(grant),
              // RFC 9470 section 6.2.
              ...signInOf(grant.authentication),
              iat: Math.floor(grant.issuedAt / 1000),
              exp: Math.floor(grant.expiresAt / 1000),
              jti: grant.id,
              cnf: confirmationOf(grant),
              task_id: grant.task?.id,
              task_cap: grant.task?.cap && capMembers(grant.task.cap),
              token_type: tokenTypeOf(grant),
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
    ...metadataRoutes(parts),
  ];
}

function formHandler(
  { tenants, callers, dpop, versions }: Parts,
  operation: Operation,
  handle: FormHandler,
): HttpHandler {
  return async (request, { tenant: id = '' }) => {
    let form: Form | undefined;
    try {
      const tenant = tenants.get(id);
      checkFormType(request);
      const presented = presentedBy(request.header('authorization'), request.peer);
      // Who is told by the headers is known before the form is read. Others may be told by the form, a small one.
      const isTold = request.header('authorization') !== undefined;
      const early = isTold ? await callers.authenticate(tenant, presented, operation) : undefined;
      const isKnown = isTold || (await isGreeted(callers, presented));
      form = formIn(await (isKnown ? request.body() : request.strangersBody()));
      const client = clientOf(request, form, presented);
      const caller = early ?? (await callers.authenticate(tenant, client, operation));
      checkClientId(form, caller);
      const current = callers.again(tenant, caller, operation);
      const response = await handle(current, caller, form, request);
      const version = String(versions.newest(current.no));
      return { ...response, headers: { ...response.headers, [STATE_VERSION_HEADER]: version } };
    } catch (error) {
      const isGrant = form?.maybe('grant_type') === JWT_BEARER;
      return oauthError(error, { where: `${request.method} ${request.url.pathname}`, dpop, isGrant });
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

/** Whoever names a client is that client, however it has shown it (RFC 8705 section 2, RFC 7521 section 4.2). */
function checkClientId(form: Form, { principal }: Caller): void {
  const named = form.maybe('client_id');
  if (named !== undefined && principal && named !== principal.id)
    throw new ServiceError('unauthenticated', 'the credential is of another client than client_id names');
}

/** RFC 6749 section 2.3: one way of authentication, not two. */
function clientOf(request: HttpRequest, form: Form, presented: Presented): Presented {
  const secret = form.maybe('client_secret');
  const assertion = assertionIn(form);
  if (secret === undefined && assertion === undefined) return presented;
  if (request.header('authorization') !== undefined || (secret !== undefined && assertion !== undefined))
    throw new ServiceError('invalid_request', 'the client authenticates in two ways');
  const { address } = request.peer;
  return secret === undefined
    ? { kind: 'assertion', assertion: assertion ?? '', clientId: form.maybe('client_id'), address }
    : { kind: 'secret', secret, clientId: form.one('client_id'), address };
}

const CLIENT_ASSERTION = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer';

/** RFC 7521 section 4.2. */
function assertionIn(form: Form): string | undefined {
  const type = form.maybe('client_assertion_type');
  const assertion = form.maybe('client_assertion');
  if (type === undefined && assertion === undefined) return undefined;
  if (type !== CLIENT_ASSERTION || assertion === undefined)
    throw new ServiceError(
      'invalid_request',
      `a client_assertion comes with the client_assertion_type ${CLIENT_ASSERTION}`,
    );
  return assertion;
}

/** RFC 7521 section 4.1.1: what is wrong with an assertion that is a grant, or is not granted for it. */
const grantErrors: ReadonlySet<ErrorCode> = new Set([
  'token_invalid',
  'token_expired',
  'token_revoked',
  'exchange_denied',
  'challenge_required',
]);

/** `isGrant`: an assertion was presented as one. */
function oauthError(
  error: unknown,
  { where, dpop, isGrant }: { where: string; dpop: Pick<DpopProofs, 'nonce'>; isGrant: boolean },
): HttpResponse {
  const known = toServiceError(error, where);
  const { http, oauth } = errorForms[known.code];
  return {
    status: http,
    headers: {
      ...NO_STORE,
      ...(known.code === 'unauthenticated' ? { 'www-authenticate': 'Basic realm="mandate"' } : {}),
      // RFC 9449 section 8.
      ...(known.code === 'dpop_nonce_required' ? { 'dpop-nonce': dpop.nonce() } : {}),
      ...(known.retryAfterMs === undefined
        ? {}
        : { 'retry-after': String(Math.ceil(known.retryAfterMs / 1000)) }),
    },
    body: {
      error: isGrant && grantErrors.has(known.code) ? 'invalid_grant' : oauth,
      error_description: describable(`${known.code}: ${known.message}`),
      code: known.code,
      ...(known instanceof ExchangeRefused ? refusalBody(known) : {}),
    },
  };
}

/** RFC 6749 section 5.2: no quotes, backslashes or control characters in a description. */
const describable = (text: string): string => text.replaceAll(/[^\x20\x21\x23-\x5b\x5d-\x7e]/g, "'");
