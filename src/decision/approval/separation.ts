import { type NamedRef, type PrincipalRef, principalKey } from '../../ids.ts';
import type { ApprovalRow } from '../../storage/approvals/rows.ts';
import { storedJson } from '../../storage/faults.ts';
import type { FactSource } from '../../tenancy/facts.ts';
import type { Tenant } from '../../tenancy/tenants.ts';
import type { Question } from './question.ts';

/**
 * Separation of duties: nobody approves for himself, nor for an agent that he answers for. Law, whatever the tenant's
 * policy says. Answers why somebody may not decide a request; undefined where he may, as far as this goes.
 */
export function conflictOf(
  tenant: Tenant,
  facts: FactSource,
  row: ApprovalRow,
  approver: {
    readonly named: NamedRef;
    readonly principal: PrincipalRef | undefined;
    readonly caller: string;
  },
): string | undefined {
  const { named, principal, caller } = approver;
  const asker = `${named.class}:${named.id}`;
  // The caller may be an operator, who is no principal.
  if (row.caller === asker || row.caller === caller) return 'whoever asked for it does not decide it';
  if (!principal) return undefined;
  const parties = row.parties.map(principalKey);
  if (parties.includes(principalKey(principal))) return 'whoever has a part in it does not decide it';
  const ours = new Set([
    principalKey(principal),
    ...groupsOf(tenant, facts, principal),
    ...ownersOf(tenant, principal),
  ]);
  const { subject, actors } = storedJson(row.question) as Question;
  // A server in front of a resource asks for whoever calls it; its owners have no part in that.
  const involved = [subject, ...actors, ...row.parties.filter(({ class: cls }) => cls === 'agent')];
  const owners = involved.flatMap((each) => ownersOf(tenant, each));
  if (owners.some((owner) => ours.has(owner))) return 'whoever answers for an agent does not decide for it';
  const people = new Set([
    ...parties,
    ...row.parties.flatMap((each) => (each.class === 'user' ? groupsOf(tenant, facts, each) : [])),
  ]);
  // An approver that is no person is its owners'.
  if (ownersOf(tenant, principal).some((owner) => people.has(owner)))
    return 'nobody has an agent of his own decide for him';
  return undefined;
}

const ownersOf = (tenant: Tenant, ref: PrincipalRef): readonly string[] =>
  tenant.declared.get(principalKey(ref))?.owners ?? [];

/** As owners are named. */
function groupsOf(tenant: Tenant, facts: FactSource, ref: PrincipalRef): string[] {
  if (ref.class !== 'user') return [];
  const { groups } = storedJson(`{${facts.of(tenant, ref).members}}`) as { groups: readonly string[] };
  return groups.map((group) => `group:${group}`);
}
