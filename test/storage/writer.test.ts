import { describe, expect, test } from 'vitest';
import type { GrantId } from '../../src/ids.ts';
import { openReader } from '../../src/storage/database.ts';
import { grantStore } from '../../src/storage/grants.ts';
import { recordStore } from '../../src/storage/log/records.ts';
import type { GrantRow, PrincipalRow, TenantNo } from '../../src/storage/rows.ts';
import type { Writer } from '../../src/storage/writer.ts';
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
    expect(writer.healthy).toBe(true);
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

const principal = (changes: Partial<PrincipalRow> = {}): PrincipalRow => ({
  class: 'user',
  id: 'alice',
  groups: [],
  roles: [],
  scopes: [],
  properties: {},
  ...changes,
});

const agent = principal({ class: 'agent', id: 'a' });

let grants = 0;
const grant = (changes: Partial<GrantRow> = {}): GrantRow => ({
  id: `grant-${(grants += 1)}` as GrantId,
  parentId: null,
  depth: 1,
  subject: { class: 'user', id: 'alice' },
  actors: [{ class: 'agent', id: 'a' }],
  scopes: ['read'],
  audience: 'docs',
  issuedAt: T0,
  expiresAt: T0 + 300_000,
  revokedAt: null,
  ...changes,
});

async function withGrants(
  use: (writer: Writer, no: TenantNo, folder: string) => Promise<void>,
): Promise<void> {
  await using place = await temporaryFolder();
  await using writer = await openStore(place.folder);
  const no = await tenantNo(writer, 'acme');
  await writer.run('putPrincipals', { tenantNo: no, principals: [principal(), agent], at: T0 });
  await use(writer, no, place.folder);
}

describe('grants', () => {
  test('are inserted with their record or not at all', () =>
    withGrants(async (writer, no, folder) => {
      const parent = grant();
      const ok = await writer.run('insertGrant', { tenantNo: no, grant: parent }, rowOf(no));
      expect(ok).toEqual({ value: true, index: 0 });
      const revoke = { tenantNo: no, id: parent.id, at: T0 + 1 };
      expect((await writer.run('revokeGrant', revoke, rowOf(no))).value).toBe(1);
      const child = grant({ parentId: parent.id, depth: 2 });
      expect(await writer.run('insertGrant', { tenantNo: no, grant: child }, rowOf(no))).toEqual({
        value: undefined,
        index: -1,
      });
      // Nothing left to revoke: no record either.
      expect(await writer.run('revokeGrant', revoke, rowOf(no))).toEqual({ value: undefined, index: -1 });
      const reader = openReader(folder);
      expect(recordStore(reader).size(no)).toBe(2);
      expect(grantStore(reader).find(no, child.id)).toBeUndefined();
      reader.close();
    }));

  test('are not inserted below a parent that ends sooner, nor for a principal that is disabled or unknown', () =>
    withGrants(async (writer, no) => {
      const parent = grant({ expiresAt: T0 + 60_000 });
      await writer.run('insertGrant', { tenantNo: no, grant: parent });
      const insert = async (changes: Partial<GrantRow>) =>
        (await writer.run('insertGrant', { tenantNo: no, grant: grant(changes) })).value;
      expect(await insert({ parentId: parent.id, expiresAt: T0 + 60_001 })).toBeUndefined();
      expect(await insert({ parentId: parent.id, expiresAt: T0 + 60_000 })).toBe(true);
      expect(await insert({ subject: { class: 'user', id: 'nobody' } })).toBeUndefined();
      expect(
        await insert({
          actors: [
            { class: 'agent', id: 'a' },
            { class: 'agent', id: 'gone' },
          ],
        }),
      ).toBeUndefined();
      const status = { tenantNo: no, class: 'agent', id: 'a', at: T0 } as const;
      await writer.run('setStatus', { ...status, disabled: true });
      expect(await insert({})).toBeUndefined();
    }));

  test('below a revoked one are revoked with it, those of another tenant are not', () =>
    withGrants(async (writer, no, folder) => {
      const other = await tenantNo(writer, 'globex');
      await writer.run('putPrincipals', { tenantNo: other, principals: [principal(), agent], at: T0 });
      const root = grant();
      const child = grant({ parentId: root.id });
      const leaf = grant({ parentId: child.id });
      for (const each of [root, child, leaf]) {
        await writer.run('insertGrant', { tenantNo: no, grant: each });
        await writer.run('insertGrant', { tenantNo: other, grant: each });
      }
      const { value } = await writer.run('revokeGrant', { tenantNo: no, id: root.id, at: T0 });
      expect(value).toBe(3);
      const reader = openReader(folder);
      const store = grantStore(reader);
      for (const { id } of [root, child, leaf]) {
        expect(store.find(no, id)?.revokedAt).toBe(T0);
        expect(store.find(other, id)?.revokedAt).toBeNull();
      }
      reader.close();
    }));
});

describe('grants of a principal end for good', () => {
  const cases: [string, (writer: Writer, no: TenantNo, there: boolean) => Promise<unknown>][] = [
    [
      'when the API disables it',
      (writer, no, there) =>
        writer.run('putPrincipals', { tenantNo: no, principals: [principal({ disabled: !there })], at: T0 }),
    ],
    [
      'when the manifest disables it',
      (writer, no, there) => {
        const principals = [principal({ disabled: !there }), agent];
        return writer.run('putManifest', { tenantNo: no, hash: String(there), principals, at: T0 });
      },
    ],
    [
      'when it is taken out of the manifest',
      (writer, no, there) => {
        const principals = there ? [principal(), agent] : [agent];
        return writer.run('putManifest', { tenantNo: no, hash: String(there), principals, at: T0 });
      },
    ],
  ];
  test.each(cases)('%s', (_, put) =>
    withGrants(async (writer, no, folder) => {
      await put(writer, no, true);
      const root = grant();
      const child = grant({ parentId: root.id, depth: 2 });
      const bystander = grant({ subject: { class: 'agent', id: 'a' } });
      for (const each of [root, child, bystander])
        await writer.run('insertGrant', { tenantNo: no, grant: each });
      await put(writer, no, false);
      await put(writer, no, true);
      const reader = openReader(folder);
      const store = grantStore(reader);
      expect([root, child, bystander].map(({ id }) => store.find(no, id)?.revokedAt)).toEqual([T0, T0, null]);
      reader.close();
    }),
  );
});

describe('the directory', () => {
  test('keeps a principal disabled when its manifest is read again', () =>
    withGrants(async (writer, no) => {
      const manifest = { tenantNo: no, hash: 'h', principals: [principal(), agent], at: T0 };
      await writer.run('putManifest', manifest);
      const status = { tenantNo: no, class: 'user', id: 'alice', disabled: true, at: T0 } as const;
      await writer.run('setStatus', status);
      await writer.run('putManifest', { ...manifest, hash: 'i' });
      expect((await writer.run('insertGrant', { tenantNo: no, grant: grant() })).value).toBeUndefined();
    }));

  test('drops who was taken out of the manifest, and keeps who came by the API', () =>
    withGrants(async (writer, no, folder) => {
      const put = (principals: PrincipalRow[]) =>
        writer.run('putManifest', { tenantNo: no, hash: String(principals.length), principals, at: T0 });
      await put([principal({ id: 'm1' }), principal({ id: 'm2' })]);
      await put([principal({ id: 'm2' })]);
      const reader = openReader(folder);
      const ids = reader.prepare('SELECT id FROM principals ORDER BY id').pluck().all();
      expect(ids).toEqual(['a', 'alice', 'm2']);
      reader.close();
    }));
});
