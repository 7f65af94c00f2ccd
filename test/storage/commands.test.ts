import { describe, expect, test } from 'vitest';
import { type GrantId, tenantId } from '../../src/ids.ts';
import { KEPT_MS } from '../../src/storage/granting/commands.ts';
import { type CredentialEnd, credentialEnd, issuerEnd, killStore } from '../../src/storage/granting/ends.ts';
import { grantStore } from '../../src/storage/grants.ts';
import { MOVED_TABLES } from '../../src/storage/log/commands.ts';
import { recordStore } from '../../src/storage/log/records.ts';
import { openReader } from '../../src/storage/reader.ts';
import type { GrantRow, PrincipalRow, TenantNo } from '../../src/storage/rows.ts';
import type { Writer } from '../../src/storage/writer.ts';
import { agent, grant, principal } from './granting/given.ts';
import { openStore, rowOf, T0, temporaryFolder, tenantNo } from './store.ts';

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
      expect(ok).toEqual({ value: true, index: 0, version: 2 });
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

  test('below a revoked one are counted once, whatever was revoked before', () =>
    withGrants(async (writer, no) => {
      const chain = [grant()];
      while (chain.length < 4) chain.push(grant({ parentId: chain.at(-1)?.id ?? null }));
      for (const each of chain) await writer.run('insertGrant', { tenantNo: no, grant: each });
      const revoked = async (at: number) =>
        (await writer.run('revokeGrant', { tenantNo: no, id: chain[at]?.id ?? grant().id, at: T0 })).value;
      expect([await revoked(3), await revoked(2), await revoked(0), await revoked(1)]).toEqual([
        1,
        1,
        2,
        undefined,
      ]);
    }));
});

test('what was ended stays so where the log of the tenant begins anew, and new grants live', () =>
  withGrants(async (writer, old, folder) => {
    const [ended, killed] = [grant(), grant({ issuer: 'https://other.example' })];
    for (const each of [ended, killed]) await writer.run('insertGrant', { tenantNo: old, grant: each });
    const status = { tenantNo: old, class: 'agent', id: 'a', at: T0 } as const;
    await writer.run('setStatus', { ...status, disabled: true });
    await writer.run('setStatus', { ...status, disabled: false });
    await writer.run('kill', { tenantNo: old, name: issuerEnd(killed.issuer), at: T0 });
    const no = (old + 1) as TenantNo;
    const log = { no, old, setAside: 'acme~1', damage: '', checkpoint: '' };
    await writer.run('restartLog', { id: tenantId('acme'), log });
    const reader = openReader(folder);
    const find = ({ id }: GrantRow) => grantStore(reader).find(no, id)?.revokedAt;
    expect([find(ended), find(killed)]).toEqual([T0, T0]);
    expect(killStore(reader).list(no)).toEqual([{ name: issuerEnd(killed.issuer), at: T0 }]);
    const anew = grant();
    expect((await writer.run('insertGrant', { tenantNo: no, grant: anew })).value).toBe(true);
    expect(find(anew)).toBeNull();
    reader.close();
  }));

test('a grant that was asked for by a credential that was killed meanwhile is not made', () =>
  withGrants(async (writer, no) => {
    const [killed, other] = [credentialEnd('one'), credentialEnd('other')];
    const insert = async (by: readonly CredentialEnd[]) =>
      (await writer.run('insertGrant', { tenantNo: no, grant: grant(), by })).value;
    expect(await insert([killed])).toBe(true);
    const ref = { class: 'agent', id: 'a' } as const;
    const kill = { tenantNo: no, names: [killed], at: T0, ...ref };
    expect((await writer.run('killCredential', kill)).value).toBe(1);
    expect(await insert([killed])).toBeUndefined();
    expect(await insert([other, killed])).toBeUndefined();
    const task = { id: 'task' as GrantId, purpose: 'p', endsAt: T0 + 300_000, budget: {} };
    const node = grant({ id: task.id, task });
    const opened = { tenantNo: no, task: node, grant: grant({ parentId: node.id, depth: 2, task }) };
    expect((await writer.run('openTask', { ...opened, by: [killed] })).value).toBeUndefined();
    expect(await insert([other])).toBe(true);
    await writer.run('restoreCredential', { tenantNo: no, names: [killed] });
    expect(await insert([killed])).toBe(true);
  }));

