import { describe, expect, test } from 'vitest';
import { recordStore } from '../../src/storage/log/records.ts';
import { openReader } from '../../src/storage/reader.ts';
import type { TenantNo } from '../../src/storage/rows.ts';
import { appendRows, openStore, rowOf, T0, temporaryFolder, tenantNo } from './store.ts';

const counted = (from: number, count: number): number[] =>
  Array.from({ length: count }, (_, at) => from + at);

describe('indexes', () => {
  test('count up without a gap in each tenant, whatever runs at once and across reopening', async () => {
    await using place = await temporaryFolder();
    const sizes: Record<string, number> = { acme: 0, globex: 0 };
    for (let opening = 0; opening < 3; opening += 1) {
      await using writer = await openStore(place.folder);
      const tenants = { acme: await tenantNo(writer, 'acme'), globex: await tenantNo(writer, 'globex') };
      const appended: { tenant: string; index: number }[] = [];
      await Promise.all(
        counted(0, 300).map(async (at) => {
          const tenant = at % 3 === 0 ? 'globex' : 'acme';
          // Some in the same turn, some in later ones: batches of all sizes.
          for (let turn = 0; turn < at % 5; turn += 1) await new Promise((resolve) => setImmediate(resolve));
          appended.push({ tenant, index: await writer.append(rowOf(tenants[tenant])) });
        }),
      );
      for (const tenant of ['acme', 'globex']) {
        const indexes = appended.filter((each) => each.tenant === tenant).map(({ index }) => index);
        expect(indexes.toSorted((a, b) => a - b)).toEqual(counted(sizes[tenant] ?? 0, indexes.length));
        sizes[tenant] = (sizes[tenant] ?? 0) + indexes.length;
      }
    }
  });

  test('name the record that was appended, in the order of the calls', async () => {
    await using place = await temporaryFolder();
    await using writer = await openStore(place.folder);
    const no = await tenantNo(writer, 'acme');
    const rows = counted(0, 50).map((at) => rowOf(no, { time: T0 + at }));
    const indexes = await appendRows(writer, rows);
    expect(indexes).toEqual(counted(0, 50));
    const reader = openReader(place.folder);
    const stored = recordStore(reader).range(no, 0, 100);
    expect(stored.map(({ body }) => Buffer.from(body).toString())).toEqual(rows.map(({ body }) => body));
    reader.close();
  });

  test('leave no gap behind an entry that fails, nor does it take its neighbours down', async () => {
    await using place = await temporaryFolder();
    await using writer = await openStore(place.folder);
    const no = await tenantNo(writer, 'acme');
    // A tenant number that no row id has room for.
    const bad = { ...rowOf(no), tenantNo: (2 ** 31) as TenantNo };
    const results = await Promise.allSettled([
      writer.append(rowOf(no)),
      writer.append(bad),
      writer.append(rowOf(no)),
    ]);
    expect(results).toMatchObject([
      { status: 'fulfilled', value: 0 },
      { status: 'rejected', reason: { code: 'audit_unavailable' } },
      { status: 'fulfilled', value: 1 },
    ]);
    expect(writer.problem).toBe('');
    await expect(writer.append(bad)).rejects.toMatchObject({ code: 'audit_unavailable' });
    expect(writer.problem).toBe('the last commit failed');
  });

  test('of a parcel are those of one commit, all or none, whatever comes with it', async () => {
    await using place = await temporaryFolder();
    await using writer = await openStore(place.folder);
    const no = await tenantNo(writer, 'acme');
    const bad = { ...rowOf(no), tenantNo: (2 ** 31) as TenantNo };
    const results = await Promise.allSettled([
      writer.append(rowOf(no)),
      appendRows(writer, [rowOf(no), bad, rowOf(no)]),
      appendRows(writer, [rowOf(no), rowOf(no)]),
      writer.append(rowOf(no)),
    ]);
    expect(results).toMatchObject([
      { status: 'fulfilled', value: 0 },
      { status: 'rejected', reason: { code: 'audit_unavailable' } },
      { status: 'fulfilled', value: [1, 2] },
      { status: 'fulfilled', value: 3 },
    ]);
  });

  test('stay right across the borders of runs, whoever shares a commit', async () => {
    await using place = await temporaryFolder();
    await using writer = await openStore(place.folder);
    const tenants = [await tenantNo(writer, 'acme'), await tenantNo(writer, 'globex')];
    const expected = new Map<number, string[]>(tenants.map((no) => [no, []]));
    let serial = 0;
    // Commits of many sizes; two tenants in turns of one to three records.
    for (const size of [1, 254, 3, 700, 1, 255, 257]) {
      const rows = counted(0, size).map((at) => {
        const no = tenants[Math.floor(at / (1 + (size % 3))) % 2] as TenantNo;
        const input = JSON.stringify({ n: (serial += 1), text: 'é'.repeat(serial % 50) });
        expected.get(no)?.push(input);
        return rowOf(no, { input });
      });
      await Promise.all([
        appendRows(writer, rows.slice(0, size / 2)),
        ...rows.slice(size / 2).map((row) => writer.append(row)),
      ]);
    }
    const reader = openReader(place.folder);
    const store = recordStore(reader);
    for (const [no, inputs] of expected) {
      const stored = store.range(no as TenantNo, 0, 10_000);
      expect(stored.map(({ index }) => index)).toEqual(counted(0, inputs.length));
      const read = stored.map(({ body }) =>
        JSON.stringify((JSON.parse(Buffer.from(body).toString()) as { input: unknown }).input),
      );
      expect(read).toEqual(inputs);
      expect(store.range(no as TenantNo, 300, 2)).toEqual(stored.slice(300, 302));
      expect(store.size(no as TenantNo)).toBe(inputs.length);
    }
    reader.close();
  });

  test('are resolved only when another connection can read the record', async () => {
    await using place = await temporaryFolder();
    await using writer = await openStore(place.folder);
    const no = await tenantNo(writer, 'acme');
    const reader = openReader(place.folder);
    const store = recordStore(reader);
    await Promise.all(
      counted(0, 200).map(async () => {
        const index = await writer.append(rowOf(no));
        expect(store.range(no, index, 1)).toHaveLength(1);
      }),
    );
    reader.close();
  });
});
