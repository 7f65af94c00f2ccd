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
  const { subject, actors, grant } = storedJson(row.question) as Question;
  // Whoever alone may take on what is granted has a part in it, too.
  const taker = grant?.may_act ? [grant.may_act] : [];
  const parties = [...row.parties, ...taker].map(principalKey);
  if (parties.includes(principalKey(principal))) return 'whoever has a part in it does not decide it';
  const withGroups = (owners: readonly string[]): string[] =>
    owners.flatMap((owner) => [owner, ...groupsOf(tenant, facts, userIn(owner))]);
  // A server in front of a resource asks for whoever calls it; its owners have no part in that.
  const involved = [subject, ...actors, ...taker, ...row.parties.filter(({ class: cls }) => cls === 'agent')];
  const answering = involved.flatMap((each) => ownersOf(tenant, each));
  const own = ownersOf(tenant, principal);
  const self = [principalKey(principal), ...groupsOf(tenant, facts, principal)];
  if (
    meet(answering, [...self, ...withGroups(own)]) ||
    // Of two owners one may be the other's group.
    meet(withGroups(answering), own)
  )
    return 'whoever answers for an agent does not decide for it';
  // An approver that is no person is its owners'.
  const people = row.parties.flatMap((each) => [principalKey(each), ...groupsOf(tenant, facts, each)]);
  if (meet(own, people)) return 'nobody has an agent of his own decide for him';
  return undefined;
}

const meet = (some: readonly string[], others: readonly string[]): boolean =>
  some.some((each) => others.includes(each));

const ownersOf = (tenant: Tenant, ref: PrincipalRef): readonly string[] =>
  tenant.declared.get(principalKey(ref))?.owners ?? [];

const USER = 'user:';
const userIn = (owner: string): PrincipalRef | undefined =>
  owner.startsWith(USER) ? { class: 'user', id: owner.slice(USER.length) } : undefined;

/** As owners are named. */
function groupsOf(tenant: Tenant, facts: FactSource, ref: PrincipalRef | undefined): string[] {
  if (ref?.class !== 'user') return [];
  const { groups } = storedJson(`{${facts.of(tenant, ref).members}}`) as { groups: readonly string[] };
  return groups.map((group) => `group:${group}`);
}
