import { createHash } from 'node:crypto';
import type { NamedRef } from '../ids.ts';
import {
  type NameHashes,
  nameHash,
  principalHash,
  type RecordKind,
  type RecordOutcome,
  recordKey,
  shortHash,
} from '../storage/log/heads.ts';
import { earlierHash, revisionHash } from '../storage/log/names.ts';
import type { RecordRow, TenantNo } from '../storage/rows.ts';
import { isoTime } from '../time.ts';

export { type RecordKind, type RecordOutcome, recordKinds, recordOutcomes } from '../storage/log/heads.ts';

/** An entry of a log is length-prefixed by a uint16 in the tiles to come (C2SP tlog-tiles), so no longer than that. */
export const MAX_RECORD_BYTES = 65_535;

/** What makes a record; `members` are further JSON members, as text without braces. */
export interface RecordDraft {
  readonly tenantNo: TenantNo;
  readonly time: number;
  readonly kind: RecordKind;
  readonly outcome: RecordOutcome;
  readonly decisionId: string;
  readonly caller: string;
  readonly subject: NamedRef | undefined;
  readonly actor: NamedRef | undefined;
  /** What finds it beside its principals; read from the input where it is left out. */
  readonly named?: Named | undefined;
  readonly grantId?: string | undefined;
  /** The code of the first reason. */
  readonly reason?: string | undefined;
  /** Of the policy that decided, as the members tell it. */
  readonly revision?: string | undefined;
  /** JSON members between the head and the input, each with a leading comma: `,"cost":12`. */
  readonly members: string;
  /** The policy input as JSON text, exactly as it was evaluated, or as much as was known: it replays. */
  readonly input: string;
}

/** Fixes a record's text. It is built by hand because its parts are JSON already and this runs for every decision. */
export function buildRecord(draft: RecordDraft): RecordRow {
  return {
    tenantNo: draft.tenantNo,
    time: draft.time,
    kind: draft.kind,
    outcome: draft.outcome,
    subject: principalHash(draft.subject),
    actor: principalHash(draft.actor),
    caller: shortHash(draft.caller),
    names: namesOf(draft),
    key: recordKey(draft.decisionId),
    body: bounded(draft),
  };
}

/** The record's text, however long. */
export const wholeRecord = (draft: RecordDraft): string =>
  `${headOf(draft)}${draft.members},"input":${draft.input}}`;

const headOf = ({ kind, time, decisionId, outcome, caller }: RecordDraft): string =>
  `{"v":1,"kind":"${kind}","time":"${isoTime(time)}","decision_id":"${decisionId}","outcome":"${outcome}","caller":${JSON.stringify(caller)}`;

/** What was done to what, and by whom: the current actor first. */
export interface Named {
  readonly action: string | undefined;
  readonly resource: { readonly type: string; readonly id: string } | undefined;
  readonly actors: readonly NamedRef[];
}

function namesOf({ named, grantId, reason, revision = '', input }: RecordDraft): NameHashes {
  const { action, resource, actors } = named ?? namedIn(input);
  return {
    resource: resource === undefined ? 0 : nameHash('resource', `${resource.type}:${resource.id}`),
    grant: grantId === undefined ? 0 : nameHash('grant', grantId),
    action: action === undefined ? 0 : shortHash(action),
    reason: reason === undefined ? 0 : shortHash(reason),
    earlier: earlierHash(actors),
    revision: revisionHash(revision),
  };
}

/** Of what is not asked thousands of times a second. */
function namedIn(input: string): Named {
  const { action, resource, actors } = JSON.parse(input) as {
    action?: { name?: unknown };
    resource?: { type?: unknown; id?: unknown };
    actors?: NamedRef[];
  };
  const { type, id } = resource ?? {};
  return {
    action: typeof action?.name === 'string' ? action.name : undefined,
    resource: typeof type === 'string' && typeof id === 'string' ? { type, id } : undefined,
    actors: actors ?? [],
  };
}

function bounded(draft: RecordDraft): string {
  const whole = wholeRecord(draft);
  if (whole.length * 3 <= MAX_RECORD_BYTES || Buffer.byteLength(whole) <= MAX_RECORD_BYTES) return whole;
  const { members, input, grantId, reason } = draft;
  const head = headOf(draft);
  // What is too long to keep is still bound: the digest proves which input was decided on.
  const digest = createHash('sha256').update(input).digest('hex');
  const { subject, target, actors, action, resource } = JSON.parse(input) as Record<string, unknown>;
  const named = JSON.stringify({
    subject: subject === null ? null : nameOf(subject),
    ...(target === undefined ? {} : { target: target === null ? null : nameOf(target) }),
    actors: Array.isArray(actors) ? actors.map(nameOf) : [],
    action: clipped(action),
    resource: clipped(resource),
  });
  const summary = `,"input_sha256":"${digest}","input_bytes":${Buffer.byteLength(input)},"input_kept":${named}}`;
  const short = `${head}${members}${summary}`;
  if (Buffer.byteLength(short) <= MAX_RECORD_BYTES) return short;
  const membersDigest = createHash('sha256').update(members).digest('hex');
  const found = `${grantId === undefined ? '' : `,"grant_id":${JSON.stringify(grantId)}`}${reason === undefined ? '' : `,"reasons":${JSON.stringify([{ code: reason, message: '' }])}`}`;
  return `${head},"members_sha256":"${membersDigest}"${found}${summary}`;
}

const nameOf = (value: unknown): unknown => {
  const { class: cls, id } = (value ?? {}) as { class?: unknown; id?: unknown };
  return { class: cls, id };
};

const clipped = (value: unknown): unknown => {
  const { name, type, id } = (value ?? {}) as { name?: unknown; type?: unknown; id?: unknown };
  return { name, type, id };
};
