import type { TenantId } from '../../ids.ts';
import type { Connection } from '../../storage/database.ts';
import type { TenantNo } from '../../storage/rows.ts';
import type { SinkSettings } from './settings.ts';

/** What a sink has still to be sent of a log: from an index on. */
export interface Unsent {
  readonly sink: string;
  readonly next: number;
}

/** Which of the configured sinks is furthest behind with a log; undefined where none wants it. */
export function unsentOf(
  db: Connection,
  sinks: readonly Pick<SinkSettings, 'name' | 'tenants'>[],
): (tenant: { readonly id: TenantId; readonly no: TenantNo }) => Unsent | undefined {
  const next = db
    .prepare<[string, number], number>('SELECT next FROM sink_cursors WHERE sink = ? AND tenant_no = ?')
    .pluck();
  return ({ id, no }) =>
    sinks
      .filter(({ tenants }) => tenants.includes('*') || tenants.includes(id))
      .map(({ name }) => ({ sink: name, next: next.get(name, no) ?? 0 }))
      .toSorted((a, b) => a.next - b.next)[0];
}
