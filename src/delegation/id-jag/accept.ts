import { hash } from 'node:crypto';
import type { JWTPayload } from 'jose';
import type { Clock } from '../../effects.ts';
import { describe, ServiceError } from '../../errors.ts';
import { type PrincipalRef, principalKey } from '../../ids.ts';
import type { Use } from '../../storage/rows.ts';
import { isUse } from '../../storage/use.ts';
import type { Writer } from '../../storage/writer.ts';
import { authenticationIn } from '../../tenancy/authentication.ts';
import { CLOCK_TOLERANCE } from '../../tenancy/claims.ts';
import type { Detail } from '../../tenancy/details.ts';
import type { Held } from '../../tenancy/held.ts';
import type { Issuers } from '../../tenancy/issuers.ts';
import { readToken, type UnverifiedToken } from '../../tenancy/jose.ts';
import type { TrustedIssuer } from '../../tenancy/manifest.ts';
import { subjectOf } from '../../tenancy/subject-claim.ts';
import type { Tenant } from '../../tenancy/tenants.ts';
import { MAX_SCOPES } from '../asked.ts';
import { narrowDetails } from '../details.ts';
import type { Asserted } from '../exchange.ts';
import { boundTo, endOf, isCertificateBound, type SubjectToken } from '../presented.ts';
import type { Tokens } from '../tokens.ts';

/** draft-ietf-oauth-identity-assertion-authz-grant section 3.1; RFC 8725 section 3.11 lets no other type pass for it. */
export const ID_JAG = 'oauth-id-jag+jwt';

const MAX_ID = 256;
const MAX_RESOURCES = 16;

type Setting = NonNullable<TrustedIssuer['identity_assertions']>;

interface Parts {
  readonly tokens: Pick<Tokens, 'isOwn' | 'issuerOf'>;
  readonly issuers: Pick<Issuers, 'trusted' | 'claimsOf'>;
  readonly writer: Pick<Writer, 'run'>;
  readonly clock: Clock;
}

/**
 * An identity assertion of an issuer whose assertions the tenant takes, presented by the client that it was issued to (RFC
 * 7523 section 3, and the draft's section 4.4.1). Each is taken once, across restarts too. Throws `token_invalid`, which
 * tells no more, `token_expired`, `token_revoked`, `unavailable`, `invalid_target` for resources that are not one server's,
 * and `invalid_authorization_details`.
 */
export async function acceptAssertion(
  { tokens, issuers, writer, clock }: Parts,
  tenant: Tenant,
  actor: PrincipalRef,
  { text, held }: { text: string; held: Held },
  now: number,
): Promise<SubjectToken> {
  try {
    const token = readToken(text);
    checkType(token);
    // Whoever has it could ask for a token here, and was given less.
    if (tokens.isOwn(tenant, token)) throw refused('it is of this authority itself');
    const issuer = issuers.trusted(tenant, token.issuer);
    const setting = issuer?.identity_assertions;
    if (!issuer || !setting) throw refused('the tenant takes no assertions of its issuer');
    const claims = await issuers.claimsOf(tenant, issuer, token, boundTo(token, held));
    checkAudience(claims, tokens.issuerOf(tenant), tenant, setting);
    checkClient(claims, actor);
    const accepted = {
      subject: { class: issuer.subject_class, id: subjectOf(issuer, claims) },
      until: endOf((claims.exp ?? 0) * 1_000, now),
      parent: undefined,
      renews: false,
      mayAct: claims['may_act'] === undefined ? undefined : actor,
      authentication: authenticationIn(claims, now, issuer),
      issuer: issuer.issuer,
      isCertificateBound: isCertificateBound(claims['cnf']),
      asserted: assertedIn(claims, tenant, setting, now),
    };
    const { exp = 0, jti = '' } = checkBounds(claims, setting);
    // Last of all, so that nobody else uses it up.
    const { value } = await writer.run('takeOnce', {
      tenantNo: tenant.no,
      name: hash('sha256', JSON.stringify(['id-jag', issuer.issuer, jti]), 'buffer'),
      until: Math.ceil((exp + 2 * CLOCK_TOLERANCE) * 1_000),
      at: clock(),
    });
    if (value === undefined) throw refused('it was used before');
    return { ...accepted, until: Math.min(accepted.until, accepted.asserted.sessionEnds) };
  } catch (error) {
    throw error instanceof ServiceError && error.code === 'token_invalid' ? untold(error) : error;
  }
}

