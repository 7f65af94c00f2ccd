import { readParsed } from '../../audit/read.ts';
import { wholeIn } from '../../audit/whole.ts';
import type { PrincipalClass } from '../../ids.ts';
import type { PartStore } from '../../storage/log/parts.ts';
import type { RecordStore, StoredRecord } from '../../storage/log/records.ts';
import type { TenantNo } from '../../storage/rows.ts';
import { type Decided, decide, type Policy } from '../decide.ts';
import { changeOf, entryPointOf, isPlatforms, type RecordedDecision } from './change.ts';
import type { Tally } from './tally.ts';

/** Which records of a tenant are replayed. */
export interface Selection {
  readonly tenantNo: TenantNo;
  /** Indexes, the second exclusive. */
  readonly from: number;
  readonly to: number;
  /** Milliseconds since the epoch; the second exclusive. */
  readonly since: number;
  readonly until: number;
  /** Of who acts; undefined: of any. */
  readonly principalClass: PrincipalClass | undefined;
}

export interface ReplayParts {
  readonly records: RecordStore;
  readonly parts: PartStore;
  readonly candidate: Policy;
  /** What is active; undefined where nothing is. */
  readonly base: Policy | undefined;
}

const CHUNK = 500;

/** Replays what was decided, a chunk at a time: after each it says how many records it has passed. */
export function* replay(
  { records, parts, candidate, base }: ReplayParts,
  selection: Selection,
  tally: Tally,
): Generator<number> {
  const { tenantNo: no, from, to } = selection;
  // Several records of a batch have them in common.
  const found = new Map<string, string | undefined>();
  const partOf = (digest: string): string | undefined => {
    if (!found.has(digest)) found.set(digest, parts.find(no, digest));
    return found.get(digest);
  };
  for (let at = from; at < to; ) {
    const { records: chunk, next } = records.read(no, at, Math.min(CHUNK, to - at));
    for (const stored of chunk) if (stored.index < to) one(stored);
    if (found.size > CHUNK) found.clear();
    yield Math.min(next, to) - at;
    if (next <= at) return;
    at = next;
  }

  function one(stored: StoredRecord): void {
    const parsed = JSON.parse(utf8.decode(stored.body)) as { challenge?: unknown };
    const record = readParsed(stored, parsed);
    if (record.time < selection.since || record.time >= selection.until) return;
    const acting = (record.actors[0] ?? record.subject)?.class;
    if (selection.principalClass !== undefined && selection.principalClass !== acting) return;
    const recorded: RecordedDecision = { ...record, challenge: parsed.challenge };
    const entryPoint = entryPointOf(recorded);
    if (entryPoint === undefined) {
      if (record.kind === 'decision' || record.kind === 'exchange') tally.counts.unasked += 1;
      return;
    }
    const value = wholeIn(parsed, partOf);
    if (!value) {
      tally.counts.partial += 1;
      return;
    }
    if (!isPlatforms(value)) {
      tally.counts.unasked += 1;
      return;
    }
    const input = { json: JSON.stringify(value), value };
    const context = { nowMs: record.time, seed: record.decisionId };
    const isBase = base?.revision === record.revision;
    const before: Decided | undefined = isBase ? decide(base, entryPoint, input, context) : undefined;
    tally.counts.replayed += 1;
    if (before && before.outcome !== record.outcome) tally.counts.drifted += 1;
    const decided = decide(candidate, entryPoint, input, context);
    if (decided.rules.includes('mandate.engine')) tally.counts.failed += 1;
    const change = changeOf(recorded, decided, before);
    if (change) tally.change(record, value, change);
  }
}

const utf8 = new TextDecoder();
