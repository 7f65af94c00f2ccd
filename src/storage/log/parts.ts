import { createHash } from 'node:crypto';
import { ServiceError } from '../../errors.ts';
import type { Connection } from '../database.ts';
import { reportFault } from '../faults.ts';
import type { TenantNo } from '../rows.ts';

/** What several records of a tenant have in common. */
export interface PartStore {
  /** JSON text by its SHA-256, as hex. Throws `unavailable` where it is not what was stored. */
  find(tenantNo: TenantNo, digest: string): string | undefined;
}

export function partStore(db: Connection): PartStore {
  const find = db
    .prepare<[number, string], string>('SELECT body FROM parts WHERE tenant_no = ? AND digest = ?')
    .pluck();
  return {
    find(tenantNo, digest) {
      const body = find.get(tenantNo, digest);
      if (body === undefined || createHash('sha256').update(body).digest('hex') === digest) return body;
      const text = `what records have in common under ${digest} is damaged`;
      reportFault({ tenantNo, text, lasts: true });
      throw new ServiceError('unavailable', 'the store cannot be read', { detail: text });
    },
  };
}
