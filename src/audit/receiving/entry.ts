import {
  nameHash,
  principalHash,
  recordKey,
  recordKinds,
  recordOutcomes,
  shortHash,
} from '../../storage/log/heads.ts';
import { earlierHash, revisionHash } from '../../storage/log/names.ts';
import type { RecordFinder, TenantNo } from '../../storage/rows.ts';
import { type AuditRecord, readParsed } from '../read.ts';

/** What is read of an entry of another server's log. */
export interface Entry {
  /** What finds it in a log here. */
  readonly finder: RecordFinder;
  /** The digests of what it has in common with others. */
  readonly parts: readonly string[];
}

/** Reads entries of one log. Undefined for what is no record that this version knows. */
export function entryReader(tenantNo: TenantNo): (body: Uint8Array) => Entry | undefined {
  const find = finding();
  return (body) => {
    try {
      const parsed: unknown = JSON.parse(utf8.decode(body));
      const record = readParsed({ index: 0, body }, parsed);
      const kind = recordKinds.find((known) => known === record.kind);
      const outcome = recordOutcomes.find((known) => known === record.outcome);
      if (!kind || !outcome || !isNamed(record)) return undefined;
      const { input_parts: parts } = parsed as { readonly input_parts?: Readonly<Record<string, string>> };
      return {
        finder: { ...find(record), tenantNo, kind, outcome },
        parts: parts === undefined ? NO_PARTS : Object.values(parts),
      };
    } catch {
      return undefined;
    }
  };
}

/** JSON is UTF-8 (RFC 8259 section 8.1), and nothing stands before it. */
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

const NO_PARTS: readonly string[] = [];

const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

const isNamed = ({ time, decisionId, caller }: AuditRecord): boolean =>
  Number.isFinite(time) && typeof caller === 'string' && UUID.test(decisionId);

/** As `buildRecord` has it of what it is given: of an administrative change whom it is about is beside who did it. */
function finding(): (record: AuditRecord) => Omit<RecordFinder, 'tenantNo' | 'kind' | 'outcome'> {
  const [callerOf, actionOf, reasonOf, revisionOf] = [
    unlessSame(shortHash),
    unlessSame(shortHash),
    unlessSame(shortHash),
    unlessSame(revisionHash),
  ];
  const grantOf = unlessSame((id) => nameHash('grant', id));
  return (record) => {
    const { subject, actors, target, resource, action, reasons, grantId, revision } = record;
    const [reason] = reasons;
    return {
      time: record.time,
      subject: principalHash(subject),
      actor: principalHash(actors[0] ?? target),
      caller: callerOf(record.caller),
      key: recordKey(record.decisionId),
      names: {
        resource: resource.type === '' ? 0 : nameHash('resource', `${resource.type}:${resource.id}`),
        grant: grantId === '' ? 0 : grantOf(grantId),
        action: action === '' ? 0 : actionOf(action),
        reason: reason === undefined ? 0 : reasonOf(reason.code),
        earlier: earlierHash(actors),
        revision: revisionOf(revision),
      },
    };
  };
}

/** The hash of a name, which is mostly the one that the entry before had too: then it is compared, and not hashed. */
function unlessSame(hash: (name: string) => number): (name: string) => number {
  let last = '';
  let known = hash(last);
  return (name) => {
    if (name === last) return known;
    known = hash(name);
    last = name;
    return known;
  };
}
