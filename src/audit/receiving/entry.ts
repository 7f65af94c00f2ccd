import {
  nameHash,
  principalHash,
  recordKey,
  recordKinds,
  recordOutcomes,
  shortHash,
} from '../../storage/log/heads.ts';
import { earlierHash, revisionHash } from '../../storage/log/names.ts';
import type { RecordRow, TenantNo } from '../../storage/rows.ts';
import { type AuditRecord, readParsed } from '../read.ts';

/**
 * An entry of another server's log, as it stands in a log here: its bytes, and what finds it, which is read from them.
 * Undefined for what is no record that this version knows.
 */
export function rowOfEntry(tenantNo: TenantNo, body: Uint8Array): RecordRow | undefined {
  try {
    // What is not read as it is written would be other bytes here.
    const text = utf8.decode(body);
    const record = readParsed({ index: 0, body }, JSON.parse(text));
    const kind = recordKinds.find((known) => known === record.kind);
    const outcome = recordOutcomes.find((known) => known === record.outcome);
    if (!kind || !outcome || !isNamed(record)) return undefined;
    return { ...found(record), tenantNo, kind, outcome, body: text };
  } catch {
    return undefined;
  }
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

const isNamed = ({ time, decisionId, caller }: AuditRecord): boolean =>
  Number.isFinite(time) && typeof caller === 'string' && UUID.test(decisionId);

/** As `buildRecord` has it of what it is given: of an administrative change whom it is about is beside who did it. */
function found(record: AuditRecord): Omit<RecordRow, 'tenantNo' | 'kind' | 'outcome' | 'body'> {
  const { subject, actors, target, resource, action, reasons, grantId, revision } = record;
  const [reason] = reasons;
  return {
    time: record.time,
    subject: principalHash(subject),
    actor: principalHash(actors[0] ?? target),
    caller: shortHash(record.caller),
    key: recordKey(record.decisionId),
    names: {
      resource: resource.type === '' ? 0 : nameHash('resource', `${resource.type}:${resource.id}`),
      grant: grantId === '' ? 0 : nameHash('grant', grantId),
      action: action === '' ? 0 : shortHash(action),
      reason: reason === undefined ? 0 : shortHash(reason.code),
      earlier: earlierHash(actors),
      revision: revisionHash(revision),
    },
  };
}
