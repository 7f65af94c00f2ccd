import { setImmediate as turn } from 'node:timers/promises';
import { ServiceError } from '../errors.ts';
import type { Position } from '../storage/log/records.ts';
import type { TenantNo } from '../storage/rows.ts';
import { type CountBy, type Counted, countRecords } from './count.ts';
import type { NodeLog } from './logs.ts';
import { type AuditQuery, type LogSource, narrowed, queryRecords, reading } from './query.ts';
import type { AuditRecord } from './read.ts';

/** A record, and whose log it is of. */
export interface FoundRecord {
  readonly log: NodeLog;
  readonly record: AuditRecord;
}

export interface PageAcross {
  readonly found: readonly FoundRecord[];
  readonly nextPageToken: string;
}

/** Of how many logs one query, or one tail, is at most: its page token, or cursor, names a place in each. */
export const MOST_LOGS = 1_000;
/** How long one answer is worked at; others have their turn between the searches. */
const ANSWER_MS = 200;
/** How many records of one log are looked for at a time. */
const MOST_AHEAD = 64;
const LEAST_AHEAD = 4;

/** One log on its way through a query. */
interface Strand {
  readonly log: NodeLog;
  /** Where the search goes on, behind what was found; undefined at the end. */
  next: Position | undefined;
  /** What was found and has not been answered yet. */
  readonly found: AuditRecord[];
  /** Where a log without anything more ended, at least. */
  end: number;
}

/**
 * A page over several logs of one tenant: of each in its own order, between them by the time that the records say, and where
 * that is the same in the order of the logs. Throws `invalid_request`.
 */
export async function queryAcross(
  source: LogSource,
  logs: readonly NodeLog[],
  query: AuditQuery,
): Promise<PageAcross> {
  const [only, ...more] = logs;
  // One log has tokens of its own, as ever.
  if (only && more.length === 0) {
    const { records, nextPageToken } = queryRecords(source, only.no, query);
    return { found: records.map((record) => ({ log: only, record })), nextPageToken };
  }
  const strands = strandsOf(source, logs, query);
  const found: FoundRecord[] = [];
  const until = performance.now() + ANSWER_MS;
  while (found.length < query.pageSize) {
    const isWhole = await lookAhead(source, strands, query, until);
    if (!isWhole) break;
    const first = firstOf(strands, query.isOldestFirst === true);
    const record = first?.found.shift();
    if (!first || !record) break;
    if (query.isOldestFirst) first.end = Math.max(first.end, record.index + 1);
    found.push({ log: first.log, record });
  }
  return { found, nextPageToken: tokenOf(strands, query) };
}

/** Finds the next record of each log that has one. Answers whether there was time for all of them. */
async function lookAhead(
  source: LogSource,
  strands: readonly Strand[],
  query: AuditQuery,
  until: number,
): Promise<boolean> {
  const filter = narrowed(query);
  const ahead = Math.ceil(query.pageSize / strands.length);
  const limit = Math.min(query.pageSize, MOST_AHEAD, Math.max(LEAST_AHEAD, ahead));
  for (const strand of strands) {
    const { no } = strand.log;
    while (strand.found.length === 0 && strand.next) {
      if (performance.now() >= until) return false;
      const { found, next } = source.records.search(
        no,
        filter,
        strand.next,
        limit,
        reading(source, no, query),
      );
      strand.found.push(...found);
      strand.next = next;
      await turn();
    }
  }
  return true;
}

/** The log whose next record is the newest, or the oldest. */
function firstOf(strands: readonly Strand[], isOldestFirst: boolean): Strand | undefined {
  let best: Strand | undefined;
  for (const strand of strands) {
    const [time, than] = [strand.found[0]?.time, best?.found[0]?.time];
    if (time === undefined) continue;
    if (than === undefined || (isOldestFirst ? time < than : time > than)) best = strand;
  }
  return best;
}

