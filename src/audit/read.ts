import { ServiceError } from '../errors.ts';
import { type NamedRef, namedIn } from '../ids.ts';
import { reportFault } from '../storage/faults.ts';
import { damagedRecords } from '../storage/log/damage.ts';
import { nameHash, recordKey, shortHash } from '../storage/log/heads.ts';
import type { RecordFilter, RecordStore, StoredRecord } from '../storage/log/records.ts';
import type { TenantNo } from '../storage/rows.ts';

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
  readonly reasons: readonly { code: string; message: string }[];
  readonly revision: string;
  readonly decisionId: string;
  readonly grantId: string;
  readonly caller: string;
  readonly cost: number;
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
  reasons?: { code: string; message: string }[];
  grant_id?: string;
  input?: Input;
  input_kept?: Input;
}

interface Input {
  subject?: NamedRef | null;
  actors?: NamedRef[];
  target?: NamedRef | null;
  action?: { name?: string };
  resource?: { type?: string; id?: string };
}

const utf8 = new TextDecoder();

export function readRecord({ index, body }: StoredRecord): AuditRecord {
  const parsed = JSON.parse(utf8.decode(body)) as Body;
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
    caller: parsed.caller,
    cost: parsed.cost ?? 0,
    body,
  };
}

/** Those that can be read. What a store of an older version holds has no checksum, and may be no JSON any more. */
export function readRecords(tenantNo: TenantNo, stored: readonly StoredRecord[]): AuditRecord[] {
  return stored.flatMap((each) => {
    try {
      return [readRecord(each)];
    } catch {
      reportFault(damagedRecords(tenantNo, each.index, each.index + 1));
      return [];
    }
  });
}

export interface AuditQuery extends RecordFilter {
  readonly decisionId?: string | undefined;
  /** As records name them. */
  readonly callerId?: string | undefined;
  /** `type:id`. */
  readonly resourceName?: string | undefined;
  readonly grantId?: string | undefined;
  readonly actionName?: string | undefined;
  /** The code of the first reason. */
  readonly reasonCode?: string | undefined;
  readonly pageSize: number;
  readonly pageToken: string;
}

export interface AuditPage {
  readonly records: readonly AuditRecord[];
  readonly nextPageToken: string;
}

/** A page of a tenant's log, newest first. Throws `invalid_request`. */
export function queryRecords(store: RecordStore, tenantNo: TenantNo, query: AuditQuery): AuditPage {
  const filter: RecordFilter = {
    since: query.since,
    until: query.until,
    principal: query.principal,
    outcome: query.outcome,
    kind: query.kind,
    caller: hashed(query.callerId, shortHash),
    resource: hashed(query.resourceName, (name) => nameHash('resource', name)),
    grant: hashed(query.grantId, (name) => nameHash('grant', name)),
    action: hashed(query.actionName, shortHash),
    reason: hashed(query.reasonCode, shortHash),
    ...(query.decisionId === undefined ? {} : momentOf(query.decisionId)),
  };
  const below = query.pageToken === '' ? store.size(tenantNo) : positionIn(query.pageToken);
  const page = store.search(tenantNo, filter, below, query.pageSize);
  const { decisionId, principal, callerId, resourceName, grantId, actionName, reasonCode } = query;
  const records = readRecords(tenantNo, page.records)
    .filter((each) => decisionId === undefined || each.decisionId === decisionId)
    // The store finds names by their hash.
    .filter((each) => callerId === undefined || each.caller === callerId)
    .filter(({ resource: { type, id } }) => resourceName === undefined || `${type}:${id}` === resourceName)
    .filter((each) => grantId === undefined || each.grantId === grantId)
    .filter((each) => actionName === undefined || each.action === actionName)
    .filter((each) => reasonCode === undefined || each.reasons[0]?.code === reasonCode)
    .filter((each) => principal === undefined || names(each, principal));
  return {
    records,
    nextPageToken: page.below > 0 ? String(page.below) : '',
  };
}

const hashed = (name: string | undefined, hash: (name: string) => number): number | undefined =>
  name === undefined ? undefined : hash(name);

const names = ({ subject, actors, target }: AuditRecord, principal: NamedRef): boolean =>
  [subject, actors[0], target].some((each) => each?.class === principal.class && each.id === principal.id);

/** A UUIDv7 begins with its millisecond, so a decision is found by when it was taken. */
function momentOf(decisionId: string): { since: number; until: number; key: number } {
  if (!/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}$/.test(decisionId))
    throw new ServiceError('invalid_request', 'decision_id is not the id of a decision');
  const key = recordKey(decisionId);
  const time = Number.parseInt(decisionId.slice(0, 8) + decisionId.slice(9, 13), 16);
  return { since: time, until: time + 1, key };
}

function positionIn(token: string): number {
  if (!/^[1-9][0-9]{0,11}$/.test(token))
    throw new ServiceError('invalid_request', 'page_token is not one of this log');
  return Number(token);
}
