import { expect, test } from 'vitest';
import { keyMade, ownRecord } from '../../src/audit/own.ts';
import { systemRandom } from '../../src/effects.ts';
import type { TenantNo } from '../../src/storage/rows.ts';
import type { Writer } from '../../src/storage/writer.ts';
import { openStore, rowOf, T0, temporaryFolder, tenantNo } from './store.ts';

/** Appends ordinary records, smaller and smaller, until there is room for none. */
async function fill(writer: Writer, no: TenantNo): Promise<void> {
  for (const length of [8_000, 1_000, 0])
    for (let turn = 0; turn < 1_000; turn += 1) {
      const input = JSON.stringify({ subject: null, context: 'x'.repeat(length) });
      const full = await writer.append(rowOf(no, { input })).then(
        () => false,
        () => true,
      );
      if (full) break;
    }
}

test('a full store takes a key and the record of it, without which nothing more could be signed or minted', async () => {
  await using place = await temporaryFolder();
  await using writer = await openStore(place.folder, { maxBytes: 1_048_576 });
  const no = await tenantNo(writer, 'acme');
  await fill(writer, no);
  await expect(writer.append(rowOf(no))).rejects.toMatchObject({ code: 'audit_unavailable' });
  const key = {
    kid: 'k',
    alg: 'ES256',
    publicJwk: '{}',
    sealed: new Uint8Array(100),
    createdAt: T0,
    state: 'active',
    stateAt: T0,
  } as const;
  const record = ownRecord(keyMade(no, 'k', 'tokens', 'ES256'), () => T0, systemRandom);
  const { value, index } = await writer.run('putKey', { tenantNo: no, key }, record);
  expect(value).toBe(true);
  expect(index).toBeGreaterThan(0);
});
