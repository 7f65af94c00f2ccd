import { expect, test } from 'vitest';
import { appendRows, openStore, rowOf, temporaryFolder, tenantNo } from '../store.ts';

test('a log that is closed while its count is behind keeps nobody else from being written', async () => {
  await using place = await temporaryFolder();
  await using writer = await openStore(place.folder);
  const [damaged, other] = [await tenantNo(writer, 'acme'), await tenantNo(writer, 'globex')];
  await appendRows(writer, [rowOf(damaged), rowOf(damaged)]);
  await writer.run('closeLog', { fault: { tenantNo: damaged, text: 'it is damaged', lasts: true } });
  expect(await writer.append(rowOf(other))).toBe(0);
  await expect(writer.append(rowOf(damaged))).rejects.toMatchObject({ code: 'audit_unavailable' });
  expect(await writer.append(rowOf(other))).toBe(1);
});
