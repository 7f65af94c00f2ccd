import { createHash } from 'node:crypto';
import type { PrincipalRef, TenantId } from '../ids.ts';
import { principalKey } from '../ids.ts';
import type { Share } from '../storage/revisions/rows.ts';

/**
 * Whether a staged revision decides for whom a request is made: by name, or by where its name falls among all. Who is in a
 * share is in each larger one, whatever revision is staged.
 */
export function isIn({ percent, principals }: Share, tenant: TenantId, subject: PrincipalRef): boolean {
  const name = principalKey(subject);
  if (principals.includes(name)) return true;
  if (percent <= 0) return false;
  const place = createHash('sha256').update(`${tenant}\n${name}`).digest().readUInt32BE(0);
  return (place / 2 ** 32) * 100 < percent;
}
