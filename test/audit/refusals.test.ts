import { expect, test } from 'vitest';
import { Refusals } from '../../src/audit/refusals.ts';
import { systemClock, systemRandom } from '../../src/effects.ts';
import { recordStore } from '../../src/storage/log/records.ts';
import { openReader } from '../../src/storage/reader.ts';
import type { TenantNo } from '../../src/storage/rows.ts';
import { eventually } from '../e2e/server.ts';
import { openStore, temporaryFolder, tenantNo } from '../storage/store.ts';

/** How many records a tenant has for them before it has one each ten seconds. */
const BURST = 60;

interface Detail {
  address: string;
  count: number;
}

function detailsIn(folder: string, no: TenantNo): Detail[] {
  const db = openReader(folder);
  try {
    return recordStore(db)
      .range(no, 0, 10_000)
      .map(({ body }) => (JSON.parse(Buffer.from(body).toString()) as { detail: Detail }).detail);
  } finally {
    db.close();
  }
}

test('a thousand addresses that are refused again and again fill no log, and none is left out of the count', async () => {
  await using place = await temporaryFolder();
  await using writer = await openStore(place.folder);
  const no = await tenantNo(writer, 'acme');
  using refusals = new Refusals(writer, systemClock, systemRandom);
  const [addresses, times] = [1_000, 5];
  for (let time = 0; time < times; time += 1)
    for (let at = 0; at < addresses; at += 1)
      refusals.note({
        tenantNo: no,
        tenant: 'acme',
        address: `10.0.${Math.floor(at / 256)}.${at % 256}`,
        caller: '',
        fingerprint: `sha256:${at}`,
        claimed: '',
        operation: 'check',
        code: 'unauthenticated',
      });
  await new Promise((resolve) => setTimeout(resolve, 2_300));
  expect(detailsIn(place.folder, no).length).toBe(BURST);
  // What no record was left for is counted, and recorded at the end.
  refusals[Symbol.dispose]();
  const details = await eventually(
    () => Promise.resolve(detailsIn(place.folder, no)),
    (all) => all.reduce((sum, { count }) => sum + count, 0) >= addresses * times,
  );
  expect(details.reduce((sum, { count }) => sum + count, 0)).toBe(addresses * times);
  expect(details.length).toBeLessThan(BURST + 34);
  expect(details.some(({ address }) => address === 'others')).toBe(true);
});
