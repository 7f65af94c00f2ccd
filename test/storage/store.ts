import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { LogSource } from '../../src/audit/query.ts';
import { buildRecord, type RecordDraft } from '../../src/audit/record.ts';
import { tenantId, uuidv7 } from '../../src/ids.ts';
import type { StoreOptions } from '../../src/storage/database.ts';
import type { RecordStore } from '../../src/storage/log/records.ts';
import type { RecordRow, TenantNo } from '../../src/storage/rows.ts';
import { Writer } from '../../src/storage/writer.ts';

/** A store in a temporary folder, and rows to put into it. */

export async function temporaryFolder(): Promise<{ folder: string } & AsyncDisposable> {
  const folder = await mkdtemp(path.join(tmpdir(), 'mandate-store-'));
  return { folder, [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }) };
}

export const openStore = (folder: string, options: Partial<StoreOptions> = {}): Promise<Writer> =>
  Writer.open({ folder, ...options });

export async function tenantNo(writer: Writer, id: string): Promise<TenantNo> {
  return (await writer.run('putTenant', { id: tenantId(id) })).value.no;
}

export const T0 = 1_767_225_600_000;

let serial = 0;

/** A decision's id, unlike any other. */
export function decisionIdAt(time: number): string {
  serial += 1;
  const bytes = Buffer.alloc(10);
  bytes.writeUInt32BE(serial, 6);
  return uuidv7(time, bytes);
}

export function draftOf(no: TenantNo, changes: Partial<RecordDraft> = {}): RecordDraft {
  const time = changes.time ?? T0;
  const subject = changes.subject ?? { class: 'user', id: 'alice' };
  return {
    tenantNo: no,
    time,
    kind: 'decision',
    outcome: 'allow',
    decisionId: decisionIdAt(time),
    caller: 'service:docs-api',
    subject,
    actor: undefined,
    members: '',
    input: JSON.stringify({ subject, actors: changes.actor ? [changes.actor] : [] }),
    ...changes,
  };
}

export const rowOf = (no: TenantNo, changes: Partial<RecordDraft> = {}): RecordRow =>
  buildRecord(draftOf(no, changes));

/** Records of which nothing stands beside them. */
export const sourceOf = (records: RecordStore): LogSource => ({ records, partOf: () => undefined });

/** Appends rows in one commit. */
export async function appendRows(writer: Writer, rows: readonly RecordRow[]): Promise<number[]> {
  const parcel = writer.parcel();
  for (const row of rows) parcel.add(row);
  return [...(await writer.appendAll(parcel))];
}
