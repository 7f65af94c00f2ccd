import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { countAcross, type FoundRecord, queryAcross } from '../../src/audit/across.ts';
import type { NodeLog } from '../../src/audit/logs.ts';
import type { AuditQuery, LogSource } from '../../src/audit/query.ts';
import type { Connection } from '../../src/storage/database.ts';
import { recordStore } from '../../src/storage/log/records.ts';
import { openReader } from '../../src/storage/reader.ts';
import type { Writer } from '../../src/storage/writer.ts';
import { appendRows, openStore, rowOf, sourceOf, T0, temporaryFolder, tenantNo } from '../storage/store.ts';

/** Queries over several logs, beside a plain merge of arrays. */

const stack = new AsyncDisposableStack();
let writer: Writer;
let reader: Connection;
let source: LogSource;
let serial = 0;

beforeAll(async () => {
  const { folder } = stack.use(await temporaryFolder());
  writer = stack.use(await openStore(folder));
  reader = stack.adopt(openReader(folder), (db) => void db.close());
  source = sourceOf(recordStore(reader));
});

afterAll(() => stack.disposeAsync());

interface Entry {
  readonly node: string;
  readonly index: number;
  readonly time: number;
  readonly action: string;
}

/** Logs whose records are of these times, in the order of each. */
async function logsOf(times: readonly (readonly number[])[]): Promise<{ logs: NodeLog[]; model: Entry[][] }> {
  const logs: NodeLog[] = [];
  const model: Entry[][] = [];
  for (const [at, own] of times.entries()) {
    serial += 1;
    const no = await tenantNo(writer, `log-${serial}`);
    const node = `node-${at}`;
    logs.push({ no, node, isOwn: at === 0 });
    model.push([]);
    await grow(logs.at(-1) as NodeLog, model.at(-1) as Entry[], own);
  }
  return { logs, model };
}

async function grow({ no, node }: NodeLog, model: Entry[], times: readonly number[]): Promise<void> {
  const entries = times.map((time, n) => {
    const index = model.length + n;
    return { node, index, time: T0 + time, action: index % 3 === 0 ? 'read' : 'write' };
  });
  model.push(...entries);
  const rows = entries.map(({ time, action }) =>
    rowOf(no, {
      time,
      input: JSON.stringify({
        subject: { class: 'user', id: 'alice' },
        actors: [],
        action: { name: action },
      }),
    }),
  );
  if (rows.length > 0) await appendRows(writer, rows);
}

/** Each log in its own order, the next of them by time; of equal ones the first log's. */
function merged(model: readonly (readonly Entry[])[], isOldestFirst: boolean): Entry[] {
  const left = model.map((entries) => (isOldestFirst ? [...entries] : entries.toReversed()));
  const all: Entry[] = [];
  for (;;) {
    const heads = left.filter((entries) => entries.length > 0);
    const [first] = heads.toSorted(
      (a, b) => ((a[0]?.time ?? 0) - (b[0]?.time ?? 0)) * (isOldestFirst ? 1 : -1),
    );
    const next = first?.shift();
    if (!next) return all;
    all.push(next);
  }
}

const shown = ({ log, record }: FoundRecord): Entry => ({
  node: log.node,
  index: record.index,
  time: record.time,
  action: record.action,
});

async function paged(logs: readonly NodeLog[], query: Partial<AuditQuery>): Promise<Entry[]> {
  const all: Entry[] = [];
  let pageToken = '';
  for (let pages = 0; pages < 1_000; pages += 1) {
    const page = await queryAcross(source, logs, { pageSize: 7, ...query, pageToken });
    expect(page.found.length).toBeLessThanOrEqual(query.pageSize ?? 7);
    all.push(...page.found.map(shown));
    pageToken = page.nextPageToken;
    if (pageToken === '') return all;
  }
  throw new Error('there is no end of pages');
}

const someTimes = fc.array(fc.array(fc.nat({ max: 30 }), { maxLength: 25 }), { minLength: 1, maxLength: 5 });

