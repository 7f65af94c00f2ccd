import { expect, test } from 'vitest';
import type { GrantId } from '../../../src/ids.ts';
import { encodeArgs } from '../../../src/storage/changes/body.ts';
import { copyOf } from '../../../src/storage/changes/copy.ts';
import { changeStore } from '../../../src/storage/changes/store.ts';
import { openReader } from '../../../src/storage/reader.ts';
import { agent, grant, principal } from '../granting/given.ts';
import { openStore, T0, temporaryFolder, tenantNo } from '../store.ts';

/** What a newer version says, and this one does not know: it is taken where it says nothing, and otherwise named and not made in part. */

const id = 'g' as GrantId;
const setStatus = { class: 'user', id: 'alice', disabled: true, at: T0 };

test.each<[string, string, object]>([
  ['freezeGrant', 'freezeGrant', { id: 'g' }],
  ['setStatus.until', 'setStatus', { ...setStatus, until: T0 + 1 }],
  ['setStatus.until', 'setStatus', { ...setStatus, until: 0 }],
  ['setStatus.__proto__', 'setStatus', JSON.parse('{"__proto__": {"disabled": false}}')],
  ['insertGrant.grant.purpose', 'insertGrant', { grant: { ...grant({ id }), purpose: 'support' } }],
  [
    'insertGrant.grant.subject.device',
    'insertGrant',
    { grant: { ...grant({ id }), subject: { class: 'user', id: 'alice', device: 'd' } } },
  ],
  [
    'putPrincipals.principals.1.risk',
    'putPrincipals',
    { principals: [principal(), { ...principal(), risk: 'high' }], at: T0 },
  ],
  ['revokeGrant.id.only', 'revokeGrant', { id: { only: 'below' }, at: T0 }],
])('a change is refused for %s', async (said, name, args) => {
  await using place = await temporaryFolder();
  await using writer = await openStore(place.folder);
  const no = await tenantNo(writer, 'acme');
  await writer.run('putManifest', {
    tenantNo: no,
    hash: 'h',
    text: '',
    principals: [principal(), agent],
    at: T0,
  });
  const reader = openReader(place.folder);
  try {
    const before = reader.prepare('SELECT * FROM principals').all();
    const { version } = changeStore(reader).at(no);
    const change = { tenantNo: no, version: version + 1, name, body: encodeArgs(args) };
    await expect(writer.run('applyChange', change)).rejects.toMatchObject({
      detail: `${said} is no change that this version knows; upgrade Mandate here`,
    });
    expect(changeStore(reader).at(no).version).toBe(version);
    expect(reader.prepare('SELECT * FROM principals').all()).toEqual(before);
  } finally {
    reader.close();
  }
});

test('a change is made whose member says nothing; so is one with whatever a tenant wrote itself', async () => {
  await using place = await temporaryFolder();
  await using writer = await openStore(place.folder);
  const no = await tenantNo(writer, 'acme');
  await writer.run('putManifest', {
    tenantNo: no,
    hash: 'h',
    text: '',
    principals: [principal(), agent],
    at: T0,
  });
  const apply = (version: number, name: string, args: object) =>
    writer.run('applyChange', { tenantNo: no, version, name, body: encodeArgs(args) });
  await apply(2, 'setStatus', { ...setStatus, disabled: false, until: null });
  const free = principal({ id: 'free', properties: { any: { thing: [{ at: 'all' }] } } });
  expect(await apply(3, 'putPrincipals', { principals: [free], at: T0 })).toMatchObject({
    value: expect.anything() as unknown,
  });
  const details = [{ type: 'tool_call', server: 's', tools: ['t'], deep: { er: 1 } }];
  expect(await apply(4, 'insertGrant', { grant: grant({ id, details }) })).toMatchObject({
    value: true,
  });
});

test('a copy is taken without a column that says nothing, and not without one that says something', async () => {
  await using places = await temporaryFolder();
  await using source = await openStore(`${places.folder}/one`);
  await using writer = await openStore(`${places.folder}/two`);
  const [from, no] = [await tenantNo(source, 'acme'), await tenantNo(writer, 'acme')];
  await source.run('putManifest', {
    tenantNo: from,
    hash: 'h',
    text: '',
    principals: [principal(), agent],
    at: T0,
  });
  const reader = openReader(`${places.folder}/one`);
  try {
    const put = async (cell: string | number | null): Promise<void> => {
      await writer.run('beginCopy', { tenantNo: no });
      for (const { table, columns, rows } of copyOf(reader, from, false)) {
        const isNewer = table === 'principals';
        await writer.run('putCopied', {
          tenantNo: no,
          table,
          columns: isNewer ? ['frozen', ...columns] : columns,
          rows: isNewer ? rows.map((row) => [cell, ...row]) : rows,
        });
      }
      await writer.run('endCopy', { tenantNo: no, ...changeStore(reader).at(from) });
    };
    await put(null);
    const copied = openReader(`${places.folder}/two`);
    const all = 'SELECT * FROM principals ORDER BY id';
    expect(copied.prepare(all).all()).toEqual(reader.prepare(all).all());
    copied.close();
    for (const cell of [0, '', 1, 'yes'])
      await expect(put(cell)).rejects.toMatchObject({
        detail: expect.stringContaining('the authority keeps principals.frozen,') as unknown,
      });
  } finally {
    reader.close();
  }
});
