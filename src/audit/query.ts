import { ServiceError } from '../errors.ts';
import { type NamedRef, timeIn } from '../ids.ts';
import { nameHash, recordKey, shortHash } from '../storage/log/heads.ts';
import { revisionHash } from '../storage/log/names.ts';
import type { Position, RecordFilter, RecordStore, StoredRecord } from '../storage/log/records.ts';
import type { TenantNo } from '../storage/rows.ts';
import { type ContextMember, contextTest } from './context.ts';
import { type AuditRecord, readIfSound } from './read.ts';

/** Which records are meant: all that is given must be so. */
export interface AuditFilter {
  /** Milliseconds since the epoch, inclusive. */
  readonly since?: number | undefined;
  /** Exclusive. */
  readonly until?: number | undefined;
  /** As subject, as any actor or as target. */
  readonly principal?: NamedRef | undefined;
  readonly outcome?: string | undefined;
  readonly kind?: string | undefined;
  readonly decisionId?: string | undefined;
  /** As records name them. */
  readonly callerId?: string | undefined;
  /** `type:id`. */
  readonly resourceName?: string | undefined;
  readonly grantId?: string | undefined;
  readonly taskId?: string | undefined;
  readonly actionName?: string | undefined;
  /** The code of the first reason. */
  readonly reasonCode?: string | undefined;
  /** The hash of the revision that decided. */
  readonly revision?: string | undefined;
  readonly context?: readonly ContextMember[] | undefined;
}

export interface AuditQuery extends AuditFilter {
  readonly isOldestFirst?: boolean | undefined;
  readonly pageSize: number;
  readonly pageToken: string;
}

export interface AuditPage {
  readonly records: readonly AuditRecord[];
  readonly nextPageToken: string;
}

/** Where records are read from. */
export interface LogSource {
  readonly records: RecordStore;
  /** What stands beside a tenant's records, by its SHA-256, as JSON text. */
  readonly partOf: (tenantNo: TenantNo, digest: string) => string | undefined;
}

/** A page of a tenant's log. Throws `invalid_request`. */
export function queryRecords(source: LogSource, tenantNo: TenantNo, query: AuditQuery): AuditPage {
  const { records } = source;
  const read = reading(source, tenantNo, query);
  const from = positionOf(query, () => records.size(tenantNo));
  const { found, next } = records.search(tenantNo, narrowed(query), from, query.pageSize, read);
  return { records: found, nextPageToken: tokenOf(next) };
}

/** What the store is to look for. It finds names by their hashes: whether a record is meant, `reading` tells. */
export const narrowed = (filter: AuditFilter): RecordFilter => ({
  since: filter.since,
  until: filter.until,
  principal: filter.principal,
  outcome: filter.outcome,
  kind: filter.kind,
  // Who looks for what was done is not shown each time that somebody looked.
  without: filter.kind === undefined && filter.decisionId === undefined ? 'read' : undefined,
  caller: hashed(filter.callerId, shortHash),
  resource: hashed(filter.resourceName, (name) => nameHash('resource', name)),
  grant: hashed(filter.grantId, (name) => nameHash('grant', name)),
  action: hashed(filter.actionName, shortHash),
  reason: hashed(filter.reasonCode, shortHash),
  revision: hashed(filter.revision, revisionHash),
  ...(filter.decisionId === undefined ? {} : momentOf(filter.decisionId)),
});

const hashed = (name: string | undefined, hash: (name: string) => number): number | undefined =>
  name === undefined ? undefined : hash(name);

/** Reads a record, if it is one that is meant. Throws `invalid_request`. */
export function reading(
  { partOf }: Pick<LogSource, 'partOf'>,
  tenantNo: TenantNo,
  filter: AuditFilter,
): (stored: StoredRecord) => AuditRecord | undefined {
  const isInContext = contextTest(filter.context ?? [], (digest) => partOf(tenantNo, digest));
  return (stored) => {
    const record = readIfSound(tenantNo, stored);
    return record && isNamed(record, filter) && isInContext(record) ? record : undefined;
  };
}

function isNamed(record: AuditRecord, filter: AuditFilter): boolean {
  const { resource, reasons } = record;
  const pairs: readonly (readonly [string | undefined, string | undefined])[] = [
    [filter.decisionId, record.decisionId],
    [filter.callerId, record.caller],
    [filter.resourceName, `${resource.type}:${resource.id}`],
    [filter.grantId, record.grantId],
    [filter.actionName, record.action],
    [filter.reasonCode, reasons[0]?.code],
    [filter.revision, record.revision],
  ];
  return (
    pairs.every(([wanted, found]) => wanted === undefined || wanted === found) &&
    (filter.taskId === undefined || isOfTask(record, filter.taskId)) &&
    (filter.principal === undefined || isIn(record, filter.principal))
  );
}

/** What revokes or kills a task names it as what it is about. */
const isOfTask = ({ taskId, grantId, resource }: AuditRecord, id: string): boolean =>
  [taskId, grantId, resource.id].includes(id);

const isIn = ({ subject, actors, target }: AuditRecord, principal: NamedRef): boolean =>
  [subject, ...actors, target].some((each) => each?.class === principal.class && each.id === principal.id);

/** A UUIDv7 begins with its millisecond, so a decision is found by when it was taken. */
function momentOf(decisionId: string): { since: number; until: number; key: number } {
  if (!/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}$/.test(decisionId))
    throw new ServiceError('invalid_request', 'decision_id is not the id of a decision');
  const key = recordKey(decisionId);
  const time = timeIn(decisionId);
  return { since: time, until: time + 1, key };
}

/** Newest first a page token is the index below which to go on; oldest first `+` and the index to go on with. */
export function positionOf(
  { isOldestFirst, pageToken }: Pick<AuditQuery, 'isOldestFirst' | 'pageToken'>,
  size: () => number,
): Position {
  const order = isOldestFirst ? 'oldest' : 'newest';
  if (pageToken === '') return { order, at: order === 'oldest' ? 0 : size() };
  const [, sign = '', at = ''] = /^(\+?)([1-9][0-9]{0,11})$/.exec(pageToken) ?? [];
  if (at === '') throw new ServiceError('invalid_request', 'page_token is not one of this log');
  if ((sign === '+') !== (order === 'oldest'))
    throw new ServiceError('invalid_request', 'page_token is one of the other order');
  return { order, at: Number(at) };
}

export const tokenOf = (next: Position | undefined): string =>
  next === undefined ? '' : `${next.order === 'oldest' ? '+' : ''}${next.at}`;
