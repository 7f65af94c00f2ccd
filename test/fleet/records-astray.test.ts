import { cp, mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { connect } from '../e2e/requests.ts';
import { bodyOf, decided, idsOf, Kept, metric, queried } from './kept.ts';

/** Sidecars that are not what they were, or another: their records are refused, and what was kept stays. */

let kept: Kept;

beforeAll(async () => {
  kept = await Kept.open();
});

afterAll(() => kept[Symbol.asyncDispose]());

test('one whose store was put back is told apart, at once and after it has grown', async () => {
  const sidecar = await kept.sidecar('restored');
  const early = await decided(sidecar, 10);
  await kept.arrived('restored', early);
  await sidecar.stop();
  const copy = await mkdtemp(path.join(tmpdir(), 'mandate-copy-'));
  await cp(sidecar.folder, copy, { recursive: true });
  const before = await (async () => {
    await using later = await kept.sidecar('restored', { folder: sidecar.folder });
    const late = await decided(later, 10);
    return await kept.arrived('restored', [...early, ...late]);
  })();
  await using back = await kept.sidecar('restored', { folder: copy });
  await decided(back, 1);
  await kept.refused(back, 'restored', /was put back/);
  // It grows beyond what is kept, with another history.
  await decided(back, 40);
  await kept.refused(back, 'restored', /are not those|is another than/);
  const asked = { node: 'restored', kind: 'decision', oldestFirst: true };
  expect(await queried(kept.authority, asked)).toEqual(before);
  const refusals = await queried(kept.authority, { node: 'main', action: 'log.refuse', oldestFirst: true });
  expect(refusals.map((each) => bodyOf(each)['detail'])).toMatchObject([
    { node: 'restored', kind: 'rollback' },
    { node: 'restored', kind: 'history' },
  ]);
  expect(await metric(kept.authority, 'mandate_received_refused_total')).toBeGreaterThan(0);
  expect(await metric(back, 'mandate_shipping_failing')).toBe(1);
  // Its own log is whole, and it decides.
  await decided(back, 1);
});

test('a second one of the same name is refused, and the first goes on', async () => {
  await using first = await kept.sidecar('twin');
  const ids = await decided(first, 10);
  await kept.arrived('twin', ids);
  await using second = await kept.sidecar('twin');
  await decided(second, 10);
  await kept.refused(second, 'twin', /another key/);
  const more = await decided(first, 10);
  expect(idsOf(await kept.arrived('twin', more))).toEqual([...ids, ...more]);
});

test('one that lost its disk begins a new log once somebody has said so', async () => {
  const lost = await kept.sidecar('fragile');
  const ids = await decided(lost, 5);
  await kept.arrived('fragile', ids);
  await lost[Symbol.asyncDispose]();
  await using anew = await kept.sidecar('fragile');
  const more = await decided(anew, 5);
  await kept.refused(anew, 'fragile', /it lost its disk/);
  const renew = (node: string) =>
    connect(kept.authority.admin, 'AuditService/RenewLog', { tenant: 'acme', node });
  expect(await renew('fragile')).toMatchObject({ status: 200, body: { node: 'fragile.1' } });
  expect(idsOf(await kept.arrived('fragile', more))).toEqual(more);
  const old = await queried(kept.authority, { node: 'fragile.1', kind: 'decision', oldestFirst: true });
  expect(idsOf(old)).toEqual(ids);
  expect((await renew('nobody')).status).toBe(404);
});
