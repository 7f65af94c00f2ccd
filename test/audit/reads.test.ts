import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { type LogRead, Reads } from '../../src/audit/reads.ts';
import { systemClock, systemRandom } from '../../src/effects.ts';
import { recordStore } from '../../src/storage/log/records.ts';
import { openReader } from '../../src/storage/reader.ts';
import type { TenantNo } from '../../src/storage/rows.ts';
import { faultOf } from '../e2e/record-schema.ts';
import { eventually } from '../e2e/server.ts';
import { openStore, temporaryFolder, tenantNo } from '../storage/store.ts';

interface Body {
  caller: string;
  input: { action: { name: string } };
  detail: { filters: object[]; and_more?: number; count: number; records: number };
}

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
});
afterEach(() => {
  vi.useRealTimers();
});

/** A log, and what stands in it as soon as that is so many records. */
async function stage() {
  const place = await temporaryFolder();
  const writer = await openStore(place.folder);
  const no = await tenantNo(writer, 'acme');
  let now = 0;
  const reads = new Reads(writer, systemClock, () => now, systemRandom);
  const db = openReader(place.folder);
  const texts = (of: TenantNo): string[] =>
    recordStore(db)
      .range(of, 0, 10_000)
      .map(({ body }) => Buffer.from(body).toString());
  return {
    writer,
    no,
    reads,
    pass: (ms: number): void => {
      now += ms;
      vi.advanceTimersByTime(ms);
    },
    note: (read: Partial<LogRead>) =>
      reads.note({
        tenantNo: no,
        tenant: 'acme',
        caller: 'operator:ann',
        operation: 'audit.query',
        filter: {},
        records: 1,
        ...read,
      }),
    written: async (count: number, of = no): Promise<Body[]> => {
      const all = await eventually(
        () => Promise.resolve(texts(of)),
        (some) => some.length >= count,
      );
      for (const text of all) expect(faultOf(text)).toBeUndefined();
      return all.map((text) => JSON.parse(text) as Body);
    },
    [Symbol.asyncDispose]: async () => {
      reads[Symbol.dispose]();
      db.close();
      await writer[Symbol.asyncDispose]();
      await place[Symbol.asyncDispose]();
    },
  };
}

test('the first read is recorded at once, and what follows within the minute in one record', async () => {
  await using at = await stage();
  const filter = { principal: 'user:alice' };
  for (let call = 0; call < 100; call += 1) at.note({ filter, records: 10 });
  const [first, ...none] = await at.written(1);
  expect(none).toEqual([]);
  expect(first).toMatchObject({ caller: 'operator:ann', input: { action: { name: 'audit.query' } } });
  expect(first?.detail).toEqual({ filters: [filter], count: 1, records: 10 });
  at.pass(60_000);
  const [, second] = await at.written(2);
  expect(second?.detail).toEqual({ filters: [filter], count: 99, records: 990 });
  // Who does not come again leaves no more.
  at.pass(600_000);
  at.note({ filter });
  expect(await at.written(3)).toHaveLength(3);
});

test('what was asked for is told, each once, and how many more there were', async () => {
  await using at = await stage();
  at.note({ filter: { resource: 'document:0' } });
  for (let n = 1; n <= 20; n += 1)
    for (let turn = 0; turn < 2; turn += 1) at.note({ filter: { resource: `document:${n}` } });
  at.note({ filter: { resource: 'x'.repeat(10_000) }, operation: 'audit.count' });
  at.reads[Symbol.dispose]();
  const bodies = await at.written(3);
  const { detail } = bodies.find(({ detail: { count } }) => count === 40) as Body;
  expect(detail.filters).toEqual(Array.from({ length: 8 }, (_, n) => ({ resource: `document:${n + 1}` })));
  expect(detail.and_more).toBe(24);
  const long = bodies.find(({ input: { action } }) => action.name === 'audit.count') as Body;
  expect(JSON.stringify(long.detail.filters).length).toBeLessThan(300);
});

test('whoever reads in a thousand ways fills no log, and none of it is left out of the count', async () => {
  await using at = await stage();
  const other = await tenantNo(at.writer, 'globex');
  for (let n = 0; n < 1_000; n += 1) at.note({ caller: `operator:o${n}`, filter: { [`f${n}`]: 1 } });
  at.note({ tenantNo: other, tenant: 'globex' });
  at.reads[Symbol.dispose]();
  const bodies = await at.written(34);
  expect(bodies.length).toBeLessThanOrEqual(34);
  expect(bodies.reduce((sum, { detail }) => sum + detail.count, 0)).toBe(1_000);
  expect(bodies.some(({ caller }) => caller === 'others')).toBe(true);
  // One tenant's readers take nothing of another's room.
  expect(await at.written(1, other)).toMatchObject([{ caller: 'operator:ann' }]);
});
