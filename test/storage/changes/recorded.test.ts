import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { expect, test } from 'vitest';
import type { Change } from '../../../src/storage/changes/commands.ts';
import { changeStore } from '../../../src/storage/changes/store.ts';
import { openReader } from '../../../src/storage/reader.ts';
import { openStore, temporaryFolder, tenantNo } from '../store.ts';
import { recorded } from './recording.ts';

/**
 * Changes as the first version that had them made them. A later one has to make them too, and come to the same state: a fleet
 * is of two versions while it is upgraded. `RECORD=1` writes the file anew, which is for a version that breaks with it.
 */
const file = path.join(import.meta.dirname, 'recorded-1.json');

interface Recording {
  readonly changes: readonly Change[];
  readonly chain: string;
  /** By table, its rows in the order of all their columns. */
  readonly tables: Readonly<Record<string, readonly unknown[]>>;
}

test('changes that an earlier version recorded are made as it made them', async () => {
  if (process.env['RECORD'] === '1') await writeFile(file, `${JSON.stringify(await recorded(), null, 1)}\n`);
  const { changes, chain, tables } = JSON.parse(await readFile(file, 'utf8')) as Recording;
  expect(changes.length).toBeGreaterThan(15);
  await using place = await temporaryFolder();
  await using writer = await openStore(place.folder);
  const no = await tenantNo(writer, 'acme');
  for (const change of changes) await writer.run('applyChange', { tenantNo: no, ...change });
  const reader = openReader(place.folder);
  try {
    expect(Buffer.from(changeStore(reader).at(no).chain).toString('hex')).toBe(chain);
    for (const [table, rows] of Object.entries(tables)) {
      const columns = Object.keys(rows[0] ?? {}).join(', ');
      if (columns === '') continue;
      // Columns that came later are not compared.
      const now = reader
        .prepare(`SELECT ${columns} FROM ${table} WHERE tenant_no = ? ORDER BY ${columns}`)
        .all(no);
      expect(JSON.parse(JSON.stringify(now)), table).toEqual(rows);
    }
  } finally {
    reader.close();
  }
});
