import { afterAll, beforeAll, expect, test } from 'vitest';
import { isProved, isSigned, keyOf, receiptOf, stated } from '../e2e/log-by-hand.ts';
import { connect, request } from '../e2e/requests.ts';
import { eventually } from '../e2e/server.ts';
import { decided, idsOf, Kept, logsAt, metric, problems, queried, type RecordJson } from './kept.ts';

/** Sidecars' records at their authority: all of them, each once, each tenant's apart. */

let kept: Kept;

beforeAll(async () => {
  kept = await Kept.open();
});

afterAll(() => kept[Symbol.asyncDispose]());

test('are there in their order, and proved by the key of the sidecar', async () => {
  await using sidecar = await kept.sidecar('one');
  const ids = await decided(sidecar, 40);
  const records = await kept.arrived('one', ids);
  expect(idsOf(records)).toEqual(ids);
  const { authority } = kept;
  const [[own], other] = [await logsAt(sidecar), await kept.log('one')];
  expect(other).toMatchObject({ origin: own?.origin, key: own?.key, sender: 'operator:sidecars' });
  const key = keyOf(own?.key ?? '');
  const note = await request<{ text: string }>(`${authority.admin}/t/acme/log/one/checkpoint`);
  expect(isSigned(stated(note.body.text), key)).toBe(true);
  const { index } = records[7] as RecordJson;
  const asked = { tenant: 'acme', node: 'one', index };
  const receipt = await connect<{ proof: string }>(authority.admin, 'AuditService/Receipt', asked);
  expect(isProved(receiptOf(receipt.body.proof), key)).toBe(true);
  expect(await metric(authority, 'mandate_received_records_total')).toBeGreaterThanOrEqual(40);
  await eventually(
    () => metric(sidecar, 'mandate_shipping_lag_records'),
    (lag) => lag === 0,
  );
});

test('wait while the authority cannot be reached, and come after', async () => {
  await using sidecar = await kept.sidecar('patient');
  const before = await decided(sidecar, 5);
  await kept.arrived('patient', before);
  kept.line.cut();
  const during = await decided(sidecar, 300);
  await eventually(
    () => metric(sidecar, 'mandate_shipping_lag_records'),
    (lag) => lag >= 300,
  );
  await eventually(
    () => problems(sidecar),
    (text) => /records for .*wait in the log/.test(text),
  );
  kept.line.mend();
  const records = await kept.arrived('patient', during);
  expect(idsOf(records)).toEqual([...before, ...during]);
  await eventually(
    () => problems(sidecar),
    (text) => !/records for/.test(text),
  );
});

test('go on where a sidecar stopped', async () => {
  const sidecar = await kept.sidecar('steady');
  const first = await decided(sidecar, 20);
  await sidecar.stop();
  await using again = await kept.sidecar('steady', { folder: sidecar.folder });
  const second = await decided(again, 20);
  expect(idsOf(await kept.arrived('steady', [...first, ...second]))).toEqual([...first, ...second]);
  // What it recorded when it stopped, and began again, is between them.
  const all = await queried(kept.authority, { node: 'steady', oldestFirst: true });
  expect(all.map(({ index }) => Number(index ?? 0))).toEqual(all.map((_, at) => at));
  expect(Number((await kept.log('steady'))?.kept)).toBeGreaterThanOrEqual(all.length);
});

test('of a tenant are nowhere in those of another', async () => {
  await using sidecar = await kept.sidecar('apart');
  const [ours, theirs] = [await decided(sidecar, 5), await decided(sidecar, 7, 'globex')];
  expect(idsOf(await kept.arrived('apart', ours))).toEqual(ours);
  expect(idsOf(await kept.arrived('apart', theirs, 'globex'))).toEqual(theirs);
  const all = new Set(idsOf(await queried(kept.authority, { tenant: 'globex' })));
  expect(ours.some((id) => all.has(id))).toBe(false);
});

test('stay where they are if it is configured so', async () => {
  const { authority, line } = kept;
  const own = { admin: line.url, data: authority.data, records: 'kept' as const };
  await using quiet = await kept.sidecar('quiet', { authority: own });
  await decided(quiet, 3);
  await using loud = await kept.sidecar('loud');
  await kept.arrived('loud', await decided(loud, 3));
  expect(await kept.log('quiet')).toBeUndefined();
});
