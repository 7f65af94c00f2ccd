import { ServiceError } from '../errors.ts';
import { type GrantId, type PrincipalClass, type PrincipalRef, principalKey } from '../ids.ts';
import type { GrantRow } from '../storage/rows.ts';
import type { Tenant } from '../tenancy/tenants.ts';
import type { ExchangeAsked } from './asked.ts';
import { MAX_LIFETIME_SECONDS } from './exchange.ts';
import type { Binding } from './sender/certificates.ts';

/** Who acts for itself. An agent acts for somebody, and a user through one. */
const ACT_FOR_THEMSELVES: readonly PrincipalClass[] = ['service', 'job', 'mcp_server'];

/**
 * What may be granted to a client for itself (client credentials, RFC 6749 section 4.4), before the tenant's policy has its
 * say: what it holds, for one server. Pure. Throws `exchange_denied`, `invalid_target` or `invalid_scope`.
 */
export function ownGrant(
  tenant: Tenant,
  client: PrincipalRef,
  held: ReadonlySet<string>,
  {
    asked,
    bound,
    issuer,
    now,
    id,
  }: { asked: ExchangeAsked; bound: Binding; issuer: string; now: number; id: GrantId },
): GrantRow {
  if (!ACT_FOR_THEMSELVES.includes(client.class))
    throw new ServiceError(
      'exchange_denied',
      `${principalKey(client)} acts for somebody: only ${ACT_FOR_THEMSELVES.join(', ')} act for themselves`,
    );
  if (asked.task || asked.mayAct || asked.details.length > 0)
    throw new ServiceError(
      'invalid_request',
      'client_credentials takes no task, may_act or authorization_details: there is nobody it acts for',
    );
  const targets = asked.audiences.map((audience) => tenant.audiences.get(audience));
  if (new Set(targets.map((each) => each && principalKey(each))).size > 1 || !targets.every(Boolean))
    throw new ServiceError('invalid_target', 'the audience is unknown, or of more than one server');
  const scopes = [...new Set(asked.scopes)].filter((scope) => held.has(scope));
  if (scopes.length === 0)
    throw new ServiceError('invalid_scope', 'none of the scopes is held by the client');
  const [audience = '', ...moreAudiences] = new Set(asked.audiences);
  const seconds = Math.min(asked.lifetimeSeconds || MAX_LIFETIME_SECONDS, MAX_LIFETIME_SECONDS);
  return {
    id,
    parentId: null,
    depth: 1,
    subject: client,
    actors: [],
    scopes,
    use: asked.use ?? 'act',
    details: [],
    audience,
    moreAudiences,
    mayAct: null,
    ...bound,
    task: null,
    authentication: {},
    issuedAt: now,
    expiresAt: Math.floor(now / 1_000) * 1_000 + seconds * 1_000,
    issuer,
    revokedAt: null,
  };
}
