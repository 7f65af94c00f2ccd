import { type GrantId, principalClasses, principalKey } from '../../ids.ts';
import type { GrantStore } from '../../storage/grants.ts';
import { actingIn, type GrantRow, type TenantNo } from '../../storage/rows.ts';
import type { MeterScope } from '../../tenancy/meters-declared.ts';
import type { TokenPrincipal } from '../principal.ts';

/** One whom a meter counts for: a name in the store, and until when it may be asked for. */
export interface CountedFor {
  readonly of: string;
  readonly ends: number | null;
  readonly grant: GrantRow | undefined;
}

/** How long a count stays in the store after what it is for has ended: a clock may be set back. */
export const AFTER_END_MS = 86_400_000;

/** More exchanges than any ceiling allows, and the task above them. */
export const MAX_CHAIN = 16;

/** Whom a meter counts for in a decision: nobody, one, or a grant and each that it came from. */
export function countedFor(
  grants: GrantStore,
  no: TenantNo,
  per: MeterScope,
  { subject, actors, grant }: TokenPrincipal,
): CountedFor[] {
  switch (per) {
    case 'subject':
      return [{ of: `subject ${principalKey(subject)}`, ends: null, grant: undefined }];
    case 'actor': {
      const actor = grant ? actingIn(grant) : (actors[0] ?? subject);
      return [{ of: `actor ${principalKey(actor)}`, ends: null, grant: undefined }];
    }
    case 'task':
      if (!grant?.task) return [];
      return [{ of: `task ${grant.task.id}`, ends: grant.task.endsAt + AFTER_END_MS, grant: undefined }];
    case 'grant':
      return chainOf(grants, no, grant).map((each) => ({
        of: `grant ${each.id}`,
        ends: each.expiresAt + AFTER_END_MS,
        grant: each,
      }));
  }
}

/** The grant and all it came from, which are in the store as long as it is. */
function chainOf(grants: GrantStore, no: TenantNo, grant: GrantRow | undefined): GrantRow[] {
  const chain: GrantRow[] = [];
  let each = grant;
  while (each && chain.length < MAX_CHAIN) {
    chain.push(each);
    const parent: GrantId | null = each.parentId;
    each = parent === null ? undefined : grants.find(no, parent);
  }
  return chain;
}

/** Whom a name in the store is about, where a meter of this kind counts for such; undefined for anybody else. */
export function namedOf(
  grants: GrantStore,
  no: TenantNo,
  per: MeterScope,
  of: string,
): CountedFor | undefined {
  if (!of.startsWith(`${per} `)) return undefined;
  const name = of.slice(per.length + 1);
  if (per === 'subject' || per === 'actor')
    return isPrincipal(name) ? { of, ends: null, grant: undefined } : undefined;
  const grant = grants.find(no, name as GrantId);
  if (!grant || grant.revokedAt !== null) return undefined;
  const ends = per === 'task' ? grant.task?.endsAt : grant.expiresAt;
  return ends === undefined ? undefined : { of, ends: ends + AFTER_END_MS, grant };
}

const MAX_ID = 256;

const isPrincipal = (name: string): boolean =>
  principalClasses.some(
    (each) =>
      name.startsWith(`${each}:`) && name.length > each.length + 1 && name.length <= each.length + 1 + MAX_ID,
  );
