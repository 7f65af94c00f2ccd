import type { Clock, Random } from '../effects.ts';
import { namedIn, uuidv7 } from '../ids.ts';
import type { TenantNo } from '../storage/rows.ts';
import type { Writer } from '../storage/writer.ts';
import { isoTime } from '../time.ts';
import type { AuditQuery } from './query.ts';
import { buildRecord } from './record.ts';

/** What somebody read of a tenant's log. */
export interface LogRead {
  readonly tenantNo: TenantNo;
  readonly tenant: string;
  /** As records name callers. */
  readonly caller: string;
  /** By what means: audit.query, audit.tail, … */
  readonly operation: string;
  /** What was asked for, by name; nothing that was left out. */
  readonly filter: Readonly<Record<string, unknown>>;
  /** How many records that gave. */
  readonly records: number;
}

interface Seen {
  readonly read: LogRead;
  /** As JSON text: the first MOST_FILTERS that are not in a record yet. */
  readonly filters: Set<string>;
  filtersMore: number;
  calls: number;
  records: number;
  recordedAt: number;
}

/** A record each so long for a reader, means and members of a filter, of so many of a tenant; the rest share one. */
const EACH_MS = 60_000;
const MOST_OF_TENANT = 32;
/** How many are remembered over all. */
const MOST_SEEN = 10_000;
const OTHERS = 'others';
/** Of one record: so many filters, and so many characters of each name. */
const MOST_FILTERS = 8;
const MOST_CHARACTERS = 256;

/**
 * Who reads a tenant's log, in that log: the first time at once, and what follows within the minute together. Nobody
 * waits for it, and whoever reads on and on fills no log.
 */
export class Reads implements Disposable {
  readonly #writer: Writer;
  readonly #clock: Clock;
  readonly #monotonic: Clock;
  readonly #random: Random;
  readonly #seen = new Map<string, Seen>();
  readonly #placesOf = new Map<TenantNo, number>();
  #timer: NodeJS.Timeout | undefined;

  constructor(writer: Writer, clock: Clock, monotonic: Clock, random: Random) {
    this.#writer = writer;
    this.#clock = clock;
    this.#monotonic = monotonic;
    this.#random = random;
  }

  note(read: LogRead): void {
    const seen = this.#placeOf(read);
    const text = JSON.stringify(read.filter, clipped);
    if (seen.filters.size < MOST_FILTERS || seen.filters.has(text)) seen.filters.add(text);
    else seen.filtersMore += 1;
    seen.calls += 1;
    seen.records += read.records;
    if (this.#monotonic() - seen.recordedAt >= EACH_MS) this.#append(seen);
    this.#timer ??= setInterval(() => this.#sweep(), EACH_MS).unref();
  }

  #placeOf(read: LogRead): Seen {
    const { tenantNo: no, caller, operation, filter } = read;
    const key = JSON.stringify([no, caller, operation, ...Object.keys(filter)]);
    const known = this.#seen.get(key);
    if (known) return known;
    const places = this.#placesOf.get(no) ?? 0;
    const hasRoom = this.#seen.size < MOST_SEEN && places < MOST_OF_TENANT;
    if (hasRoom) this.#placesOf.set(no, places + 1);
    return hasRoom
      ? this.#put(key, read)
      : this.#others({ ...read, caller: OTHERS, operation: 'audit.read' });
  }

  #others(read: LogRead): Seen {
    const key = JSON.stringify([read.tenantNo, OTHERS]);
    return this.#seen.get(key) ?? this.#put(key, read);
  }

  #put(key: string, read: LogRead): Seen {
    const recordedAt = Number.NEGATIVE_INFINITY;
    const seen = { read, filters: new Set<string>(), filtersMore: 0, calls: 0, records: 0, recordedAt };
    this.#seen.set(key, seen);
    return seen;
  }

  /** What was counted since gets its record, and who has not come again is forgotten. */
  #sweep(): void {
    const before = [...this.#seen];
    this.#placesOf.clear();
    this.#seen.clear();
    for (const [key, seen] of before) {
      if (seen.calls === 0) continue;
      this.#append(seen);
      this.#seen.set(key, seen);
      const { tenantNo } = seen.read;
      this.#placesOf.set(tenantNo, (this.#placesOf.get(tenantNo) ?? 0) + 1);
    }
    if (this.#seen.size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  #append(seen: Seen): void {
    const { read, calls, records, filtersMore } = seen;
    const { tenantNo, tenant, caller, operation } = read;
    const filters = [...seen.filters].map((text) => JSON.parse(text) as unknown);
    Object.assign(seen, { calls: 0, records: 0, filtersMore: 0, recordedAt: this.#monotonic() });
    seen.filters.clear();
    const now = this.#clock();
    const by = namedIn(caller);
    const detail = { filters, ...(filtersMore > 0 ? { and_more: filtersMore } : {}), count: calls, records };
    const row = buildRecord({
      tenantNo,
      time: now,
      kind: 'read',
      outcome: 'done',
      decisionId: uuidv7(now, this.#random(10)),
      caller,
      subject: by,
      actor: undefined,
      members: `,"detail":${JSON.stringify(detail)}`,
      input: JSON.stringify({
        subject: by ?? null,
        action: { name: operation },
        resource: { type: 'log', id: tenant },
      }),
    });
    // Nobody waits for it; the store says itself when it cannot record, and then it is in the next.
    this.#writer.append(row).catch(() => {
      seen.calls += calls;
      seen.records += records;
    });
  }

  /** What was counted last is recorded. */
  [Symbol.dispose](): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
    for (const seen of this.#seen.values()) if (seen.calls > 0) this.#append(seen);
    this.#seen.clear();
  }
}

const clipped = (_name: string, value: unknown): unknown =>
  typeof value === 'string' && value.length > MOST_CHARACTERS ? `${value.slice(0, MOST_CHARACTERS)}…` : value;

/** A time that no date is stays the number that it is. */
const timeOf = (ms: number | undefined): string | number | undefined =>
  ms === undefined || Number.isNaN(new Date(ms).getTime()) ? ms : isoTime(ms);

/** A query's filter as its record names it. */
export function filterOf(query: Partial<AuditQuery>): Record<string, unknown> {
  const { since, until, principal, context = [] } = query;
  const named: Record<string, unknown> = {
    since: timeOf(since),
    until: timeOf(until),
    principal: principal && `${principal.class}:${principal.id}`,
    outcome: query.outcome,
    kind: query.kind,
    decision_id: query.decisionId,
    caller: query.callerId,
    resource: query.resourceName,
    action: query.actionName,
    reason: query.reasonCode,
    grant_id: query.grantId,
    task_id: query.taskId,
    revision: query.revision,
    // Not what it is to be: a tenant may have that sealed or masked.
    context: context.length === 0 ? undefined : context.map(({ path }) => path),
  };
  return Object.fromEntries(Object.entries(named).filter(([, value]) => value !== undefined));
}