test('pages of any size hold every record once, of each log in its order and between them by time', async () => {
  await fc.assert(
    fc.asyncProperty(
      someTimes,
      fc.boolean(),
      fc.integer({ min: 1, max: 12 }),
      async (times, isOldestFirst, pageSize) => {
        const { logs, model } = await logsOf(times);
        expect(await paged(logs, { isOldestFirst, pageSize })).toEqual(merged(model, isOldestFirst));
        const writes = model.map((entries) => entries.filter(({ action }) => action === 'write'));
        const asked = { isOldestFirst, pageSize, actionName: 'write' };
        expect(await paged(logs, asked)).toEqual(merged(writes, isOldestFirst));
      },
    ),
    { numRuns: 30 },
  );
});

test('what comes between two pages is on the last ones oldest first, and newest first on none', async () => {
  const { logs, model } = await logsOf([[1, 4, 9], [2, 3], []]);
  const [own, second, third] = model as [Entry[], Entry[], Entry[]];
  const before = { oldest: merged(model, true), newest: merged(model, false) };
  const first = {
    oldest: await queryAcross(source, logs, { isOldestFirst: true, pageSize: 2, pageToken: '' }),
    newest: await queryAcross(source, logs, { pageSize: 2, pageToken: '' }),
  };
  await grow(logs[1] as NodeLog, second, [12]);
  await grow(logs[2] as NodeLog, third, [11, 13]);
  const rest = async (order: 'oldest' | 'newest'): Promise<Entry[]> => {
    const all = first[order].found.map(shown);
    for (let token = first[order].nextPageToken; token !== ''; ) {
      const page = await queryAcross(source, logs, {
        isOldestFirst: order === 'oldest',
        pageSize: 2,
        pageToken: token,
      });
      all.push(...page.found.map(shown));
      token = page.nextPageToken;
    }
    return all;
  };
  expect(await rest('newest')).toEqual(before.newest);
  expect(await rest('oldest')).toEqual(merged([own, second, third], true));
});

test('a log that is first seen between two pages is read oldest first', async () => {
  const { logs, model } = await logsOf([[1, 2, 3], [2, 5], [4]]);
  const [known, later] = [logs.slice(0, 2), logs];
  const page = await queryAcross(source, known, { isOldestFirst: true, pageSize: 2, pageToken: '' });
  const next = await queryAcross(source, later, {
    isOldestFirst: true,
    pageSize: 100,
    pageToken: page.nextPageToken,
  });
  expect([...page.found, ...next.found].map(shown)).toHaveLength(model.flat().length);
});

test('a token is of its order and of these logs, or of none', async () => {
  const { logs } = await logsOf([
    [1, 2, 3],
    [1, 2, 3],
  ]);
  const { logs: others } = await logsOf([
    [1, 2, 3],
    [1, 2, 3],
  ]);
  const ask = (of: readonly NodeLog[], pageToken: string, isOldestFirst = false) =>
    queryAcross(source, of, { isOldestFirst, pageSize: 2, pageToken });
  const { nextPageToken } = await ask(logs, '');
  for (const [of, token, order] of [
    [others, nextPageToken, false],
    [logs, nextPageToken, true],
    [logs, `${nextPageToken}.${nextPageToken.split('.')[1]}`, false],
    [logs, nextPageToken.replace(/:.*/, ':-1'), false],
    [logs, 'n.1:2.', false],
    [logs, '3', false],
  ] as const)
    await expect(ask(of, token, order), token).rejects.toMatchObject({ code: 'invalid_request' });
});

test('counts are those of all logs together', async () => {
  const { logs, model } = await logsOf([Array.from({ length: 40 }, (_, n) => n), [1, 2], [], [5]]);
  let [count, pageToken] = [0, ''];
  const groups = new Map<string, number>();
  for (let answers = 0; answers < 100; answers += 1) {
    const counted = await countAcross(source, logs, { pageToken }, 'action', new AbortController().signal);
    count += counted.count;
    for (const [name, more] of counted.groups) groups.set(name, (groups.get(name) ?? 0) + more);
    pageToken = counted.nextPageToken;
    if (pageToken === '') break;
  }
  const reads = model.flat().filter(({ action }) => action === 'read').length;
  expect([count, groups.get('read'), groups.get('write')]).toEqual([43, reads, 43 - reads]);
});