/** Throws `invalid_request`. */
export function checkCount({ length }: readonly NodeLog[], what: string): void {
  if (length > MOST_LOGS)
    throw new ServiceError(
      'invalid_request',
      `the tenant has ${length} logs here, and ${what} is over ${MOST_LOGS} at most: name a node`,
    );
}

/**
 * A token is `o` or `n` for the order, and a place in each log: its number and where to go on. A log that is new since is
 * read oldest first, and newest first it is not seen.
 */
function strandsOf(source: LogSource, logs: readonly NodeLog[], query: AuditQuery): Strand[] {
  checkCount(logs, 'a query');
  const order = query.isOldestFirst ? 'oldest' : 'newest';
  const places = query.pageToken === '' ? undefined : placesIn(query.pageToken, order, logs);
  return logs.flatMap((log): Strand[] => {
    const size = source.records.size(log.no);
    if (places && !places.has(log.no) && order === 'newest') return [];
    const at = places?.get(log.no) ?? (order === 'oldest' ? 0 : size);
    // Newest first nothing is below the beginning.
    const next = order === 'newest' && at === 0 ? undefined : { order, at };
    return [
      {
        log,
        next: next as Position | undefined,
        found: [],
        end: order === 'oldest' ? Math.max(at, size) : 0,
      },
    ];
  });
}

function tokenOf(strands: readonly Strand[], query: AuditQuery): string {
  if (strands.every(({ found, next }) => found.length === 0 && !next)) return '';
  const places = strands.map(({ log, found: [first], next, end }) => {
    const before = first && first.index + (query.isOldestFirst ? 0 : 1);
    return `${log.no.toString(36)}:${(before ?? next?.at ?? end).toString(36)}`;
  });
  return `${query.isOldestFirst ? 'o' : 'n'}.${places.join('.')}`;
}

/** Throws `invalid_request`: of another tenant's logs nothing is told. */
function placesIn(
  token: string,
  order: 'oldest' | 'newest',
  logs: readonly NodeLog[],
): ReadonlyMap<TenantNo, number> {
  const [sign, ...pairs] = token.split('.');
  if ((sign === 'o' ? 'oldest' : sign === 'n' ? 'newest' : '') !== order || pairs.length > MOST_LOGS)
    throw new ServiceError('invalid_request', 'page_token is not one of this query');
  const known = new Map(logs.map(({ no }) => [no.toString(36), no]));
  const places = new Map<TenantNo, number>();
  for (const pair of pairs) {
    const [, name = '', at = ''] = /^([0-9a-z]{1,4}):(0|[1-9a-z][0-9a-z]{0,6})$/.exec(pair) ?? [];
    const no = known.get(name);
    if (no === undefined || places.has(no))
      throw new ServiceError('invalid_request', 'page_token is not one of this query');
    places.set(no, Number.parseInt(at, 36));
  }
  return places;
}

/** Counts over several logs, one of them an answer. Throws `invalid_request`. */
export async function countAcross(
  source: LogSource,
  logs: readonly NodeLog[],
  query: Omit<AuditQuery, 'pageSize'>,
  by: CountBy | undefined,
  signal: AbortSignal,
): Promise<Counted> {
  const [only, ...more] = logs;
  if (only && more.length === 0) return countRecords(source, only.no, query, by, signal);
  const [, name = '', pageToken = ''] = /^([0-9a-z]{1,4})\.(.*)$/.exec(query.pageToken) ?? [];
  const at = query.pageToken === '' ? 0 : logs.findIndex(({ no }) => no.toString(36) === name);
  const log = logs[at];
  if (!log) throw new ServiceError('invalid_request', 'page_token is not one of this query');
  const counted = await countRecords(source, log.no, { ...query, pageToken }, by, signal);
  const rest = logs.slice(at + 1);
  const [next] = rest;
  const left = rest.reduce((sum, { no }) => sum + source.records.size(no), counted.left);
  if (counted.nextPageToken !== '')
    return { ...counted, left, nextPageToken: `${name || log.no.toString(36)}.${counted.nextPageToken}` };
  return { ...counted, left, nextPageToken: next ? `${next.no.toString(36)}.` : '' };
}
