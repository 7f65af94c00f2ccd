import type { GrantId } from '../../../src/ids.ts';
import { encodeArgs } from '../../../src/storage/changes/body.ts';
import { changeStore } from '../../../src/storage/changes/store.ts';
import { openReader } from '../../../src/storage/reader.ts';
import { agent, grant, principal } from '../granting/given.ts';
import { openStore, T0, temporaryFolder, tenantNo } from '../store.ts';

/** One of each kind of change of a tenant, and what they come to. */

const TABLES = [
  'manifests',
  'principals',
  'owners',
  'issuers',
  'grants',
  'ends',
  'keys',
  'revisions',
  'policies',
];

export async function recorded(): Promise<object> {
  await using place = await temporaryFolder();
  await using writer = await openStore(place.folder);
  const no = await tenantNo(writer, 'acme');
  const t = { tenantNo: no };
  await writer.run('putManifest', {
    ...t,
    hash: 'h1',
    text: 'id: acme\n',
    principals: [principal(), agent],
    at: T0,
  });
  await writer.run('putPrincipals', {
    ...t,
    principals: [
      principal({ id: 'ben', groups: ['g'], properties: { '\0': 1, __proto__: 2 } }),
      principal({ class: 'agent', id: 'owned', owners: ['user:ben'] }),
    ],
    at: T0 + 1,
  });
  await writer.run('setStatus', { ...t, class: 'user', id: 'ben', disabled: true, at: T0 + 2 });
  await writer.run('retirePrincipal', { ...t, class: 'user', id: 'ben', at: T0 + 3 });
  await writer.run('putIssuer', { ...t, issuer: 'https://idp.example', body: '{}', most: 4 });
  await writer.run('putIssuer', { ...t, issuer: 'https://other.example', body: '{}', most: 4 });
  await writer.run('removeIssuer', { ...t, issuer: 'https://other.example' });
  const key = (kid: string, state: 'active' | 'next') => ({
    kid,
    alg: 'EdDSA',
    publicJwk: '{}',
    sealed: Buffer.from('sealed'),
    createdAt: T0,
    state,
    stateAt: T0,
  });
  await writer.run('putKey', { ...t, key: key('k1', 'active') });
  await writer.run('putKey', { ...t, key: key('k2', 'next') });
  await writer.run('activateKey', { ...t, kid: 'k2', at: T0 + 4 });
  await writer.run('removeKey', { ...t, kid: 'k1', at: T0 + 5 });
  await writer.run('replaceKeys', { ...t, key: key('k3', 'active'), at: T0 + 6 });
  const id = (name: string): GrantId => name as GrantId;
  const root = grant({ id: id('root') });
  await writer.run('insertGrant', { ...t, grant: root });
  await writer.run('insertGrant', { ...t, grant: grant({ id: id('child'), parentId: root.id, depth: 2 }) });
  const task = { id: id('task'), purpose: 'p', endsAt: T0 + 300_000, budget: { calls: 3 } };
  const node = grant({ id: id('task'), task });
  await writer.run('openTask', {
    ...t,
    task: node,
    grant: grant({ id: id('first'), parentId: node.id, depth: 2, task }),
  });
  await writer.run('capTask', {
    ...t,
    id: node.id,
    cap: { at: T0 + 7, scopes: ['read'], budget: { calls: 2 } },
  });
  await writer.run('revokeGrant', { ...t, id: root.id, at: T0 + 8 });
  await writer.run('kill', { ...t, name: 'issuer https://idp.example', at: T0 + 9 });
  await writer.run('restore', { ...t, name: 'issuer https://idp.example' });
  const row = {
    revision: 'sha256:1',
    parent: '',
    author: 'operator:root',
    message: 'm',
    contents: JSON.stringify({ files: [['a.rego', 'd1']] }),
    digest: 'd',
    tests: '{}',
    madeAt: T0,
  };
  await writer.run('keepRevision', {
    ...t,
    kept: { row, files: [{ digest: 'd1', body: Buffer.from('package authz') }] },
    active: { revision: row.revision, at: T0 + 10 },
  });
  await writer.run('keepRevision', { ...t, kept: { row: { ...row, revision: 'sha256:2' }, files: [] } });
  await writer.run('tryRevision', { ...t, as: 'shadow', revision: 'sha256:2', share: '' });
  const reader = openReader(place.folder);
  try {
    const store = changeStore(reader);
    const tables = TABLES.map((table) => {
      const columns = reader
        .prepare<[string], string>("SELECT name FROM pragma_table_info(?) WHERE name <> 'tenant_no'")
        .pluck()
        .all(table)
        // A private part does not travel.
        .filter((name) => name !== 'sealed')
        .join(', ');
      return [
        table,
        reader.prepare(`SELECT ${columns} FROM ${table} WHERE tenant_no = ? ORDER BY ${columns}`).all(no),
      ];
    });
    return {
      changes: store.after(no, 0, 1e9),
      chain: Buffer.from(store.at(no).chain).toString('hex'),
      tables: Object.fromEntries(tables) as object,
      made_with: encodeArgs({ bytes: Buffer.from('x') }),
    };
  } finally {
    reader.close();
  }
}
