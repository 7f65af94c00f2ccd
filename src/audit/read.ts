import { type NamedRef, namedIn } from '../ids.ts';
import { reportFault } from '../storage/faults.ts';
import { damagedRecords } from '../storage/log/damage.ts';
import type { StoredRecord } from '../storage/log/records.ts';
import type { TenantNo } from '../storage/rows.ts';

interface RecordReason {
  readonly code: string;
  readonly message: string;
  readonly needed_scopes?: readonly string[];
}

/** A record as read back from its bytes. Members that a kind does not have are empty. */
export interface AuditRecord {
  readonly index: number;
  readonly time: number;
  readonly kind: string;
  readonly outcome: string;
  readonly subject: NamedRef | undefined;
  readonly actors: readonly NamedRef[];
  /** Of administration: whom it is about. */
  readonly target: NamedRef | undefined;
  readonly action: string;
  readonly resource: { readonly type: string; readonly id: string };
  readonly rules: readonly string[];
  readonly reasons: readonly RecordReason[];
  readonly revision: string;
  readonly decisionId: string;
  readonly grantId: string;
  /** Of the task that the grant is part of. */
  readonly taskId: string;
  readonly caller: string;
  readonly cost: number;
  /** What the question said of its circumstances, as far as it stands in the record, and the SHA-256 of one beside it. */
  readonly context: unknown;
  readonly contextSha256: string | undefined;
  readonly body: Uint8Array;
}

interface Body {
  time: string;
  kind: string;
  outcome: string;
  decision_id: string;
  caller: string;
  revision?: string;
  cost?: number;
  rules?: string[];
  reasons?: RecordReason[];
  grant_id?: string;
  input?: Input;
  input_kept?: Input;
  input_parts?: Record<string, string>;
}

interface Input {
  subject?: NamedRef | null;
  actors?: NamedRef[];
  target?: NamedRef | null;
  action?: { name?: string };
  resource?: { type?: string; id?: string };
  context?: unknown;
  grant?: { task?: { id?: string } } | null;
}

const utf8 = new TextDecoder();

export const readRecord = (stored: StoredRecord): AuditRecord =>
  readParsed(stored, JSON.parse(utf8.decode(stored.body)));

/** The same of a record whose bytes were parsed. */
export function readParsed({ index, body }: StoredRecord, record: unknown): AuditRecord {
  const parsed = record as Body;
  const input = parsed.input ?? parsed.input_kept ?? {};
  // Older versions named whom it is about as if they had done it.
  const isOlder = parsed.kind === 'administration' && input.target === undefined;
  const subject = isOlder ? namedIn(parsed.caller) : input.subject;
  const target = isOlder ? input.subject : input.target;
  return {
    index,
    time: Date.parse(parsed.time),
    kind: parsed.kind,
    outcome: parsed.outcome,
    subject: subject ? { class: subject.class, id: subject.id } : undefined,
    actors: (input.actors ?? []).map(({ class: cls, id }) => ({ class: cls, id })),
    target: target ? { class: target.class, id: target.id } : undefined,
    action: input.action?.name ?? '',
    resource: { type: input.resource?.type ?? '', id: input.resource?.id ?? '' },
    rules: parsed.rules ?? [],
    reasons: parsed.reasons ?? [],
    revision: parsed.revision ?? '',
    decisionId: parsed.decision_id,
    grantId: parsed.grant_id ?? '',
    taskId: input.grant?.task?.id ?? '',
    caller: parsed.caller,
    cost: parsed.cost ?? 0,
    context: input.context,
    contextSha256: parsed.input_parts?.['context'],
    body,
  };
}

/** Undefined where it cannot be read: what a store of an older version holds has no checksum, and may be no JSON any more. */
export function readIfSound(tenantNo: TenantNo, stored: StoredRecord): AuditRecord | undefined {
  try {
    return readRecord(stored);
  } catch {
    reportFault(damagedRecords(tenantNo, stored.index, stored.index + 1));
    return undefined;
  }
}

/** Those that can be read. */
export const readRecords = (tenantNo: TenantNo, stored: readonly StoredRecord[]): AuditRecord[] =>
  stored.flatMap((each) => readIfSound(tenantNo, each) ?? []);
