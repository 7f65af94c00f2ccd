import { copyFileSync, renameSync, rmSync, statSync, truncateSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import type { Writer } from '../../src/storage/writer.ts';
import { eventually } from '../e2e/server.ts';
import { openStore, rowOf, temporaryFolder, tenantNo } from './store.ts';

/** A store whose files are taken away or changed under it answers nothing more, and says which file. */

const replace = (file: string): void => {
  copyFileSync(file, `${file}.copy`);
  renameSync(`${file}.copy`, file);
};
const half = (file: string): void => truncateSync(file, Math.floor(statSync(file).size / 2));
const none = (file: string): void => truncateSync(file, 0);

type Change = (file: string) => void;
const changes: readonly (readonly [string, string, Change])[] = [
  ['mandate.db', 'is gone', rmSync],
  ['mandate.db', 'is another file', replace],
  ['mandate.db', 'was cut off', half],
  ['mandate.db-wal', 'is gone', rmSync],
  ['mandate.db-wal', 'is gone', replace],
  ['mandate.db-wal', 'was cut off', none],
  ['mandate.db-wal', 'was cut off', half],
];

const appends = async (writer: Writer, no: Awaited<ReturnType<typeof tenantNo>>): Promise<void> => {
  for (let turn = 0; turn < 20; turn += 1) await writer.append(rowOf(no));
};

describe.each(changes)('%s %s', (name, words, change) => {
  test('the next commit is refused, and all after it', async () => {
    await using place = await temporaryFolder();
    await using writer = await openStore(place.folder);
    const no = await tenantNo(writer, 'acme');
    await appends(writer, no);
    change(path.join(place.folder, name));
    for (let turn = 0; turn < 3; turn += 1)
      await expect(writer.append(rowOf(no))).rejects.toMatchObject({
        code: 'audit_unavailable',
        detail: expect.stringContaining(`its file ${name} ${words} while it was open`) as string,
      });
  });
});

test.concurrent.each([...changes, ['mandate.db-shm', 'is gone', rmSync] as const])(
  '%s %s: it is not ready within a second or so, though nothing is written',
  async (name, words, change) => {
    await using place = await temporaryFolder();
    await using writer = await openStore(place.folder);
    const no = await tenantNo(writer, 'acme');
    await appends(writer, no);
    // The watch has seen them as they are.
    await new Promise((resolve) => setTimeout(resolve, 1_100));
    expect(writer.problem).toBe('');
    change(path.join(place.folder, name));
    await eventually(
      () => Promise.resolve(writer.problem),
      (problem) =>
        /its file mandate\.db.* while it was open/.test(problem) && problem.includes(words.slice(0, 3)),
    );
  },
);

test('a log that is cut off and written on behind the cut is noticed', async () => {
  await using place = await temporaryFolder();
  await using writer = await openStore(place.folder);
  const no = await tenantNo(writer, 'acme');
  await appends(writer, no);
  const file = path.join(place.folder, 'mandate.db-wal');
  const appending = Promise.allSettled(Array.from({ length: 50 }, () => writer.append(rowOf(no))));
  truncateSync(file, 0);
  await appending;
  await expect(appends(writer, no)).rejects.toMatchObject({ code: 'audit_unavailable' });
});

test('what it does to its files itself is no change', async () => {
  await using place = await temporaryFolder();
  await using writer = await openStore(place.folder);
  const no = await tenantNo(writer, 'acme');
  const row = rowOf(no, { input: JSON.stringify({ text: 'x'.repeat(60_000) }) });
  // Beyond what the write-ahead log may have, several times, so that it is begun anew and cut off.
  for (let commit = 0; commit < 400; commit += 1)
    await Promise.all(Array.from({ length: 12 }, () => writer.append(row)));
  expect(writer.problem).toBe('');
});
