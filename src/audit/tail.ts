import type { RecordStore, StoredRecord } from '../storage/log/records.ts';
import type { TenantNo } from '../storage/rows.ts';
import { Arrivals } from './arrivals.ts';

/** How much is read at a time. */
const PAGE = 512;
const PAGE_BYTES = 512 * 1024;

/**
 * A tenant's log from an index on (undefined: from its end), then as it grows, until the signal. It reads the store
 * and keeps nothing: a slow reader costs no memory and misses no record.
 */
export async function* tailPages(
  store: RecordStore,
  tenantNo: TenantNo,
  from: number | undefined,
  signal: AbortSignal,
  arrivals = new Arrivals(store),
): AsyncGenerator<StoredRecord[]> {
  let next = from ?? store.size(tenantNo);
  while (!signal.aborted) {
    const page = store.read(tenantNo, next, PAGE, PAGE_BYTES);
    if (page.records.length > 0) yield page.records;
    // What is damaged is passed by, and does not end it.
    const isAtEnd = page.next === next;
    next = page.next;
    if (isAtEnd) await arrivals.after(tenantNo, next, signal);
  }
}