/** Before its issuer's keys are asked for. */
function checkType({ header }: UnverifiedToken): void {
  const type = typeof header['typ'] === 'string' ? header['typ'].toLowerCase() : '';
  if (type.replace(/^application\//, '') !== ID_JAG) throw refused('it is of another type');
}

/** One audience, and it is this authority; of a multi-tenant issuer the tenant that it was configured for. */
function checkAudience(claims: JWTPayload, ours: string, tenant: Tenant, setting: Setting): void {
  const { aud } = claims;
  const audience: unknown = Array.isArray(aud) && aud.length === 1 ? aud[0] : aud;
  if (audience !== ours) throw refused('it is for somebody else, or for others too');
  const { tenant: theirs, aud_tenant: here } = claims;
  if (theirs !== setting.tenant) throw refused("it is of another tenant of its issuer's");
  if (here !== undefined && here !== tenant.id) throw refused('it is for another tenant');
}

/** RFC 8693 section 4.4: `may_act` binds where it is present. */
function checkClient(claims: JWTPayload, actor: PrincipalRef): void {
  if (claims['client_id'] !== actor.id) throw refused('it was issued to another client');
  const mayAct = claims['may_act'] as { sub?: unknown } | undefined;
  if (mayAct !== undefined && mayAct?.sub !== actor.id) throw refused('may_act names somebody else');
}

function checkBounds(claims: JWTPayload, { max_lifetime_seconds: most }: Setting): JWTPayload {
  const { exp = 0, iat = 0, jti } = claims;
  if (typeof jti !== 'string' || jti === '' || jti.length > MAX_ID) throw refused('it has no jti');
  if (!(exp > iat && exp - iat <= most)) throw refused(`it is good for longer than ${most} seconds`);
  return claims;
}

function assertedIn(claims: JWTPayload, tenant: Tenant, setting: Setting, now: number): Asserted {
  return {
    resources: resourcesIn(claims, tenant),
    scopes: scopesIn(claims),
    use: useIn(claims),
    details: detailsIn(claims, tenant),
    sessionEnds: sessionEnd(claims, setting, now),
  };
}

/** RFC 8707 section 2, as for a request. Without one a token would be for whatever the client likes. */
function resourcesIn({ resource }: JWTPayload, { audiences, declared }: Tenant): readonly string[] {
  const list: readonly unknown[] = Array.isArray(resource) ? resource : [resource];
  if (list.length === 0 || list.length > MAX_RESOURCES || !list.every((each) => typeof each === 'string'))
    throw refused('it names no resource');
  const owners = list.map((each) => {
    const owner = audiences.get(each);
    // An address of a server's own: a name of ours means something else elsewhere.
    return owner && declared.get(principalKey(owner))?.resources.includes(each) ? principalKey(owner) : '';
  });
  if (owners.includes('') || new Set(owners).size > 1)
    throw new ServiceError('invalid_target', 'the resource is unknown, or of more than one server');
  return [...new Set(list)];
}

/** RFC 6749 section 3.3. */
function scopesIn({ scope }: JWTPayload): readonly string[] | undefined {
  if (scope === undefined) return undefined;
  const scopes = typeof scope === 'string' ? scope.split(' ') : [];
  if (scopes.length > MAX_SCOPES || scopes.some((each) => each.length > 256))
    throw refused('it has too many scopes');
  if (!scopes.every((each) => /^[\x21\x23-\x5b\x5d-\x7e]+$/.test(each)) || scopes.length === 0)
    throw refused('its scope is none');
  return scopes;
}

/** An extension: as tokens and assertions of Mandate's have it. */
function useIn({ use }: JWTPayload): Use {
  if (use === undefined) return 'act';
  if (typeof use === 'string' && isUse(use)) return use;
  throw refused('its class of use is none');
}

/** RFC 9396: what cannot be understood cannot be kept to, and is not left out either. */
function detailsIn(claims: JWTPayload, { manifest }: Tenant): readonly Detail[] | undefined {
  const details = claims['authorization_details'];
  if (details === undefined) return undefined;
  if (!Array.isArray(details)) throw refused('its authorization_details are no array');
  return narrowDetails(manifest.authorization_details, { asked: details, parent: undefined, ceilings: [] });
}

/** OpenID Connect Enterprise Extensions: `session_expiry`; and what the tenant lets a sign-in last. In milliseconds. */
function sessionEnd(claims: JWTPayload, { max_session_seconds: most }: Setting, now: number): number {
  const { session_expiry: said, auth_time: signedIn } = claims;
  const ends = [];
  if (said !== undefined) {
    if (!isTime(said)) throw refused('its session_expiry is no time');
    ends.push(said);
  }
  if (most !== undefined) {
    if (!isTime(signedIn) || signedIn > now / 1_000 + CLOCK_TOLERANCE)
      throw refused('it does not say when its user signed in');
    ends.push(signedIn + most);
  }
  return Math.floor(Math.min(...ends)) * 1_000;
}

const isTime = (value: unknown): value is number => typeof value === 'number' && Number.isFinite(value);

const refused = (detail: string): ServiceError =>
  new ServiceError('token_invalid', NOT_VALID, { detail: `identity assertion: ${detail}` });

/** Whoever asks hears the same of each fault: none tells which issuers, users and servers there are. */
const untold = (error: ServiceError): ServiceError =>
  error.message === NOT_VALID
    ? error
    : new ServiceError('token_invalid', NOT_VALID, {
        cause: error,
        detail: `identity assertion: ${describe(error)}`,
      });

const NOT_VALID = 'the assertion is not valid here';
