import type { StoreFault } from '../faults.ts';
import { recordIndex, recordTenant, type TenantNo } from '../rows.ts';
import type { VolumeRow } from '../volume/volumes.ts';

/** Part of a tenant's log that is not there, or not as it was written: from an index to before another. */
export const damagedRecords = (tenantNo: TenantNo, from: number, end: number): StoreFault => ({
  tenantNo,
  text: `${end - from === 1 ? `record ${from} of its log is` : `records ${from} to ${end - 1} of its log are`} damaged`,
  lasts: true,
});

/** Which records it held is not known: the end of a log that misses some tells by its count, or its checkpoint. */
export const damagedJournal = (seq: number): StoreFault => ({
  text: `row ${seq} of the journal is damaged, and with it the last records of some logs`,
  lasts: true,
});

export const damagedIndex = (tenantNo: TenantNo, start: number): StoreFault => ({
  tenantNo,
  text: `an index over its log is damaged, from record ${start} on; what it would find is searched for`,
  lasts: true,
});

/** Two trees that count the same do not agree: neither is believed, and nothing is appended. */
export const damagedEnd = (tenantNo: TenantNo, counted: number, found: number): StoreFault => ({
  tenantNo,
  text: `its log has ${counted} records by their count, and ends with ${found} by their index`,
  lasts: true,
});

export const damagedCheckpoint = (tenantNo: TenantNo, found: string): StoreFault => ({
  tenantNo,
  text: `the checkpoint of its log is damaged: ${found}`,
  lasts: true,
});

/** The log is not the one it stated to be: nothing is appended to it, and nothing more is stated of it. */
export const damagedTree = (tenantNo: TenantNo, stated: number, found: string): StoreFault => ({
  tenantNo,
  text: `its log is not the one of its checkpoint of ${stated} records: ${found}`,
  lasts: true,
});

/** What stands in the store is sound by itself, and not what was written there. */
export const damagedSince = (tenantNo: TenantNo, size: number): StoreFault => ({
  tenantNo,
  text: `its log of ${size} records is not the one that was written: its last ones are others`,
  lasts: true,
});

export const damagedVolume = ({ id, endId }: VolumeRow, found: string): StoreFault => ({
  tenantNo: recordTenant(id),
  text: `the volume of records ${recordIndex(id)} to ${recordIndex(endId) - 1} of its log is damaged: ${found}`,
  lasts: true,
});
