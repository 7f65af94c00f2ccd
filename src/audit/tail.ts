import { setTimeout as sleep } from 'node:timers/promises';
import type { RecordStore, StoredRecord } from '../storage/log/records.ts';
import type { TenantNo } from '../storage/rows.ts';
import { commitChannel } from '../storage/writer.ts';

const PAGE = 100;
/** A commit wakes a tail at once; this is only for what a signal could not say. In milliseconds. */
const IDLE_MS = 5_000;

/**
 * A tenant's log from an index on (undefined: from its end), then as it grows, until the signal. It reads the store
 * and keeps nothing: a slow reader costs no memory and misses no record.
 */
export async function* tailRecords(
  store: RecordStore,
  tenantNo: TenantNo,
  from: number | undefined,
  signal: AbortSignal,
): AsyncGenerator<StoredRecord> {
  let next = from ?? store.size(tenantNo);
  while (!signal.aborted) {
    const woken = nextCommit(signal);
    const page = store.range(tenantNo, next, PAGE);
    for (const record of page) {
      if (signal.aborted) return;
      yield record;
      next = record.index + 1;
    }
    if (page.length === 0) await woken.promise;
    woken.cancel();
  }
}

/** Listens from before the read, so that a commit between the read and the wait is not missed. */
function nextCommit(signal: AbortSignal): { promise: Promise<void>; cancel: () => void } {
  const done = new AbortController();
  const wake = (): void => done.abort();
  commitChannel.subscribe(wake);
  const promise = sleep(IDLE_MS, undefined, { signal: AbortSignal.any([done.signal, signal]), ref: false })
    .catch(() => undefined)
    .then(() => commitChannel.unsubscribe(wake))
    .then(() => undefined);
  return { promise, cancel: wake };
}
