import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { queryRecords } from '../../src/audit/query.ts';
import { recordOutcomes } from '../../src/audit/record.ts';
import type { RecordStore } from '../../src/storage/log/records.ts';
import type { TenantNo } from '../../src/storage/rows.ts';
import type { Writer } from '../../src/storage/writer.ts';
import { appendRows, rowOf, sourceOf, tenantNo } from '../storage/store.ts';
import { actors, type Filter, openModel, pagesOf, pick, principals } from './log-model.ts';

/** Pages of a log that grows, by what stands in the records alone, and of what an older version wrote. */

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

describe('a query of a log that grows', () => {
  test('gives every match once and in order: oldest first those that are new too, newest first none of them', async () => {
    let serial = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.boolean(),
        fc.array(
          fc.record({ grow: fc.integer({ min: 0, max: 40 }), pageSize: fc.integer({ min: 1, max: 30 }) }),
          {
            minLength: 1,
            maxLength: 8,
          },
        ),
        async (isOldestFirst, steps) => {
          const tenant = await tenantNo(writer, `growing-${serial++}`);
          const outcomes: string[] = [];
          const grow = async (count: number): Promise<void> => {
            const more = Array.from({ length: count }, (_, at) => pick(recordOutcomes, outcomes.length + at));
            outcomes.push(...more);
            if (count > 0)
              await appendRows(
                writer,
                more.map((outcome) => rowOf(tenant, { outcome })),
              );
          };
          await grow(60);
          const sizeAtStart = outcomes.length;
          const seen: number[] = [];
          let pageToken = '';
          for (let page = 0; page < 200; page += 1) {
            const { grow: more = 0, pageSize = 7 } = steps[page] ?? {};
            const query = { outcome: 'deny', isOldestFirst, pageSize, pageToken };
            const answer = queryRecords(sourceOf(store), tenant, query);
            seen.push(...answer.records.map(({ index }) => index));
            pageToken = answer.nextPageToken;
            if (pageToken === '') break;
            await grow(more);
          }
          const denied = outcomes.flatMap((outcome, index) => (outcome === 'deny' ? [index] : []));
          expect(pageToken).toBe('');
          expect(seen).toEqual(
            isOldestFirst ? denied : denied.filter((index) => index < sizeAtStart).toReversed(),
          );
        },
      ),
      { numRuns: 40 },
    );
  });

  test('has page tokens of its order alone', () => {
    const newest = queryRecords(sourceOf(store), no, { pageSize: 3, pageToken: '' }).nextPageToken;
    const oldest = queryRecords(sourceOf(store), no, {
      pageSize: 3,
      pageToken: '',
      isOldestFirst: true,
    }).nextPageToken;
    for (const [pageToken, isOldestFirst] of [
      [newest, true],
      [oldest, false],
    ] as const)
      expect(() => queryRecords(sourceOf(store), no, { pageSize: 3, pageToken, isOldestFirst })).toThrow(
        /other order/,
      );
  });
});

