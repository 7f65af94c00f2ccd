import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { leaseStore, type Returned } from '../../src/storage/leases.ts';
import { openReader } from '../../src/storage/reader.ts';
import type { TenantNo } from '../../src/storage/rows.ts';
import { usageStore } from '../../src/storage/usage.ts';
import type { Writer } from '../../src/storage/writer.ts';
import { openStore, temporaryFolder, tenantNo } from './store.ts';

let place: Awaited<ReturnType<typeof temporaryFolder>>;
let writer: Writer;
let reader: ReturnType<typeof openReader>;
let tenants = 0;

beforeAll(async () => {
  place = await temporaryFolder();
  writer = await openStore(place.folder);
  reader = openReader(place.folder);
});
afterAll(async () => {
  reader.close();
  await writer[Symbol.asyncDispose]();
  await place[Symbol.asyncDispose]();
});

const ENDS = 10_000;

async function leased() {
  tenants += 1;
  const no = await tenantNo(writer, `t${tenants}`);
  const count = { meter: 'calls', of: 'subject user:a', since: 0, amount: 10, until: null };
  const run = async (
    { leases = [], ...more }: { leases?: object[]; returned?: Returned[]; used?: string[] },
    at = 0,
    of: TenantNo = no,
  ) =>
    (
      await writer.run('leaseUsage', {
        tenantNo: of,
        leases: leases as never,
        returned: [],
        ...more,
        at,
        ends: at + ENDS,
      })
    ).value;
  const total = (): number =>
    usageStore(reader)
      .of(no, 'calls', 'subject user:a', 0)
      .reduce((sum, { amount }) => sum + amount, 0);
  expect(await run({ leases: [{ ...count, lease: 'one' }] })).toBe(0);
  expect(total()).toBe(10);
  return { no, count, run, total, open: (at: number) => leaseStore(reader).open(no, at) };
}

describe('a lease', () => {
  test('is counted whole, and what is given back is counted no more, once', async () => {
    const { run, total, open } = await leased();
    expect(open(0)).toBe(1);
    expect(await run({ returned: [{ lease: 'one', unused: 4 }] })).toBe(1);
    expect(total()).toBe(6);
    expect(open(0)).toBe(0);
    expect(await run({ returned: [{ lease: 'one', unused: 4 }] })).toBe(0);
    expect(total()).toBe(6);
  });

  test.each([11, -1, 0.5, Number.NaN, Number.MAX_SAFE_INTEGER, Number.POSITIVE_INFINITY])(
    'of 10 gives back no %s',
    async (unused) => {
      const { run, total } = await leased();
      await run({ returned: [{ lease: 'one', unused }] });
      expect(total()).toBe(10);
      // It is still there to be given back as it is to be.
      await run({ returned: [{ lease: 'one', unused: 10 }] });
      expect(total()).toBe(0);
    },
  );

  test('is no other tenant’s to give back', async () => {
    const { run, total } = await leased();
    const other = await leased();
    await run({ returned: [{ lease: 'one', unused: 10 }] }, 0, other.no);
    expect(total()).toBe(10);
    expect(other.total()).toBe(0);
  });

  test('that nobody gave back is used, a minute after its end', async () => {
    const { run, total, open } = await leased();
    expect(open(ENDS)).toBe(1);
    expect(open(ENDS + 1)).toBe(0);
    expect(await run({ returned: [{ lease: 'one', unused: 10 }] }, ENDS + 60_001)).toBe(0);
    expect(total()).toBe(10);
  });

  test('may be given back until then, and is noted as used after it, once', async () => {
    const { run, no } = await leased();
    const used = { used: ['one'] };
    const over = (at: number) => leaseStore(reader).over(no, at, 10);
    expect(await run(used, ENDS + 60_000)).toBeUndefined();
    expect(over(ENDS + 60_000)).toEqual([]);
    expect(over(ENDS + 60_001)).toMatchObject([{ lease: 'one', amount: 10, holder: '', node: '' }]);
    expect(leaseStore(reader).unreported(ENDS + 60_001)).toContain(no);
    expect(await run({ used: ['one', 'another'] }, ENDS + 60_001)).toBeUndefined();
    expect(await run(used, ENDS + 60_001)).toBe(0);
    expect(over(ENDS + 60_001)).toEqual([]);
    expect(await run(used, ENDS + 60_001)).toBeUndefined();
  });

  test('that was given back is noted by nobody, nor is another tenant’s', async () => {
    const { run, no } = await leased();
    const other = await leased();
    await run({ returned: [{ lease: 'one', unused: 0 }] });
    expect(await run({ used: ['one'] }, ENDS + 60_001)).toBeUndefined();
    expect(leaseStore(reader).over(no, ENDS + 60_001, 10)).toEqual([]);
    expect(leaseStore(reader).over(other.no, ENDS + 60_001, 10)).toHaveLength(1);
  });

  test('is not counted where another has counted meanwhile, nor is anything given back then', async () => {
    const { run, total, count } = await leased();
    const two = { ...count, lease: 'two', seen: { from: 0, total: 9 } };
    expect(await run({ leases: [two], returned: [{ lease: 'one', unused: 10 }] })).toBeUndefined();
    expect(total()).toBe(10);
    expect(
      await run({
        leases: [{ ...two, seen: { from: 0, total: 10 } }],
        returned: [{ lease: 'one', unused: 3 }],
      }),
    ).toBe(1);
    expect(total()).toBe(17);
  });
});