describe('grants that expired long ago', () => {
  test('go as new ones come, two by two, those below before those above', () =>
    withGrants(async (writer, no, folder) => {
      const insert = (each: GrantRow) => writer.run('insertGrant', { tenantNo: no, grant: each });
      const root = grant();
      const child = grant({ parentId: root.id });
      const leaf = grant({ parentId: child.id, expiresAt: root.expiresAt - 1 });
      for (const each of [root, child, leaf]) await insert(each);
      const reader = openReader(folder);
      const ids = (): unknown[] => reader.prepare('SELECT id FROM grants ORDER BY seq').pluck().all();
      const later = (by: number): GrantRow => {
        const at = root.expiresAt + KEPT_MS + by;
        return grant({ issuedAt: at, expiresAt: at + 1_000 });
      };
      const onTheEdge = later(0);
      await insert(onTheEdge);
      expect(ids()).toEqual([root.id, child.id, onTheEdge.id]);
      const [first, second] = [later(1), later(2)];
      await insert(first);
      expect(ids()).toEqual([onTheEdge.id, first.id]);
      await insert(second);
      expect(ids()).toEqual([onTheEdge.id, first.id, second.id]);
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
        return writer.run('putManifest', { tenantNo: no, hash: String(there), text: '', principals, at: T0 });
      },
    ],
    [
      'when it is taken out of the manifest',
      (writer, no, there) => {
        const principals = there ? [principal(), agent] : [agent];
        return writer.run('putManifest', { tenantNo: no, hash: String(there), text: '', principals, at: T0 });
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
      const manifest = { tenantNo: no, hash: 'h', text: '', principals: [principal(), agent], at: T0 };
      await writer.run('putManifest', manifest);
      const status = { tenantNo: no, class: 'user', id: 'alice', disabled: true, at: T0 } as const;
      await writer.run('setStatus', status);
      await writer.run('putManifest', { ...manifest, hash: 'i' });
      expect((await writer.run('insertGrant', { tenantNo: no, grant: grant() })).value).toBeUndefined();
    }));

  test('drops who was taken out of the manifest, and keeps who came by the API', () =>
    withGrants(async (writer, no, folder) => {
      const put = (principals: PrincipalRow[]) =>
        writer.run('putManifest', {
          tenantNo: no,
          hash: String(principals.length),
          text: '',
          principals,
          at: T0,
        });
      await put([principal({ id: 'm1' }), principal({ id: 'm2' })]);
      await put([principal({ id: 'm2' })]);
      const reader = openReader(folder);
      const ids = reader.prepare('SELECT id FROM principals ORDER BY id').pluck().all();
      expect(ids).toEqual(['a', 'alice', 'm2']);
      reader.close();
    }));
});

test("every table of a tenant goes with it where its log begins anew, or is its log's", () =>
  withGrants(async (_writer, _no, folder) => {
    const reader = openReader(folder);
    const tables = reader
      .prepare<[], string>(
        "SELECT m.name FROM sqlite_master m JOIN pragma_table_info(m.name) c WHERE m.type = 'table' AND c.name = 'tenant_no' ORDER BY 1",
      )
      .pluck()
      .all();
    reader.close();
    const ofTheLog = [
      'checkpoints',
      'cosigned',
      'holds',
      'log_keys',
      'logs',
      'member_keys',
      'ml_dsa_keys',
      'parts',
      'sink_cursors',
      'tiles',
    ];
    expect(tables).toEqual([...MOVED_TABLES, ...ofTheLog].sort());
  }));
