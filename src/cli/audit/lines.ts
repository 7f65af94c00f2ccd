import type { AuditRecord } from '../../audit/read.ts';
import type { StoredRecord } from '../../storage/log/records.ts';

/** Records as people and programs are shown them. */

export const STORED = 'with --json: as the log has it, with what is sealed as it is';

/** What is shown of a record: what is sealed in the clear, where it may be had. */
export const clear = (
  { index, body, opened }: { index: bigint; body: Uint8Array; opened: Uint8Array },
  isStored = false,
): StoredRecord => ({ index: Number(index), body: isStored || opened.length === 0 ? body : opened });

/** Which log is meant, where a server has those of others too. */
export const NODE = 'the log of this server; left out: of the one that is asked';

/** A record, and which server made it. */
export interface NodeRecord extends StoredRecord {
  readonly node: string;
}

export const HEAD = ['INDEX', 'TIME', 'KIND', 'OUTCOME', 'WHO', 'ACTION', 'RESOURCE', 'WHY'];

export function row(record: AuditRecord): string[] {
  return [
    String(record.index),
    new Date(record.time).toISOString(),
    record.kind,
    record.outcome,
    who(record),
    record.action || '-',
    what(record),
    [...new Set([...record.reasons.map((reason) => reason.code), ...record.rules])].join(' '),
  ];
}

/** Kinds of which the principals are those of the grant or token that is acted on; the one who acts is the caller. */
const DONE_TO: ReadonlySet<string> = new Set(['revocation', 'introspection']);

/** Of a refused exchange only the actor is known; of what nobody was named in, only the caller. */
const who = (record: AuditRecord): string =>
  DONE_TO.has(record.kind) ? record.caller : named(record) || record.caller;

function what({ target, ...record }: AuditRecord): string {
  if (target) return `${target.class}:${target.id}`;
  const subject = DONE_TO.has(record.kind) ? named(record) : '';
  return subject || (record.resource.type ? `${record.resource.type}:${record.resource.id}` : '-');
}

/** The current actor, for the subject. */
const named = ({ subject, actors: [actor] }: Pick<AuditRecord, 'subject' | 'actors'>): string =>
  [actor, subject].flatMap((each) => (each ? [`${each.class}:${each.id}`] : [])).join(' for ');

/** The same with which server made it. */
export const nodeLine = ({ index, node, body }: NodeRecord): string =>
  `{"index":${index},"node":${JSON.stringify(node)},"record":${utf8.decode(body)}}`;

/** The record as it is stored, with its place in the log. */
export const line = ({ index, body }: StoredRecord): string =>
  `{"index":${index},"record":${utf8.decode(body)}}`;

const utf8 = new TextDecoder();
