import { tailPages } from '../../src/audit/tail.ts';
import type { StoredRecord } from '../../src/storage/log/records.ts';

/** A tail's pages record by record, until its signal. */
export async function* tailRecords(...tail: Parameters<typeof tailPages>): AsyncGenerator<StoredRecord> {
  const [, , , signal] = tail;
  for await (const page of tailPages(...tail))
    for (const record of page) {
      if (signal.aborted) return;
      yield record;
    }
}
