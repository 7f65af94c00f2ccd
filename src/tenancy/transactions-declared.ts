import { z } from 'zod';
import { type PrincipalRef, principalKey } from '../ids.ts';
import type { Tenant } from './tenants.ts';

/** What a tenant declares for transaction tokens (draft-ietf-oauth-transaction-tokens). */
export const transactionsDeclared = z
  .strictObject({
    /** What its transaction tokens are for: `aud`. No server of the tenant's is called so. */
    trust_domain: z
      .string()
      .regex(/^[A-Za-z0-9](?:[A-Za-z0-9.:/-]{0,254}[A-Za-z0-9])?$/, 'a name such as internal.acme.example'),
    /** Who is in it, as `class:id`. */
    workloads: z
      .array(z.string().regex(/^(?:agent|mcp_server|service|job):./, 'agent:<id>, mcp_server:<id>, …'))
      .min(1)
      .max(1_000),
    max_lifetime_seconds: z.int().min(1).max(300).default(60),
    /** Whether they are good at Mandate too: with a check, and in an introspection. */
    accepted: z.boolean().default(false),
  })
  .optional();

export type Transactions = NonNullable<z.infer<typeof transactionsDeclared>>;

/** Undefined where a server has the name of the trust domain: else each workload would take the tokens that are for that server. */
export function transactionsOf({
  manifest: { transactions },
  audiences,
}: Pick<Tenant, 'manifest' | 'audiences'>): Transactions | undefined {
  return transactions && audiences.get(transactions.trust_domain) === undefined ? transactions : undefined;
}

export const isWorkload = ({ workloads }: Transactions, principal: PrincipalRef | undefined): boolean =>
  principal !== undefined && workloads.includes(principalKey(principal));

/** Whether transaction tokens for this audience are good where this workload is. */
export function isInDomain(
  tenant: Pick<Tenant, 'manifest' | 'audiences'>,
  workload: PrincipalRef | undefined,
  audience: string,
): boolean {
  const declared = transactionsOf(tenant);
  return declared?.accepted === true && declared.trust_domain === audience && isWorkload(declared, workload);
}
