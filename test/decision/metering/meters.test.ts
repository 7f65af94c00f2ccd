import { expect, test } from 'vitest';
import { inMillionths } from '../../../src/decision/metering/amount.ts';
import { beginning, Counter, oldest, spanOf } from '../../../src/decision/metering/counter.ts';
import { Meters } from '../../../src/decision/metering/meters.ts';
import { asStated } from '../../../src/decision/principal.ts';
import { grantStore } from '../../../src/storage/grants.ts';
import { openReader } from '../../../src/storage/reader.ts';
import { usageStore } from '../../../src/storage/usage.ts';
import { parseManifest } from '../../../src/tenancy/manifest.ts';
import type { Tenant } from '../../../src/tenancy/tenants.ts';
import { openStore, rowOf, temporaryFolder, tenantNo } from '../../storage/store.ts';

const HOUR = 3_600_000;

const declared = {
  id: 'acme',
  meters: {
    exports: { actions: ['export'], per: 'subject' },
    recent: { actions: ['export'], per: 'subject', window: '1h' },
  },
};

async function opened() {
  const place = await temporaryFolder();
  const writer = await openStore(place.folder);
  const reader = openReader(place.folder);
  const no = await tenantNo(writer, 'acme');
  const tenant = { no, id: 'acme', manifest: parseManifest(declared, 'tenant.yaml') } as unknown as Tenant;
  const learned: (() => void)[] = [];
  const meters = (): Meters =>
    new Meters({
      store: usageStore(reader),
      grants: grantStore(reader),
      doubt: { settle: (learn) => void learned.push(learn) },
    });
  const request = {
    principal: { stated: { class: 'user', id: 'u' }, properties: undefined },
    action: { name: 'export' },
    resource: { type: 'document', id: 'd' },
    context: undefined,
    audience: undefined,
    approval: undefined,
  } as const;
  const look = (of: Meters, now = 0, manifest: object = declared) => {
    const asked =
      manifest === declared ? tenant : { ...tenant, manifest: parseManifest(manifest, 'changed') };
    const usage = of.look(asked, request, asStated({ class: 'user', id: 'u' }), now, 'act');
    if (!usage) throw new Error('it meets no meter');
    return usage;
  };
  return {
    writer,
    no,
    meters,
    look,
    learned,
    [Symbol.asyncDispose]: async () => {
      reader.close();
      await writer[Symbol.asyncDispose]();
      await place[Symbol.asyncDispose]();
    },
  };
}

test('what is on its way counts, and what the store did not answer counts until it can tell', async () => {
  await using place = await opened();
  const { writer, look, learned } = place;
  const meters = place.meters();
  const first = look(meters).take();
  expect(look(meters).seen).toEqual({ exports: 1, recent: 1 });
  const second = look(meters).take();
  expect(look(meters).seen['exports']).toBe(2);
  if (!first || !second) throw new Error('nothing was counted');
  await first.by(writer.run('countUsage', first.command));
  await expect(second.by(Promise.reject(new Error('the disk')))).rejects.toThrow('the disk');
  expect(look(meters).seen['exports']).toBe(2);
  expect(learned).toHaveLength(2);
  const third = look(meters).take();
  for (const learn of learned.splice(0)) learn();
  // Something is on its way that the store does not know.
  expect(look(meters).seen['exports']).toBe(3);
  await third?.by(writer.run('countUsage', third.command));
  expect(look(meters).seen['exports']).toBe(2);
  // What was given up on and came to the store all the same.
  await writer.run('countUsage', second.command);
  expect(look(place.meters()).seen['exports']).toBe(3);
});

test('what the store never tried does not count, and is not in doubt', async () => {
  await using place = await opened();
  const { writer, look, learned } = place;
  const meters = place.meters();
  writer.limit(place.no, { bytesPerSecond: undefined, bytes: 1 });
  for (let each = 0; each < 3; each += 1) {
    const taken = look(meters).take();
    if (!taken) throw new Error('nothing was counted');
    await expect(taken.by(writer.run('countUsage', taken.command, rowOf(place.no)))).rejects.toMatchObject({
      code: 'resource_exhausted',
    });
  }
  expect(look(meters).seen['exports']).toBe(0);
  expect(learned).toHaveLength(0);
});

