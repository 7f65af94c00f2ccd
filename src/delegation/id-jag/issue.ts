import { ServiceError } from '../../errors.ts';
import { type PrincipalRef, principalKey } from '../../ids.ts';
import { actingIn, confirmationOf, type GrantRow, signInOf } from '../../storage/rows.ts';
import type { Authority } from '../../tenancy/crossing-declared.ts';
import type { Tenant } from '../../tenancy/tenants.ts';
import type { ExchangeAsked } from '../asked.ts';
import { actClaim, detailsClaim, mayActClaim, type Tokens } from '../tokens.ts';
import { ID_JAG } from './accept.ts';

/**
 * The authority that an identity assertion is asked for. Throws `invalid_request`, or `invalid_target` for one that the
 * tenant has not registered, or with a resource that is not its own. `ours`: the tenant's own issuer.
 */
export function authorityFor(
  tenant: Tenant,
  { authority: asked, audiences, task }: ExchangeAsked,
  ours: string,
): Authority | undefined {
  if (asked === undefined) return undefined;
  if (task)
    throw new ServiceError(
      'invalid_request',
      'a task is opened with a token, not with an assertion for others',
    );
  const authority = tenant.manifest.authorities.find(({ issuer }) => issuer === asked);
  // What it would accept itself would come back as another token.
  if (!authority || asked === ours || !audiences.every((each) => authority.resources.includes(each)))
    throw new ServiceError('invalid_target', 'the audience is unknown or not open to this agent');
  return authority;
}

/** Another authority knows it by its users alone. Throws `exchange_denied`. */
export function checkUser(subject: PrincipalRef): void {
  if (subject.class !== 'user')
    throw new ServiceError('exchange_denied', 'an identity assertion is of a user');
}

/**
 * Who answers for the resources of an authority: that one, as if it were one server, by its address. So ceilings name either.
 * What is the tenant's own stays so.
 */
export const withResources = (
  { audiences }: Tenant,
  { issuer, resources }: Authority,
): Pick<ReadonlyMap<string, PrincipalRef>, 'get'> => ({
  get: (name) =>
    audiences.get(name) ?? (resources.includes(name) ? { class: 'service', id: issuer } : undefined),
});

/** A grant of what the authority's token may be asked for with: it is for the authority, and names its resources. */
export const grantedFor = ({ issuer }: Authority, grant: GrantRow): GrantRow => ({
  ...grant,
  audience: issuer,
  moreAudiences: [grant.audience, ...grant.moreAudiences],
});

/**
 * The assertion itself (draft section 3.1). What came of a token that named its actors names them, too; of a user's own
 * token the client is all that there is to say. Throws `invalid_request` for one that would be too long.
 */
export function signAssertion(
  tokens: Pick<Tokens, 'sign'>,
  tenant: Tenant,
  grant: GrantRow,
  { issuer, clients }: Authority,
): Promise<string> {
  const { moreAudiences: resources, scopes, use, actors, depth } = grant;
  const actor = actingIn(grant);
  const key = principalKey(actor);
  const claims = {
    client_id: Object.hasOwn(clients, key) ? clients[key] : actor.id,
    resource: resources.length === 1 ? resources[0] : resources,
    scope: scopes.join(' '),
    authorization_details: detailsClaim(grant),
    act: depth > 1 ? actClaim(actors) : undefined,
    may_act: mayActClaim(grant),
    cnf: confirmationOf(grant),
    // An extension: left out, all of it.
    use: use === 'act' ? undefined : use,
    ...signInOf(grant.authentication),
  };
  return tokens.sign(tenant, grant, { type: ID_JAG, audience: issuer, claims });
}
