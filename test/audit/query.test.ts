import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { queryRecords } from '../../src/audit/query.ts';
import type { RecordStore } from '../../src/storage/log/records.ts';
import type { TenantNo } from '../../src/storage/rows.ts';
import type { Writer } from '../../src/storage/writer.ts';
import { appendRows, draftOf, rowOf, sourceOf, T0, tenantNo } from '../storage/store.ts';
import {
  anyFilter,
  COUNT,
  type Entry,
  expected,
  type Filter,
  openModel,
  pagesOf,
  principals,
} from './log-model.ts';
import { tailRecords } from './tail.ts';

/** The log against a plain array that says the same. */

let model: Awaited<ReturnType<typeof openModel>>;
let writer: Writer;
let store: RecordStore;
let no: TenantNo;

beforeAll(async () => {
  model = await openModel();
  ({ writer, store, no } = model);
});
afterAll(() => model[Symbol.asyncDispose]());

const pages = (filter: Filter, pageSize: number): number[] => pagesOf(model, filter, pageSize);

describe('a query', () => {
  test('finds what a plain search of the log finds, in either order, page by page', () => {
    fc.assert(
      fc.property(anyFilter, fc.constantFrom(3, 100, 1_000), (filter, pageSize) => {
        const want = expected(model.entries, filter);
        // Small pages only where there are few.
        expect(pages(filter, want.length > 300 ? 1_000 : pageSize)).toEqual(want);
      }),
      { numRuns: 80 },
    );
  });

  test('finds a decision by its id', () => {
    for (const { decisionId, index } of [0, 1_234, COUNT - 1].map((at) => model.entries[at] as Entry))
      expect(pages({ decisionId }, 100)).toEqual([index]);
    expect(pages({ decisionId: '019b75e0-0000-7000-8000-000000000000' }, 100)).toEqual([]);
  });

  test('passes by the segments in which a revision decided nothing, with one read', () => {
    const nowhere = { revision: 'sha256:none', pageSize: 1, pageToken: '' };
    expect(queryRecords(sourceOf(store), no, nowhere)).toEqual({ records: [], nextPageToken: '' });
  });

  test('sees no other tenant', () => {
    expect(store.size(no)).toBe(COUNT);
    expect(store.size(model.other)).toBe(500);
    const seen = queryRecords(sourceOf(store), model.other, {
      principal: principals[0],
      pageSize: 1_000,
      pageToken: '',
    });
    expect(seen.records.every(({ index }) => index < 500)).toBe(true);
  });

  test('refuses a page token and a decision id that it never gave', () => {
    for (const pageToken of ['0', '-1', '+0', '++1', 'x', '1.5', '1e9', ' 1', '9'.repeat(20)])
      expect(() => queryRecords(sourceOf(store), no, { pageSize: 1, pageToken })).toThrow(/page_token/);
    for (const decisionId of ['x', '../..', '019b75e0-0000-4000-8000-000000000000'])
      expect(() => queryRecords(sourceOf(store), no, { pageSize: 1, pageToken: '', decisionId })).toThrow(
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
      const answer = queryRecords(sourceOf(store), set, { ...filter, pageSize: 1_000, pageToken });
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
      const page = queryRecords(sourceOf(store), set, { decisionId, pageSize: 1, pageToken: '' });
      expect(page.records.map((each) => each.index)).toEqual([index]);
    }
    const nobody = '019b75e0-0000-7000-8000-000000000000';
    const page = queryRecords(sourceOf(store), set, { decisionId: nobody, pageSize: 1, pageToken: '' });
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
