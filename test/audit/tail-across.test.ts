import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { NodeLog } from '../../src/audit/logs.ts';
import { tailAcross } from '../../src/audit/tail-across.ts';
import { recordStore } from '../../src/storage/log/records.ts';
import { openReader } from '../../src/storage/reader.ts';
import type { TenantNo } from '../../src/storage/rows.ts';
import type { Writer } from '../../src/storage/writer.ts';
import { appendRows, openStore, rowOf, temporaryFolder, tenantNo } from '../storage/store.ts';

/** A tail over many logs, over a real store: whoever goes on by a cursor misses nothing, however logs grow and come. */

let place: Awaited<ReturnType<typeof temporaryFolder>>;
let writer: Writer;
let reader: ReturnType<typeof openReader>;
let worlds = 0;

beforeAll(async () => {
  place = await temporaryFolder();
  writer = await openStore(place.folder);
  reader = openReader(place.folder);
});
afterAll(async () => {
  reader.close();
  await writer[Symbol.asyncDispose]();
  await place[Symbol.asyncDispose]();
});

class World {
  readonly logs: NodeLog[] = [];
  readonly sizes = new Map<string, number>();
  /** Authorities have the same logs by other numbers: here the second one lists them the other way round. */
  isOther = false;
  #id = (worlds += 1);

  async join(node: string): Promise<void> {
    const no: TenantNo = await tenantNo(writer, `w${this.#id}-${node}`);
    this.logs.push({ no, node, isOwn: this.logs.length === 0 });
    this.sizes.set(node, 0);
  }

  async grow(node: string, count: number): Promise<void> {
    const log = this.logs.find((each) => each.node === node);
    if (!log) return;
    await appendRows(
      writer,
      Array.from({ length: count }, () => rowOf(log.no)),
    );
    this.sizes.set(node, (this.sizes.get(node) ?? 0) + count);
  }

  tail(cursor: string, signal: AbortSignal) {
    return tailAcross({
      store: recordStore(reader),
      logs: () => (this.isOther ? this.logs.toReversed() : this.logs),
      keyOf: ({ node }) => Promise.resolve(`key of ${node}`),
      cursor,
      signal,
    });
  }
}

interface Told {
  cursor: string;
  readonly records: string[];
}

/** Reads until all that there is was told, or so many messages came. */
async function read(world: World, cursor: string, isDone: (told: Told) => boolean): Promise<Told> {
  const ended = new AbortController();
  const told: Told = { cursor, records: [] };
  const late = setTimeout(() => ended.abort(), 5_000);
  for await (const each of world.tail(cursor, ended.signal)) {
    if ('cursor' in each) told.cursor = each.cursor;
    else told.records.push(...each.records.map(({ index }) => `${each.log.node} ${index}`));
    if (isDone(told)) break;
  }
  clearTimeout(late);
  return told;
}

const allOf = (world: World): string[] =>
  [...world.sizes].flatMap(([node, size]) => Array.from({ length: size }, (_, at) => `${node} ${at}`));

type Step =
  | { do: 'join' }
  | { do: 'grow'; which: number; count: number }
  | { do: 'read'; messages: number; isOther: boolean };

const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ do: fc.constant('join' as const) }),
  fc.record({ do: fc.constant('grow' as const), which: fc.nat(5), count: fc.integer({ min: 1, max: 300 }) }),
  fc.record({
    do: fc.constant('read' as const),
    messages: fc.integer({ min: 1, max: 6 }),
    isOther: fc.boolean(),
  }),
);

