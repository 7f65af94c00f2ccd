import { isDeepStrictEqual } from 'node:util';
import { ServiceError } from '../../errors.ts';
import { type PrincipalRef, principalKey } from '../../ids.ts';
import { ceilingOf, type Tenant } from '../../tenancy/tenants.ts';
import { isWorkload, type Transactions, transactionsOf } from '../../tenancy/transactions-declared.ts';
import type { ExchangeAsked } from '../asked.ts';

/** draft-ietf-oauth-transaction-tokens, "Txn-Token Request". */
export const TXN_TOKEN_TYPE = 'urn:ietf:params:oauth:token-type:txn_token';

type Members = Readonly<Record<string, unknown>>;

/** What the workload says of the transaction. */
export interface TransactionAsked {
  /** `request_details`. */
  readonly details: Members;
  /** `request_context`. */
  readonly context: Members;
}

/** What stays the same however often its token is replaced. */
export interface Transaction {
  /** `txn`. */
  readonly id: string;
  /** `tctx`. */
  readonly details: Members;
  /** `rctx`. */
  readonly context: Members;
}

/**
 * What the tenant declares, where a transaction token is asked for. Throws `unsupported_token_type` where it declares
 * none, `invalid_target` for another trust domain or by whom it is not open to, `invalid_request`.
 */
export function transactionsFor(
  tenant: Tenant,
  actor: PrincipalRef,
  asked: ExchangeAsked,
): Transactions | undefined {
  if (asked.issuedTokenType !== TXN_TOKEN_TYPE) return undefined;
  const declared = transactionsOf(tenant);
  if (!declared) throw new ServiceError('unsupported_token_type', 'the tenant has no transaction tokens');
  if (asked.task || asked.approval || asked.mayAct)
    throw new ServiceError('invalid_request', 'a transaction token comes without task, approval and may_act');
  const { trust_domain: domain } = declared;
  // That there is another domain, and that this one is not open, are answered alike.
  const isOpen = isWorkload(declared, actor) && ceilingOf(tenant, actor)?.audiences.includes(domain);
  if (asked.audiences.length !== 1 || asked.audiences[0] !== domain || !isOpen)
    throw new ServiceError('invalid_target', 'the audience is unknown or not open to this workload');
  const said = JSON.stringify(asked.transaction ?? {});
  if (asked.subjectToken !== undefined && said.includes(asked.subjectToken))
    throw new ServiceError('invalid_request', 'a transaction token holds no other token');
  return declared;
}

/** Whoever asks answers for the trust domain: it may hand in what is for the domain, as any workload in it may. */
export const withDomain = (
  { audiences }: Tenant,
  { trust_domain: domain }: Transactions,
  actor: PrincipalRef,
): Pick<ReadonlyMap<string, PrincipalRef>, 'get'> => ({
  get: (name) => (name === domain ? actor : audiences.get(name)),
});

/**
 * A new transaction, or the one that is presented with what is said beside: nothing that it says already is said anew.
 * Throws `invalid_request`.
 */
export function transactionOf(
  id: string,
  { details, context }: TransactionAsked,
  before: Transaction | undefined,
): Transaction {
  if (!before) return { id, details, context };
  return {
    id: before.id,
    details: added(before.details, details, 'request_details'),
    context: added(before.context, context, 'request_context'),
  };
}

function added(before: Members, more: Members, where: string): Members {
  for (const [name, value] of Object.entries(more))
    if (Object.hasOwn(before, name) && !isDeepStrictEqual(before[name], value))
      throw new ServiceError(
        'invalid_request',
        `${where}: the transaction says ${name} already, and not the same`,
      );
  return { ...more, ...before };
}

/** As the policy sees it, and records. */
export const transactionMembers = ({ id, details, context }: Transaction) => ({ id, details, context });

/** `req_wl`, and `sub`: unique in the trust domain, as one class never passes for another. */
export const nameInDomain = principalKey;
