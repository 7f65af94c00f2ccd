import type { NamedRef } from '../../ids.ts';
import type { GrantRow } from '../../storage/rows.ts';
import type { UsageCount } from '../../storage/usage.ts';
import type { Meter, Meters } from '../../tenancy/meters-declared.ts';
import { inMillionths } from './amount.ts';
import { AFTER_END_MS } from './counted-for.ts';
import { beginning, endOfSpan } from './counter.ts';

/** A record of a decision, as far as it says what was counted and for whom. */
interface CountingRecord {
  readonly kind?: string;
  readonly outcome?: string;
  readonly time?: string;
  readonly counted?: Readonly<Record<string, unknown>>;
  readonly input?: {
    readonly subject?: NamedRef | null;
    readonly actors?: readonly NamedRef[];
    readonly grant?: {
      readonly id?: string;
      readonly expires_at?: string;
      readonly task?: { readonly id?: string; readonly ends_at?: string };
    } | null;
  };
}

/** What a record counted, of the meters that are asked for; undefined where it does not tell for whom. */
export function countsIn(
  parsed: unknown,
  meters: Meters,
  chainOf: (grantId: string) => readonly GrantRow[],
): UsageCount[] | undefined {
  const record = parsed as CountingRecord;
  if (record.kind !== 'decision' || record.outcome !== 'allow' || !record.counted) return [];
  const at = Date.parse(record.time ?? '');
  const counts: UsageCount[] = [];
  for (const [name, value] of Object.entries(record.counted)) {
    const meter = Object.hasOwn(meters, name) ? meters[name] : undefined;
    if (!meter) continue;
    const amount = inMillionths(value);
    const all = amount === undefined ? undefined : countedFor(record, meter, chainOf);
    if (amount === undefined || !all || Number.isNaN(at)) return undefined;
    const since = beginning(at, meter.window);
    for (const { of, ends } of all) {
      const until = meter.window === undefined ? ends : endOfSpan(since, meter.window);
      counts.push({ meter: name, of, since, amount, until });
    }
  }
  return counts;
}

interface CountedFor {
  readonly of: string;
  readonly ends: number | null;
}

const nameOf = ({ class: cls, id }: NamedRef): string => `${cls}:${id}`;

/** As `Meters` counted it. */
function countedFor(
  { input = {} }: CountingRecord,
  { per }: Meter,
  chainOf: (grantId: string) => readonly GrantRow[],
): CountedFor[] | undefined {
  const { subject, actors = [], grant } = input;
  const acting = actors[0] ?? subject;
  switch (per) {
    case 'subject':
      return subject ? [{ of: `subject ${nameOf(subject)}`, ends: null }] : undefined;
    case 'actor':
      return acting ? [{ of: `actor ${nameOf(acting)}`, ends: null }] : undefined;
    case 'task': {
      const ends = Date.parse(grant?.task?.ends_at ?? '');
      const id = grant?.task?.id;
      return id === undefined || Number.isNaN(ends)
        ? undefined
        : [{ of: `task ${id}`, ends: ends + AFTER_END_MS }];
    }
    case 'grant':
      return grant?.id === undefined ? undefined : ofChain(grant.id, grant.expires_at ?? '', chainOf);
  }
}

/** Grants are kept for longer than their counts: of one that is gone nobody asks any more. */
function ofChain(
  id: string,
  expiresAt: string,
  chainOf: (grantId: string) => readonly GrantRow[],
): CountedFor[] | undefined {
  const chain = chainOf(id);
  if (chain.length > 0)
    return chain.map((each) => ({ of: `grant ${each.id}`, ends: each.expiresAt + AFTER_END_MS }));
  const ended = Date.parse(expiresAt);
  return Number.isNaN(ended) ? undefined : [{ of: `grant ${id}`, ends: ended + AFTER_END_MS }];
}

/** Counts that are the same row of the store, summed. */
export class Sums {
  readonly #rows = new Map<string, UsageCount>();

  add(count: UsageCount): void {
    const name = rowName(count);
    const before = this.#rows.get(name);
    this.#rows.set(name, before ? { ...count, amount: before.amount + count.amount } : count);
  }

  get size(): number {
    return this.#rows.size;
  }

  /** What the log says and the store does not, and the other way round; of what is over at `now` nothing. In order. */
  differences(stored: readonly UsageCount[], now: number): Difference[] {
    const left = new Map(this.#rows);
    const found: Difference[] = [];
    const differs = (row: UsageCount, counted: number, recorded: number): void => {
      const { meter, of, since, until } = row;
      if (counted === recorded || (until !== null && until < now)) return;
      found.push({ meter, of, since, until, counted, recorded });
    };
    for (const row of stored) {
      const name = rowName(row);
      differs(row, row.amount, left.get(name)?.amount ?? 0);
      left.delete(name);
    }
    for (const row of left.values()) differs(row, 0, row.amount);
    return found.toSorted((a, b) => (rowName(a) < rowName(b) ? -1 : 1));
  }
}

/** Where the store and the log say different things. Amounts in millionths. */
export interface Difference extends Omit<UsageCount, 'amount' | 'seen'> {
  readonly counted: number;
  readonly recorded: number;
}

const rowName = ({ meter, of, since }: Pick<UsageCount, 'meter' | 'of' | 'since'>): string =>
  JSON.stringify([meter, of, since]);
