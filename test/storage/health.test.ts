import { afterEach, beforeEach, expect, test } from 'vitest';
import { reportFault, setAsideChannel } from '../../src/storage/faults.ts';
import { StoreHealth } from '../../src/storage/health.ts';
import { damagedRecords } from '../../src/storage/log/damage.ts';
import type { TenantNo } from '../../src/storage/rows.ts';

/** What is held against a store, and until when. */

const [acme, globex] = [1, 2] as TenantNo[] as [TenantNo, TenantNo];
const setAside = (tenantNo: TenantNo): void => setAsideChannel.publish({ tenantNo });

let health: StoreHealth;
beforeEach(() => {
  health = new StoreHealth();
});
afterEach(() => health[Symbol.dispose]());

test('it is ready until something is wrong, and names whose', () => {
  expect([health.ready, health.problems(), health.ofTenants()]).toEqual([true, [], []]);
  reportFault(damagedRecords(acme, 3, 4));
  reportFault(damagedRecords(acme, 3, 4));
  expect(health.ready).toBe(false);
  expect(health.problems()).toEqual(['store: it is damaged: a log has records that cannot be read']);
  expect(health.ofTenants()).toEqual([damagedRecords(acme, 3, 4)]);
});

test('of a log with much damage the first twenty are kept, and those of another log beside them', () => {
  for (let index = 0; index < 60; index += 2) reportFault(damagedRecords(acme, index, index + 1));
  reportFault(damagedRecords(globex, 7, 8));
  reportFault({ text: 'it is damaged: a page', lasts: true });
  const told = health.ofTenants();
  expect(told.filter(({ tenantNo }) => tenantNo === acme)).toHaveLength(20);
  expect(told).toContainEqual(damagedRecords(globex, 7, 8));
  expect(health.problems()).toContain('store: it is damaged: a page');
  setAside(acme);
  expect([health.ready, health.ofTenants()]).toEqual([false, [damagedRecords(globex, 7, 8)]]);
});

test('what was set aside is held against nobody, before and after', () => {
  reportFault(damagedRecords(acme, 3, 4));
  setAside(acme);
  expect(health.ready).toBe(true);
  reportFault(damagedRecords(acme, 5, 6));
  expect([health.ready, health.ofTenants()]).toEqual([true, []]);
});

test('what may pass is doubted for a while, and does not last', () => {
  reportFault({ text: 'it fails: disk I/O error', lasts: false });
  expect([health.ready, health.problems()]).toEqual([false, ['store: it fails: disk I/O error']]);
});
