import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type AuditQuery, queryRecords } from '../../src/audit/read.ts';
import { recordKinds, recordOutcomes } from '../../src/audit/record.ts';
import type { NamedRef, PrincipalRef } from '../../src/ids.ts';
import type { Connection } from '../../src/storage/database.ts';
import { type RecordStore, recordStore } from '../../src/storage/log/records.ts';
import { openReader } from '../../src/storage/reader.ts';
import type { TenantNo } from '../../src/storage/rows.ts';
import type { Writer } from '../../src/storage/writer.ts';
import { appendRows, draftOf, openStore, rowOf, T0, temporaryFolder, tenantNo } from '../storage/store.ts';
import { tailRecords } from './tail.ts';

/** The log against a plain array that says the same. */

interface Entry {
  index: number;
  time: number;
  kind: (typeof recordKinds)[number];
  outcome: (typeof recordOutcomes)[number];
  subject: PrincipalRef;
  actor: PrincipalRef | undefined;
  decisionId: string;
  caller: string;
  action: string;
  resource: { type: string; id: string };
  grantId: string | undefined;
  reason: string | undefined;
}

const actions = ['read', 'write', 'share'];
const reasons = [undefined, 'not_allowed', 'archived'];
const resourceOf = (n: number) => ({ type: 'document', id: `d${n}` });

const callers = ['service:docs-api', 'service:mail', 'operator:ann'];

// More than one search looks at, so that pages end early and empty ones come.
const COUNT = 13_000;
const principals: PrincipalRef[] = [
  { class: 'user', id: 'alice' },
  { class: 'user', id: 'bob' },
  { class: 'agent', id: 'alice' },
  { class: 'agent', id: 'a|b' },
];

let place: { folder: string } & AsyncDisposable;
let writer: Writer;
let db: Connection;
let store: RecordStore;
let no: TenantNo;
let other: TenantNo;
const entries: Entry[] = [];

const pick = <T>(from: readonly T[], at: number): T => from[at % from.length] as T;

beforeAll(async () => {
  place = await temporaryFolder();
  writer = await openStore(place.folder);
  [no, other] = [await tenantNo(writer, 'acme'), await tenantNo(writer, 'globex')];
  const rows = Array.from({ length: COUNT }, (_, index) => {
    // Commits are not in the order of the times: off by up to twenty seconds. One principal is rare.
    const time = T0 + index * 40 + ((index * 7_919) % 20_000);
    const entry: Omit<Entry, 'decisionId'> = {
      index,
      time,
      kind: pick(recordKinds, index * 31 + (index >> 3)),
      outcome: pick(recordOutcomes, index * 17 + (index >> 2)),
      subject:
        index % 1_700 === 0 ? { class: 'user', id: 'rare' } : pick(principals, index * 13 + (index >> 4)),
      caller: pick(callers, index * 11 + (index >> 5)),
      actor: index % 3 === 0 ? pick(principals, index * 5 + 1) : undefined,
      action: pick(actions, index * 3 + (index >> 4)),
      resource: resourceOf((index * 31) % 900),
      grantId: index % 50 === 0 ? `grant-${index % 700}` : undefined,
      reason: pick(reasons, index * 7 + (index >> 3)),
    };
    const { subject, actor, action, resource, grantId, reason } = entry;
    const told = `,"reasons":${JSON.stringify(reason === undefined ? [] : [{ code: reason, message: '' }])}`;
    const draft = draftOf(no, {
      ...entry,
      members: told + (grantId === undefined ? '' : `,"grant_id":"${grantId}"`),
      input: JSON.stringify({ subject, actors: actor ? [actor] : [], action: { name: action }, resource }),
    });
    entries.push({ ...entry, decisionId: draft.decisionId });
    return { draft, entry };
  });
  await Promise.all([
    ...rows.map(({ draft }) => writer.append(rowOf(no, draft))),
    // The same principals in another tenant.
    ...rows.slice(0, 500).map(({ draft }) => writer.append(rowOf(other, { ...draft, tenantNo: other }))),
  ]);
  db = openReader(place.folder);
  store = recordStore(db);
});

afterAll(async () => {
  db.close();
  await writer[Symbol.asyncDispose]();
  await place[Symbol.asyncDispose]();
});

const sameAs = (one: NamedRef | undefined, two: NamedRef): boolean =>
  one?.class === two.class && one.id === two.id;

