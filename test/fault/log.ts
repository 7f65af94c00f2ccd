import type { AuditRecord } from '../../src/audit/read.ts';
import { readRecord } from '../../src/audit/read.ts';
import { ENDED_AT } from '../../src/storage/granting/living.ts';
import { recordStore } from '../../src/storage/log/records.ts';
import { openReader } from '../../src/storage/reader.ts';
import type { TenantNo } from '../../src/storage/rows.ts';

/** Everything in a tenant's log, read from the files that a process left. */
export function logIn(folder: string, tenant = 'acme'): AuditRecord[] {
  const db = openReader(folder);
  try {
    const no = db.prepare<[string], TenantNo>('SELECT no FROM tenants WHERE id = ?').pluck().get(tenant);
    return no === undefined ? [] : recordStore(db).range(no, 0, 1_000_000).map(readRecord);
  } finally {
    db.close();
  }
}

/** Grants that are there and that nothing has ended. */
export function livingGrants(folder: string): string[] {
  const db = openReader(folder);
  try {
    return db.prepare<[], string>(`SELECT id FROM grants g WHERE ${ENDED_AT} IS NULL`).pluck().all();
  } finally {
    db.close();
  }
}
