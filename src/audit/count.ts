import { setImmediate as turn } from 'node:timers/promises';
import { ServiceError } from '../errors.ts';
import type { Position } from '../storage/log/records.ts';
import type { TenantNo } from '../storage/rows.ts';
import { type AuditQuery, type LogSource, narrowed, positionOf, reading, tokenOf } from './query.ts';
import type { AuditRecord } from './read.ts';

/** By what records are counted: the name of a record's group, empty where it has none. */
const groupings = {
  outcome: ({ outcome }) => outcome,
  reason: ({ reasons }) => reasons[0]?.code ?? '',
  action: ({ action }) => action,
  kind: ({ kind }) => kind,
  principal: ({ actors: [actor], subject }) => nameOf(actor ?? subject),
  caller: ({ caller }) => caller,
  resource_type: ({ resource: { type } }) => type,
} as const satisfies Record<string, (record: AuditRecord) => string>;

export type CountBy = keyof typeof groupings;
export const countings = Object.keys(groupings) as readonly CountBy[];

const nameOf = (one: { class: string; id: string } | undefined): string =>
  one ? `${one.class}:${one.id}` : '';

/** How many groups one answer has at most: the next begins with the record after the one that made the last. */
export const MOST_GROUPS = 1_000;

/** How long one answer is worked at, in slices of what a search does at a time; others have their turn between them. */
const ANSWER_MS = 200;

export interface Counted {
  readonly count: number;
  readonly groups: ReadonlyMap<string, number>;
  /** Empty at the end. */
  readonly nextPageToken: string;
  /** How many records of the log are still to be looked at. */
  readonly left: number;
}

/**
 * Counts records, and says where to go on if there are more than can be looked at in one answer. What several answers
 * count they count apart: each record once. Throws `invalid_request`.
 */
export async function countRecords(
  source: LogSource,
  tenantNo: TenantNo,
  query: Omit<AuditQuery, 'pageSize'>,
  by: CountBy | undefined,
  signal: AbortSignal,
): Promise<Counted> {
  const tally = new Tally();
  const size = source.records.size(tenantNo);
  let next: Position | undefined = positionOf(query, () => size);
  const slice = slicing(source, tenantNo, query, by, tally);
  for (const end = performance.now() + ANSWER_MS; next && !tally.isFull && performance.now() < end; ) {
    if (signal.aborted) throw new ServiceError('deadline_exceeded', 'nobody waits for the count any more');
    next = slice(next);
    await turn();
  }
  const { count, groups } = tally;
  return { count, groups, nextPageToken: tokenOf(next), left: leftFrom(next, size) };
}

const leftFrom = (next: Position | undefined, size: number): number => {
  if (!next) return 0;
  return next.order === 'newest' ? next.at : Math.max(0, size - next.at);
};

/** Counts from a position on, as far as one search goes. */
function slicing(
  source: LogSource,
  tenantNo: TenantNo,
  query: Omit<AuditQuery, 'pageSize'>,
  by: CountBy | undefined,
  tally: Tally,
): (from: Position) => Position | undefined {
  const { records } = source;
  const filter = narrowed(query);
  if (isInHeads(query) && (by === undefined || by === 'outcome' || by === 'kind'))
    return (from) => records.survey(tenantNo, filter, from, (head) => tally.add(by && head[by]));
  const read = reading(source, tenantNo, query);
  const grouping = by && groupings[by];
  const count = (record: AuditRecord | undefined): true | undefined => {
    if (record) tally.add(grouping?.(record));
    return tally.isFull ? true : undefined;
  };
  // The first that it finds ends it: nothing is kept of those that are counted.
  return (from) => records.search(tenantNo, filter, from, 1, (stored) => count(read(stored))).next;
}

/** Whether heads alone, which are exact of times, outcomes and kinds, tell what is meant. */
const isInHeads = ({
  isOldestFirst: _order,
  pageToken: _token,
  since: _since,
  until: _until,
  outcome: _outcome,
  kind: _kind,
  context = [],
  ...names
}: Omit<AuditQuery, 'pageSize'>): boolean =>
  context.length === 0 && Object.values(names).every((name) => name === undefined);

class Tally {
  count = 0;
  readonly groups = new Map<string, number>();

  /** `group`: undefined where all are counted together. */
  add(group: string | undefined): void {
    this.count += 1;
    if (group !== undefined) this.groups.set(group, (this.groups.get(group) ?? 0) + 1);
  }

  get isFull(): boolean {
    return this.groups.size >= MOST_GROUPS;
  }
}