type Filter = Omit<AuditQuery, 'pageSize' | 'pageToken'>;

const expected = (filter: Filter): number[] =>
  entries
    .filter(
      (each) =>
        (filter.since === undefined || each.time >= filter.since) &&
        (filter.until === undefined || each.time < filter.until) &&
        (filter.kind === undefined || each.kind === filter.kind) &&
        (filter.outcome === undefined || each.outcome === filter.outcome) &&
        (filter.callerId === undefined || each.caller === filter.callerId) &&
        (filter.actionName === undefined || each.action === filter.actionName) &&
        (filter.reasonCode === undefined || each.reason === filter.reasonCode) &&
        (filter.grantId === undefined || each.grantId === filter.grantId) &&
        (filter.resourceName === undefined ||
          `${each.resource.type}:${each.resource.id}` === filter.resourceName) &&
        (filter.decisionId === undefined || each.decisionId === filter.decisionId) &&
        (filter.principal === undefined ||
          sameAs(each.subject, filter.principal) ||
          sameAs(each.actor, filter.principal)),
    )
    .map(({ index }) => index)
    .toReversed();

/** Every page of a query; throws if they do not end. */
function pages(filter: Filter, pageSize: number): number[] {
  const seen: number[] = [];
  let pageToken = '';
  for (let page = 0; page <= COUNT; page += 1) {
    const answer = queryRecords(store, no, { ...filter, pageSize, pageToken });
    expect(answer.records.length).toBeLessThanOrEqual(pageSize);
    seen.push(...answer.records.map(({ index }) => index));
    pageToken = answer.nextPageToken;
    if (pageToken === '') return seen;
  }
  throw new Error('the pages do not end');
}

