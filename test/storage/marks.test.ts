import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { eventually, sha256 } from '../e2e/server.ts';
import { openStore, rowOf, temporaryFolder, tenantNo } from './store.ts';

/** What is opened after a crash is what was answered, or nothing is. */

const MARKS = ['mandate.heads.0', 'mandate.heads.1'];
const FILES = ['mandate.db', 'mandate.db-wal', ...MARKS];

const recordsIn = (file: string): number =>
  (JSON.parse(readFileSync(file, 'utf8').split('\n')[0] ?? '') as { records: number }).records;

/** What a power cut leaves of a store with records of two tenants, in `folder/crashed`, its marks up to date. */
async function crashed(folder: string): Promise<string> {
  const [live, left] = [path.join(folder, 'live'), path.join(folder, 'crashed')];
  await using writer = await openStore(live);
  const tenants = [await tenantNo(writer, 'acme'), await tenantNo(writer, 'globex')] as const;
  for (let turn = 0; turn < 40; turn += 1) await writer.append(rowOf(tenants[turn % 2 ? 1 : 0]));
  await eventually(
    () => Promise.resolve(Math.max(...MARKS.map((name) => recordsIn(path.join(live, name))))),
    (records) => records === 40,
  );
  mkdirSync(left);
  for (const name of FILES) copyFileSync(path.join(live, name), path.join(left, name));
  return left;
}

const bytesIn = (folder: string): string[] =>
  FILES.map((name) => path.join(folder, name))
    // An empty one holds nothing, whether it is there or not.
    .filter((file) => existsSync(file) && readFileSync(file).length > 0)
    .map((file) => `${path.basename(file)} ${sha256(readFileSync(file, 'latin1'))}`);

const half = (file: string): void => truncateSync(file, readFileSync(file).length / 2);
const flipped = (file: string): void => {
  const bytes = readFileSync(file);
  const at = Math.floor(bytes.length / 2);
  bytes[at] = (bytes[at] ?? 0) ^ 4;
  writeFileSync(file, bytes);
};

async function refused(folder: string): Promise<string> {
  const error = await openStore(folder).then(
    () => new Error('it was opened'),
    (thrown: Error) => thrown,
  );
  expect(error).toMatchObject({ code: 'config_invalid' });
  return error.message;
}

describe.concurrent('a store that ends before its marks is refused', () => {
  test.each([
    ['the write-ahead log is cut off', (left: string) => half(path.join(left, 'mandate.db-wal'))],
    ['a bit of the write-ahead log is another', (left: string) => flipped(path.join(left, 'mandate.db-wal'))],
    ['the write-ahead log is gone', (left: string) => rmSync(path.join(left, 'mandate.db-wal'))],
  ])('%s', async (_name, damage) => {
    await using place = await temporaryFolder();
    const left = await crashed(place.folder);
    damage(left);
    const before = bytesIn(left);
    const message = await refused(left);
    // Without all of it there is not even the schema, and so no store that the marks are of.
    expect(message).toMatch(
      /it ends with \d+ records and \d changes, but 40 records and 2 changes were durable|another store's/,
    );
    // It stays so, and the attempt changed nothing that somebody may still mend.
    expect(await refused(left)).toBe(message);
    expect(bytesIn(left)).toEqual(before);
    for (const name of MARKS) rmSync(path.join(left, name));
    await using writer = await openStore(left);
    expect(writer.problem).toBe('');
  });

  test('an older copy is in its place', async () => {
    await using place = await temporaryFolder();
    const left = await crashed(place.folder);
    const older = path.join(place.folder, 'older');
    mkdirSync(older);
    for (const name of FILES) copyFileSync(path.join(left, name), path.join(older, name));
    {
      await using writer = await openStore(left);
      await writer.append(rowOf(await tenantNo(writer, 'acme')));
    }
    copyFileSync(path.join(older, 'mandate.db'), path.join(left, 'mandate.db'));
    copyFileSync(path.join(older, 'mandate.db-wal'), path.join(left, 'mandate.db-wal'));
    expect(await refused(left)).toMatch(/ends with 40 records .* but 41 records/);
  });

  test("another store's are in its place", async () => {
    await using place = await temporaryFolder();
    const left = await crashed(place.folder);
    const other = path.join(place.folder, 'other');
    {
      await using writer = await openStore(other);
      const no = await tenantNo(writer, 'acme');
      for (let turn = 0; turn < 60; turn += 1) await writer.append(rowOf(no));
    }
    for (const name of MARKS) copyFileSync(path.join(other, name), path.join(left, name));
    expect(await refused(left)).toContain("another store's");
  });

  test('neither of the marks can be read', async () => {
    await using place = await temporaryFolder();
    const left = await crashed(place.folder);
    for (const name of MARKS) writeFileSync(path.join(left, name), 'torn', { flag: 'r+' });
    expect(await refused(left)).toContain('neither of mandate.heads.0 and mandate.heads.1 can be read');
  });
});

describe.concurrent('a store that is whole is opened', () => {
  test('after a crash', async () => {
    await using place = await temporaryFolder();
    const left = await crashed(place.folder);
    await using writer = await openStore(left);
    expect(await writer.append(rowOf(await tenantNo(writer, 'acme')))).toBe(20);
  });

  test('with one of its marks torn, or from before there were any', async () => {
    await using place = await temporaryFolder();
    const left = await crashed(place.folder);
    for (const [name, gone] of [
      [MARKS[0], MARKS[1]],
      [MARKS[1], MARKS[0]],
    ] as const) {
      writeFileSync(path.join(left, name ?? ''), 'torn', { flag: 'r+' });
      await using _writer = await openStore(left);
      expect(recordsIn(path.join(left, gone ?? ''))).toBe(40);
    }
    for (const name of MARKS) rmSync(path.join(left, name));
    await using _again = await openStore(left);
    expect(MARKS.every((name) => existsSync(path.join(left, name)))).toBe(true);
  });

  test('and a stop leaves marks that say all', async () => {
    await using place = await temporaryFolder();
    {
      await using writer = await openStore(place.folder);
      const no = await tenantNo(writer, 'acme');
      for (let turn = 0; turn < 7; turn += 1) await writer.append(rowOf(no));
    }
    expect(Math.max(...MARKS.map((name) => recordsIn(path.join(place.folder, name))))).toBe(7);
  });
});