test('by cursors each record is told, in the order of its log, and again only after the last cursor', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 15 }), async (steps) => {
      const world = new World();
      await world.join('own');
      let { cursor } = await read(world, 't', () => true);
      /** As a reader has them who keeps a cursor with what came before it. */
      const seen = new Set<string>();
      const go = async (isDone: (told: Told, messages: number) => boolean): Promise<void> => {
        let messages = 0;
        const told = await read(world, cursor, (so) => isDone(so, (messages += 1)));
        for (const node of world.sizes.keys()) {
          const own = told.records.filter((each) => each.startsWith(`${node} `));
          const indexes = own.map((each) => Number(each.split(' ')[1]));
          expect(indexes).toEqual(indexes.map((_, at) => (indexes[0] ?? 0) + at));
        }
        for (const each of told.records) seen.add(each);
        cursor = told.cursor;
      };
      for (const each of steps) {
        if (each.do === 'join') await world.join(`n${world.logs.length}`);
        else if (each.do === 'grow')
          await world.grow(world.logs[each.which % world.logs.length]?.node ?? '', each.count);
        else {
          world.isOther = each.isOther;
          const left = allOf(world).filter((one) => !seen.has(one));
          await go(
            (told, messages) => messages > each.messages || left.every((one) => told.records.includes(one)),
          );
        }
      }
      const all = allOf(world);
      await go((told) => all.every((each) => seen.has(each) || told.records.includes(each)));
      expect([...seen].sort()).toEqual(all.sort());
    }),
    { numRuns: 25 },
  );
});

test('begins with what comes now, and a log that comes later is told from its beginning', async () => {
  const world = new World();
  await world.join('own');
  await world.join('one');
  await world.grow('own', 3);
  await world.grow('one', 2);
  let isGrown = false;
  const told = await read(world, '', ({ records }) => {
    if (!isGrown) {
      isGrown = true;
      void (async () => {
        await world.grow('one', 1);
        await world.join('late');
        await world.grow('late', 2);
      })();
    }
    return records.length >= 3;
  });
  expect(told.records.sort()).toEqual(['late 0', 'late 1', 'one 2']);
});

test('a log that is not here is kept in the cursor, and told from its place once it is', async () => {
  const world = new World();
  await world.join('own');
  await world.join('one');
  await world.grow('one', 5);
  const { cursor } = await read(world, 't', (told) => told.cursor.endsWith(':5'));
  world.logs.pop();
  const without = await read(world, cursor, () => true);
  await world.join('one');
  await world.grow('own', 1);
  await world.grow('one', 1);
  const after = await read(world, without.cursor, ({ records }) => records.length >= 2);
  expect(after.records.sort()).toEqual(['one 5', 'own 0']);
});

test.each([
  'x',
  't.',
  't.abc',
  `t.${'a'.repeat(12)}`,
  `t.${'a'.repeat(12)}:01`,
  `t.${'a'.repeat(12)}:-1`,
  `t.${'a'.repeat(12)}:1.${'a'.repeat(12)}:2`,
  `t${`.${'a'.repeat(12)}:1`.repeat(2)}`,
  ['t', ...Array.from({ length: 1_001 }, (_, at) => `${String(at).padStart(12, 'a')}:1`)].join('.'),
  `o.${'a'.repeat(12)}:1`,
])('refuses %.40s as a cursor', async (cursor) => {
  const world = new World();
  await world.join('own');
  await expect(read(world, cursor, () => true)).rejects.toMatchObject({ code: 'invalid_request' });
});

test('refuses a cursor that is ahead of the own log, and more logs than it has places for', async () => {
  const world = new World();
  await world.join('own');
  await world.grow('own', 5);
  const { cursor } = await read(world, '', () => true);
  const restored = new World();
  await restored.join('own');
  await expect(read(restored, cursor, () => true)).rejects.toThrow('ahead of the log');
  const [own] = world.logs as [NodeLog];
  const many = Array.from({ length: 1_001 }, (_, at) => ({ ...own, no: at as TenantNo }));
  world.logs.splice(0, 1, ...many);
  await expect(read(world, '', () => true)).rejects.toThrow('name a node');
});

test('of as many logs as there may be a cursor is no longer than it is said to be', async () => {
  const world = new World();
  const no = await tenantNo(writer, 'wide');
  const logs = Array.from({ length: 1_000 }, (_, at) => ({
    no: (no + at) as TenantNo,
    node: `n${at}`,
    isOwn: false,
  }));
  world.logs.push(...logs);
  const { cursor } = await read(world, '', () => true);
  expect(cursor.split('.')).toHaveLength(1_001);
  expect(cursor.length).toBeLessThan(21_000);
  expect((await read(world, cursor, () => true)).cursor).toBe(cursor);
});
