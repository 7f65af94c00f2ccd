import { expect, test } from 'vitest';
import { roomFor } from '../../../src/audit/receiving/room.ts';
import { openReader } from '../../../src/storage/reader.ts';
import { appendRows, openStore, rowOf, temporaryFolder, tenantNo } from '../../storage/store.ts';

test('others’ logs find no room well before this server’s own records do', async () => {
  await using stack = new AsyncDisposableStack();
  const { folder } = stack.use(await temporaryFolder());
  const maxBytes = 2 * 1024 * 1024;
  const writer = stack.use(await openStore(folder, { maxBytes }));
  const no = await tenantNo(writer, 'acme');
  const reader = stack.adopt(openReader(folder), (db) => void db.close());
  const full = roomFor(reader, folder, maxBytes);
  expect(full()).toBe('');
  const members = `,"detail":"${'x'.repeat(20_000)}"`;
  for (let round = 0; round < 100 && full() === ''; round += 1)
    await appendRows(writer, [rowOf(no, { members })]);
  expect(full()).toMatch(/three quarters full/);
  expect(await writer.append(rowOf(no))).toBeGreaterThan(0);
  expect(roomFor(reader, folder, undefined)()).toBe('');
});