describe('a query by the context', () => {
  const find = (members: { path: string; value: string }[]): number[] =>
    pages({ context: members, isOldestFirst: true }, 1_000);

  test.each(['', 'ticket', '/a~2', '/a~', `/${'x'.repeat(2_000)}`, '/a'.repeat(40)])(
    'refuses the path %j, which is no JSON Pointer or too long',
    (pointer) => {
      expect(() => find([{ path: pointer, value: '1' }])).toThrow(/JSON Pointer/);
    },
  );

  test('refuses more members, and longer values, than it looks for', () => {
    const one = { path: '/a', value: '1' };
    expect(() => find(Array.from({ length: 9 }, () => one))).toThrow(/at most/);
    expect(() => find([{ ...one, value: 'x'.repeat(2_000) }])).toThrow(/at most/);
  });

  test('finds what RFC 6901 says stands there, in the record or beside it, and nothing that is inherited', async () => {
    const tenant = await tenantNo(writer, 'contexts');
    const beside = { ticket: 'INC-9' };
    const contexts: unknown[] = [
      { 'a/b': { 'm~n': [null, { '': 'deep' }] } },
      { n: 7, s: '7', list: [1, 2], yes: true, nothing: null },
      null,
      'text',
      [],
    ];
    const inputs = contexts.map((context) => JSON.stringify({ subject: null, context }));
    await appendRows(writer, [
      ...inputs.map((input) => rowOf(tenant, { input })),
      rowOf(tenant, {
        input: JSON.stringify({ subject: null, context: null }),
        members: ',"input_parts":{"context":"d"}',
      }),
      rowOf(tenant, {
        input: JSON.stringify({ subject: null, context: null }),
        members: ',"input_parts":{"context":"gone"}',
      }),
    ]);
    const source = {
      records: store,
      partOf: (of: TenantNo, digest: string) =>
        of === tenant && digest === 'd' ? JSON.stringify(beside) : undefined,
    };
    const found = (path: string, value: string): number[] =>
      queryRecords(source, tenant, {
        context: [{ path, value }],
        pageSize: 100,
        pageToken: '',
      }).records.map(({ index }) => index);
    expect(found('/a~1b/m~0n/1/', 'deep')).toEqual([0]);
    expect(found('/a~1b/m~0n/0', 'null')).toEqual([0]);
    expect(found('/n', '7')).toEqual([1]);
    expect(found('/n', '7.0')).toEqual([1]);
    expect(found('/s', '7')).toEqual([1]);
    expect(found('/n', '"7"')).toEqual([]);
    expect(found('/s', '"7"')).toEqual([1]);
    expect(found('/list', '[1,2]')).toEqual([1]);
    expect(found('/list', '[2,1]')).toEqual([]);
    expect(found('/yes', 'true')).toEqual([1]);
    expect(found('/nothing', 'null')).toEqual([1]);
    expect(found('/ticket', 'INC-9')).toEqual([5]);
    for (const path of ['/constructor', '/__proto__', '/list/length', '/list/00', '/list/-', '/length'])
      for (const value of ['null', '', '2', '0', '{}']) expect(found(path, value)).toEqual([]);
  });

  test('does so much a page and says where to go on, however few it finds', () => {
    let [pageToken, read] = ['', 0];
    const source = {
      records: {
        ...store,
        search: ((of, filter, from, limit, make) =>
          store.search(of, filter, from, limit, (record) => {
            read += 1;
            return make(record);
          })) as RecordStore['search'],
      },
      partOf: () => undefined,
    };
    for (let page = 0; page < 2_000; page += 1) {
      read = 0;
      const answer = queryRecords(source, no, {
        context: [{ path: '/ticket', value: 'none' }],
        pageSize: 1,
        pageToken,
      });
      expect(answer.records).toEqual([]);
      expect(read).toBeLessThan(500);
      pageToken = answer.nextPageToken;
      if (pageToken === '') return;
    }
    throw new Error('the pages do not end');
  });
});

/** A store of the version before held neither earlier actors nor revisions in its heads. */
describe('records whose heads tell nothing of chain and revision', () => {
  test('are found by either', async () => {
    const tenant = await tenantNo(writer, 'untold');
    const wanted = new Set([0, 17, 4_095, 4_096, 4_100]);
    const rows = Array.from({ length: 4_110 }, (_, at) => {
      const chain = wanted.has(at) ? [principals[2], actors[4]] : [principals[2]];
      const row = rowOf(tenant, {
        actor: principals[2],
        members: `,"revision":"${wanted.has(at) ? 'sha256:x' : 'sha256:y'}"`,
        input: JSON.stringify({ subject: principals[0], actors: chain }),
      });
      return { ...row, names: { ...row.names, earlier: 0, revision: 0 } };
    });
    for (let at = 0; at < rows.length; at += 1_000) await appendRows(writer, rows.slice(at, at + 1_000));
    const found = (filter: Filter): number[] => {
      const seen: number[] = [];
      for (let pageToken = '', page = 0; page < 1_000; page += 1) {
        const answer = queryRecords(sourceOf(store), tenant, { ...filter, pageSize: 100, pageToken });
        seen.push(...answer.records.map(({ index }) => index));
        pageToken = answer.nextPageToken;
        if (pageToken === '') return seen.toReversed();
      }
      throw new Error('the pages do not end');
    };
    expect(found({ principal: { class: 'agent', id: 'chained' } })).toEqual([...wanted]);
    expect(found({ revision: 'sha256:x' })).toEqual([...wanted]);
  });
});