const maybe = <T>(arbitrary: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> =>
  fc.option(arbitrary, { nil: undefined });
const rarely = <T>(arbitrary: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> =>
  fc.option(arbitrary, { nil: undefined, freq: 1 });
const moment = fc.integer({ min: T0 - 100_000, max: T0 + COUNT * 40 + 100_000 });

const anyFilter: fc.Arbitrary<Filter> = fc.record({
  since: maybe(moment),
  until: maybe(moment),
  kind: maybe(fc.constantFrom(...recordKinds)),
  outcome: maybe(fc.constantFrom(...recordOutcomes)),
  callerId: maybe(fc.constantFrom(...callers, 'service:nobody')),
  actionName: maybe(fc.constantFrom(...actions)),
  reasonCode: maybe(fc.constantFrom('not_allowed', 'archived', 'none')),
  grantId: rarely(fc.constantFrom('grant-0', 'grant-50', 'grant-none')),
  resourceName: rarely(fc.constantFrom('document:d0', 'document:d31', 'document:none')),
  principal: maybe(
    fc.constantFrom<PrincipalRef>(
      ...principals,
      { class: 'user', id: 'rare' },
      { class: 'user', id: 'nobody' },
    ),
  ),
});

describe('a query', () => {
  test('finds what a plain search of the log finds, newest first, page by page', () => {
    fc.assert(
      fc.property(anyFilter, fc.constantFrom(3, 100, 1_000), (filter, pageSize) => {
        const want = expected(filter);
        // Small pages only where there are few.
        expect(pages(filter, want.length > 300 ? 1_000 : pageSize)).toEqual(want);
      }),
      { numRuns: 150 },
    );
  });

  test('finds a decision by its id', () => {
    for (const { decisionId, index } of [entries[0], entries[1_234], entries[COUNT - 1]] as Entry[])
      expect(pages({ decisionId }, 100)).toEqual([index]);
    expect(pages({ decisionId: '019b75e0-0000-7000-8000-000000000000' }, 100)).toEqual([]);
  });

  test('sees no other tenant', () => {
    expect(store.size(no)).toBe(COUNT);
    expect(store.size(other)).toBe(500);
    const seen = queryRecords(store, other, { principal: principals[0], pageSize: 1_000, pageToken: '' });
    expect(seen.records.every(({ index }) => index < 500)).toBe(true);
  });

  test('refuses a page token and a decision id that it never gave', () => {
    for (const pageToken of ['0', '-1', 'x', '1.5', '1e9', ' 1', '9'.repeat(20)])
      expect(() => queryRecords(store, no, { pageSize: 1, pageToken })).toThrow(/page_token/);
    for (const decisionId of ['x', '../..', '019b75e0-0000-4000-8000-000000000000'])
      expect(() => queryRecords(store, no, { pageSize: 1, pageToken: '', decisionId })).toThrow(
        /decision_id/,
      );
  });
});

/** Its order is its index; what a clock said is only what is in the records. */
describe('a log whose clock was set', () => {
  const HOUR = 3_600_000;
  /** Forward and back, by little and by much, within segments and at their borders. */
  const times = Array.from({ length: 9_500 }, (_, at) => {
    const jumps = [0, -HOUR, 5 * HOUR, 0, -300 * HOUR];
    return T0 + at * 10 + (jumps[Math.floor(at / 1_900)] ?? 0);
  });
  let set: TenantNo;
  const ids: string[] = [];

  beforeAll(async () => {
    set = await tenantNo(writer, 'set-back');
    const drafts = times.map((time) => draftOf(set, { time }));
    ids.push(...drafts.map(({ decisionId }) => decisionId));
    for (let at = 0; at < drafts.length; at += 1_000)
      await appendRows(
        writer,
        drafts.slice(at, at + 1_000).map((draft) => rowOf(set, draft)),
      );
  });

  const found = (filter: Filter): number[] => {
    const seen: number[] = [];
    for (let pageToken = '', page = 0; page < 100; page += 1) {
      const answer = queryRecords(store, set, { ...filter, pageSize: 1_000, pageToken });
      seen.push(...answer.records.map(({ index }) => index));
      pageToken = answer.nextPageToken;
      if (pageToken === '') return seen;
    }
    throw new Error('the pages do not end');
  };

  test('is searched by time without missing any', () => {
    for (const [since, until] of [
      [T0, T0 + 1_000],
      [T0 - 2 * HOUR, T0],
      [T0 + 4 * HOUR, T0 + 6 * HOUR],
      [T0 - 400 * HOUR, T0 - 200 * HOUR],
      [T0 - HOUR, undefined],
      [undefined, T0],
    ] as const) {
      const want = times.flatMap((time, index) =>
        time >= (since ?? time) && time < (until ?? Number.POSITIVE_INFINITY) ? [index] : [],
      );
      expect(want.length).toBeGreaterThan(0);
      expect(found({ since, until })).toEqual(want.toReversed());
    }
  });

  test('has each decision found by its id, with one read', () => {
    for (const index of [0, 1_899, 1_900, 4_095, 4_096, 5_000, 8_191, 8_192, 9_499]) {
      const decisionId = ids[index] ?? '';
      const page = queryRecords(store, set, { decisionId, pageSize: 1, pageToken: '' });
      expect(page.records.map((each) => each.index)).toEqual([index]);
    }
    const nobody = '019b75e0-0000-7000-8000-000000000000';
    const page = queryRecords(store, set, { decisionId: nobody, pageSize: 1, pageToken: '' });
    expect(page).toEqual({ records: [], nextPageToken: '' });
  });
});

describe('a tail', () => {
  test('gives every record once and in order, those that are written meanwhile too', async () => {
    const tenant = await tenantNo(writer, 'tailed');
    await appendRows(
      writer,
      Array.from({ length: 150 }, () => rowOf(tenant)),
    );
    const abort = new AbortController();
    const seen: number[] = [];
    const more: Promise<unknown>[] = [];
    for await (const { index } of tailRecords(store, tenant, 20, abort.signal)) {
      seen.push(index);
      if (index % 10 === 9 && seen.length < 200)
        more.push(
          appendRows(
            writer,
            Array.from({ length: 5 }, () => rowOf(tenant)),
          ),
        );
      if (seen.length === 200) abort.abort();
    }
    await Promise.all(more);
    expect(seen).toEqual(Array.from({ length: 200 }, (_, at) => 20 + at));
  });

  test('begins with the next record when nothing is named', async () => {
    const tenant = await tenantNo(writer, 'fresh');
    await writer.append(rowOf(tenant));
    const abort = new AbortController();
    const tail = tailRecords(store, tenant, undefined, abort.signal);
    const first = tail.next();
    await writer.append(rowOf(tenant));
    expect((await first).value).toMatchObject({ index: 1 });
    abort.abort();
    expect(await tail.next()).toMatchObject({ done: true });
  });
});
