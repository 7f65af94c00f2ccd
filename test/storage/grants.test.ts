import path from 'node:path';
import Database from 'better-sqlite3';
import { expect, test } from 'vitest';
import type { GrantId } from '../../src/ids.ts';
import { openWriter } from '../../src/storage/database.ts';
import { grantStore } from '../../src/storage/grants.ts';
import { migrations } from '../../src/storage/migrations.ts';
import { openReader } from '../../src/storage/reader.ts';
import type { GrantRow, PrincipalRow, TenantNo } from '../../src/storage/rows.ts';
import { openStore, T0, temporaryFolder, tenantNo } from './store.ts';

const principal = (cls: 'user' | 'agent', id: string): PrincipalRow => ({
  class: cls,
  id,
  groups: [],
  roles: [],
  scopes: [],
  properties: {},
});

test('a grant is read as it was written', async () => {
  const grant: GrantRow = {
    id: 'grant' as GrantId,
    parentId: null,
    depth: 1,
    subject: { class: 'user', id: 'alice' },
    actors: [{ class: 'agent', id: 'a' }],
    scopes: ['read'],
    use: 'suggest',
    details: [{ type: 'tool_call', tools: ['search'] }],
    audience: 'docs',
    moreAudiences: ['https://docs.example'],
    mayAct: { class: 'agent', id: 'b' },
    jkt: 'thumbprint',
    x5tS256: 'certificate',
    task: { id: 'task' as GrantId, purpose: 'why', endsAt: T0 + 1 },
    issuer: 'https://login.acme.example',
    authentication: { acr: 'urn:a', amr: ['otp'], auth_time: 1 },
    issuedAt: T0,
    expiresAt: T0 + 300_000,
    revokedAt: null,
  };
  await using place = await temporaryFolder();
  await using writer = await openStore(place.folder);
  const no = await tenantNo(writer, 'acme');
  const principals = [principal('user', 'alice'), principal('agent', 'a')];
  await writer.run('putPrincipals', { tenantNo: no, principals, at: T0 });
  await writer.run('insertGrant', { tenantNo: no, grant });
  const reader = openReader(place.folder);
  expect(grantStore(reader).find(no, grant.id)).toEqual(grant);
  reader.close();
});

test('a grant of an older store is to act, for one audience, and binds nobody', async () => {
  await using place = await temporaryFolder();
  const step = migrations.findIndex((each) => each.includes('ADD COLUMN details'));
  const older = new Database(path.join(place.folder, 'mandate.db'));
  for (const each of migrations.slice(0, step)) older.exec(each);
  older.pragma(`user_version = ${step}`);
  older.exec(`
    INSERT INTO tenants (no, id) VALUES (1, 'acme');
    INSERT INTO grants VALUES (1, 'grant', NULL, 1, 'user', 'alice', '[{"class":"agent","id":"a"}]', 'agent', 'a',
      '["read"]', 'docs', ${T0}, ${T0 + 1}, NULL)`);
  older.close();
  openWriter(place).close();
  const reader = openReader(place.folder);
  expect(grantStore(reader).find(1 as TenantNo, 'grant' as GrantId)).toMatchObject({
    scopes: ['read'],
    use: 'act',
    details: [],
    audience: 'docs',
    moreAudiences: [],
    mayAct: null,
    jkt: null,
    x5tS256: null,
    task: null,
    authentication: {},
  });
  reader.close();
});
