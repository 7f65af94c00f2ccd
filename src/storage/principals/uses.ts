import type { PrincipalClass, PrincipalRef } from '../../ids.ts';
import type { Connection } from '../database.ts';
import type { TenantNo } from '../rows.ts';

export interface CredentialUse {
  readonly tenantNo: TenantNo;
  readonly class: PrincipalClass;
  readonly id: string;
  readonly credential: string;
  /** Milliseconds since the epoch. */
  readonly at: number;
}

export interface UseStore {
  /** When it was last used, as far as that is stored. */
  usedAt(tenantNo: TenantNo, of: PrincipalRef, credential: string): number | undefined;
}

export interface UseCommands {
  readonly putUses: (args: { uses: readonly CredentialUse[] }) => boolean;
}

export function useStore(db: Connection): UseStore {
  const find = db
    .prepare<[number, string, string, string], number>(
      'SELECT used_at FROM credential_uses WHERE tenant_no = ? AND class = ? AND id = ? AND credential = ?',
    )
    .pluck();
  return { usedAt: (no, { class: cls, id }, credential) => find.get(no, cls, id, credential) };
}

export function prepareUses(db: Connection): UseCommands {
  const put = db.prepare(
    `INSERT INTO credential_uses (tenant_no, class, id, credential, used_at) VALUES (?, ?, ?, ?, ?)
     ON CONFLICT DO UPDATE SET used_at = max(used_at, excluded.used_at)`,
  );
  return {
    putUses: ({ uses }) => {
      for (const { tenantNo, class: cls, id, credential, at } of uses)
        put.run(tenantNo, cls, id, credential, at);
      return true;
    },
  };
}
