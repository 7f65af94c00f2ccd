import { expect, test } from 'vitest';
import { Presence } from '../../src/audit/presence.ts';
import { systemRandom } from '../../src/effects.ts';
import { recordStore } from '../../src/storage/log/records.ts';
import { openReader } from '../../src/storage/reader.ts';
import type { TenantNo } from '../../src/storage/rows.ts';
import type { Writer } from '../../src/storage/writer.ts';
import { faultOf } from '../e2e/record-schema.ts';
import { openStore, T0, temporaryFolder, tenantNo } from '../storage/store.ts';

const presenceIn = (writer: Writer, no: TenantNo, version: string, clock = () => T0): Presence =>
  new Presence({
    writer,
    node: 'main',
    version,
    tenants: [{ no }],
    revisionOf: () => 'sha256:x',
    clock,
    random: systemRandom,
  });

interface Body {
  input: { action: { name: string } };
  detail: { before?: object | null };
}

function saidIn(folder: string, no: TenantNo): [string, object | null | undefined][] {
  const db = openReader(folder);
  const texts = recordStore(db)
    .range(no, 0, 100)
    .map(({ body }) => Buffer.from(body).toString());
  db.close();
  for (const text of texts) expect(faultOf(text)).toBeUndefined();
  return texts.map((text) => {
    const { input, detail } = JSON.parse(text) as Body;
    return [input.action.name, detail.before];
  });
}

test('a server that was killed is told by the one after it, and one that stopped as well', async () => {
  await using place = await temporaryFolder();
  let no: TenantNo;
  {
    await using writer = await openStore(place.folder);
    no = await tenantNo(writer, 'acme');
    await presenceIn(writer, no, '1.0.0').begin();
    // It does not come to say that it ends.
  }
  {
    await using writer = await openStore(place.folder);
    await using presence = presenceIn(writer, no, '1.0.1', () => T0 + 1_000);
    await presence.begin();
  }
  await using writer = await openStore(place.folder);
  await presenceIn(writer, no, '1.0.2').begin();
  const [began, later] = ['2026-01-01T00:00:00.000Z', '2026-01-01T00:00:01.000Z'];
  expect(saidIn(place.folder, no)).toEqual([
    ['server.start', null],
    ['server.start', { version: '1.0.0', node: 'main', began, ended: 'without a stop' }],
    ['server.stop', undefined],
    ['server.start', { version: '1.0.1', node: 'main', began: later, ended: later }],
  ]);
});

test('one that never began has nothing to end, and a log that takes no record keeps none from starting', async () => {
  await using place = await temporaryFolder();
  await using writer = await openStore(place.folder);
  const no = await tenantNo(writer, 'acme');
  await presenceIn(writer, no, '1.0.0')[Symbol.asyncDispose]();
  expect(saidIn(place.folder, no)).toEqual([]);
  await writer.run('closeLog', { fault: { tenantNo: no, text: 'damaged', lasts: true } });
  await using presence = presenceIn(writer, no, '1.0.0');
  await presence.begin();
  expect(saidIn(place.folder, no)).toEqual([]);
});