test('while the store cannot tell, no more is kept than so much of each tenant', async () => {
  await using place = await opened();
  const { look, learned } = place;
  const meters = place.meters();
  const fails = async (): Promise<void> => {
    const taken = look(meters).take();
    await taken?.by(Promise.reject(new Error('the disk'))).catch(() => undefined);
  };
  await expect(
    (async () => {
      for (let each = 0; each < 20_000; each += 1) await fails();
    })(),
  ).rejects.toMatchObject({ code: 'audit_unavailable' });
  expect(learned.length).toBeLessThanOrEqual(10_001);
  for (const learn of learned.splice(0)) learn();
  expect(look(meters).seen).toEqual({ exports: 0, recent: 0 });
});

test('a window is never shorter than it says, and longer by a sixtieth at most', async () => {
  await using place = await opened();
  const meters = place.meters();
  const begun = 7 * HOUR + 12_345;
  const taken = place.look(meters, begun).take();
  await taken?.by(place.writer.run('countUsage', taken.command));
  for (const each of [meters, place.meters()]) {
    expect(place.look(each, begun + HOUR).seen).toEqual({ exports: 1, recent: 1 });
    expect(place.look(each, begun + HOUR + 2 * 60_000).seen).toEqual({ exports: 1, recent: 0 });
    expect(place.look(each, begun).seen).toEqual({ exports: 1, recent: 1 });
  }
});

test('a window that is made longer sees what was before, also while something is on its way', async () => {
  await using place = await opened();
  const { writer } = place;
  const meters = place.meters();
  for (let each = 0; each < 3; each += 1) {
    const taken = place.look(meters, HOUR).take();
    await taken?.by(writer.run('countUsage', taken.command));
  }
  // They are given up.
  expect(place.look(meters, 3 * HOUR).seen['recent']).toBe(0);
  const onItsWay = place.look(meters, 3 * HOUR).take();
  const day = { ...declared.meters, recent: { ...declared.meters.recent, window: '1d' } };
  const changed = { ...declared, meters: day };
  expect(place.look(meters, 3 * HOUR, changed).seen).toEqual({ exports: 4, recent: 4 });
  await onItsWay?.by(writer.run('countUsage', onItsWay.command));
  expect(place.look(meters, 3 * HOUR, changed).seen).toEqual({ exports: 4, recent: 4 });
});

test('spans begin where they should', () => {
  expect(spanOf(HOUR)).toBe(60_000);
  expect(beginning(125_000, HOUR)).toBe(120_000);
  expect(beginning(125_000, undefined)).toBe(0);
  expect(oldest(HOUR + 59_999, HOUR)).toBe(0);
  expect(oldest(HOUR + 60_000, HOUR)).toBe(60_000);
});

test('a counter tells what it has given up', () => {
  const counter = new Counter(
    [
      { since: 5, amount: 1 },
      { since: 10, amount: 2 },
    ],
    5,
  );
  expect(counter.total(5)).toBe(3);
  expect(counter.total(10)).toBe(2);
  expect(counter.has(5)).toBe(false);
  expect(counter.has(10)).toBe(true);
});

test('a counter that is never idle goes through no more and no more spans', () => {
  const counter = new Counter([], 0);
  counter.pending = 1;
  for (let since = 0; since < 100_000; since += 1) {
    counter.add(since, 1);
    expect(counter.total(since - 60)).toBe(Math.min(since + 1, 61));
  }
  expect(counter.has(50_000)).toBe(false);
  const before = counter.total(99_939);
  // What failed long after it was taken gives no room to what comes now, whatever the clock says then.
  counter.takeBack(10, 1_000);
  expect(counter.total(99_939)).toBe(before);
  expect(counter.total(0)).toBeGreaterThanOrEqual(before);
});

test.each([
  [0, 0],
  [1, 1_000_000],
  [0.1, 100_000],
  [1234.56, 1_234_560_000],
  [0.000_001, 1],
  [0.000_000_1, undefined],
  [-0.1, undefined],
  [9_007_199_254, 9_007_199_254_000_000],
  [9_007_199_255, undefined],
  [Number.NaN, undefined],
  ['1', undefined],
])('%s is %s millionths', (value, amount) => {
  expect(inMillionths(value)).toBe(amount);
});
