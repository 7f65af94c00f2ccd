import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { expect, test } from 'vitest';
import { Frontier } from '../../../src/merkle/frontier.ts';
import { leafHash } from '../../../src/merkle/hashes.ts';
import { rootOf } from '../../../src/merkle/tree.ts';
import { faultChannel } from '../../../src/storage/faults.ts';
import { type Found, type Position, recordStore } from '../../../src/storage/log/records.ts';
import { Runs, type Step } from '../../../src/storage/log/runs.ts';
import { LogTrees } from '../../../src/storage/log/tree.ts';
import { openReader } from '../../../src/storage/reader.ts';
import type { TenantNo } from '../../../src/storage/rows.ts';
import { appendRows, openStore, rowOf, temporaryFolder, tenantNo } from '../store.ts';
import { Stage } from './stage.ts';

const TENANTS = 40;
const ROUNDS = 60;

test('readers miss nothing, and see nothing twice, while the writer files what they read', async () => {
  await using place = await temporaryFolder();
  // A journal of a quarter of a MiB: each commit files what came some commits before.
  await using writer = await openStore(place.folder, { maxBytes: 8 * 1024 * 1024 });
  const numbers: TenantNo[] = [];
  for (let n = 0; n < TENANTS; n += 1) numbers.push(await tenantNo(writer, `t${n}`));
  const heard: unknown[] = [];
  const hear = (fault: unknown): void => void heard.push(fault);
  subscribe(faultChannel.name, hear);
  const reader = openReader(place.folder);
  const [records, trees] = [recordStore(reader), new LogTrees(reader)];
  const done = { rounds: 0 };
  let looks = 0;
  const writes = async (): Promise<void> => {
    for (; done.rounds < ROUNDS; done.rounds += 1)
      await Promise.all(
        [0, 1].map(() =>
          appendRows(
            writer,
            numbers.flatMap((no) => [rowOf(no), rowOf(no)]),
          ),
        ),
      );
  };
  const reads = async (): Promise<void> => {
    while (done.rounds < ROUNDS) {
      const no = numbers[looks % TENANTS] ?? numbers[0];
      if (no === undefined) return;
      looks += 1;
      const size = records.size(no);
      const read = records.range(no, 0, size);
      expect(read.map(({ index }) => index)).toEqual(Array.from({ length: size }, (_, at) => at));
      const found: number[] = [];
      for (let from: Position | undefined = { order: 'newest', at: size }; from; ) {
        const page: Found<number> = records.search(no, {}, from, 50, ({ index }) => index);
        found.push(...page.found);
        from = page.next;
      }
      expect(found).toEqual(read.map(({ index }) => index).toReversed());
      const frontier = new Frontier();
      for (const { body } of read) frontier.append(leafHash(body));
      expect(Buffer.from(rootOf(trees.tilesOf(no), size)).equals(frontier.root())).toBe(true);
      await new Promise((resolve) => setImmediate(resolve));
    }
  };
  try {
    await Promise.all([writes(), reads()]);
  } finally {
    unsubscribe(faultChannel.name, hear);
    reader.close();
  }
  expect(heard).toEqual([]);
  expect(looks).toBeGreaterThan(20);
});

test('a reading that was begun before records are filed finds them where they were', async () => {
  await using place = await temporaryFolder();
  using stage = new Stage(place.folder, TENANTS);
  const no = stage.tenants[4] as TenantNo;
  stage.commit(stage.tenants);
  stage.file();
  stage.commit(stage.tenants);
  stage.commit(stage.tenants);
  const runs = new Runs(stage.reader);
  const firsts = (steps: Iterable<Step>) => [...steps].map(({ run }) => run?.first);
  const [forwards, backwards] = [runs.from(no, 0, 3), runs.below(no, 0, 3)];
  const begun = [forwards.next().value as Step, backwards.next().value as Step];
  stage.file();
  expect(firsts([begun[0] as Step, ...forwards])).toEqual([0, 1, 2]);
  expect(firsts([begun[1] as Step, ...backwards])).toEqual([2, 1, 0]);
  // Since then two of them are one run.
  expect(firsts(runs.from(no, 0, 3))).toEqual([0, 1]);
  expect(firsts(runs.below(no, 0, 3))).toEqual([1, 0]);
});
