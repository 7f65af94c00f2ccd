import { ServiceError } from '../../errors.ts';
import { actingIn, type GrantRow } from '../../storage/rows.ts';
import type { UnverifiedToken } from '../../tenancy/jose.ts';
import type { Tenant } from '../../tenancy/tenants.ts';
import { actClaim, detailsClaim, type Tokens, TRANSACTION_TOKEN } from '../tokens.ts';
import { nameInDomain, type Transaction } from './asked.ts';

/**
 * The token itself (draft-ietf-oauth-transaction-tokens, "Txn-Token Format"). Who asked for it is in `req_wl`, and who did
 * before it in `act`. It is bound to no key: it is passed on. Throws `invalid_request` for one that would be too long.
 */
export function signTransaction(
  tokens: Pick<Tokens, 'sign'>,
  tenant: Tenant,
  grant: GrantRow,
  { id, details, context }: Transaction,
): Promise<string> {
  const claims = {
    sub: nameInDomain(grant.subject),
    txn: id,
    scope: grant.scopes.join(' '),
    req_wl: nameInDomain(actingIn(grant)),
    tctx: details,
    rctx: context,
    use: grant.use,
    authorization_details: detailsClaim(grant),
    act: actClaim(grant.actors),
  };
  return tokens.sign(tenant, grant, { type: TRANSACTION_TOKEN, audience: grant.audience, claims });
}

/** What a transaction token of ours says, whose signature was verified. */
export function transactionIn({ claims }: UnverifiedToken): Transaction {
  const { txn, tctx, rctx } = claims;
  if (typeof txn !== 'string' || !isObject(tctx) || !isObject(rctx))
    throw new ServiceError('token_invalid', 'the token names no transaction');
  return { id: txn, details: tctx, context: rctx };
}

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
