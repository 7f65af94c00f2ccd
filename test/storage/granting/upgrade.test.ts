import { mkdirSync } from 'node:fs';
import path from 'node:path';
import Database from 'better-sqlite3';
import { expect, test } from 'vitest';
import type { GrantId } from '../../../src/ids.ts';
import { grantStore } from '../../../src/storage/grants.ts';
import { migrations } from '../../../src/storage/migrations.ts';
import { openReader } from '../../../src/storage/reader.ts';
import { openStore, T0, temporaryFolder, tenantNo } from '../store.ts';
import { agent, grant, principal } from './given.ts';

/** The step that gave grants their paths. */
const STEP = migrations.findIndex((each) => each.includes('CREATE TABLE ends'));

/** Two trees, root–child–leaf and other, in a store from before that step. */
function writeBefore(folder: string): void {
  mkdirSync(folder, { recursive: true });
  const db = new Database(path.join(folder, 'mandate.db'));
  db.pragma('journal_mode = WAL');
  for (const each of migrations.slice(0, STEP)) db.exec(each);
  db.pragma(`user_version = ${STEP}`);
  db.exec("INSERT INTO tenants (id) VALUES ('acme')");
  const insert =
    db.prepare(`INSERT INTO grants (tenant_no, id, parent_id, depth, subject_class, subject_id, actors, actor_class, actor_id, scopes,
      audience, issued_at, expires_at, revoked_at) VALUES
    (1, ?, ?, 1, 'user', 'alice', '[{"class":"agent","id":"a"}]', 'agent', 'a', '["read"]', 'docs', ${T0}, ${T0 + 300_000}, NULL)`);
  for (const [id, parent] of [
    ['leaf', 'child'],
    ['child', 'root'],
    ['root', null],
    ['other', null],
  ])
    insert.run(id, parent);
  db.close();
}

test('grants from before are ended with what they came from and with whom they are of', async () => {
  await using place = await temporaryFolder();
  writeBefore(place.folder);
  await using writer = await openStore(place.folder);
  const no = await tenantNo(writer, 'acme');
  const reader = openReader(place.folder);
  const ended = (): unknown[] =>
    ['root', 'child', 'leaf', 'other'].map((id) => grantStore(reader).find(no, id as GrantId)?.revokedAt);
  expect(ended()).toEqual([null, null, null, null]);
  const { value } = await writer.run('revokeGrant', { tenantNo: no, id: 'child' as GrantId, at: T0 });
  expect(value).toBe(2);
  expect(ended()).toEqual([null, T0, T0, null]);
  await writer.run('putPrincipals', { tenantNo: no, principals: [principal(), agent], at: T0 });
  const status = { tenantNo: no, class: 'agent', id: 'a', at: T0 + 1 } as const;
  const { value: changes } = await writer.run('setStatus', { ...status, disabled: true });
  expect(changes?.ended).toBe(2);
  expect(ended()).toEqual([T0 + 1, T0, T0, T0 + 1]);
  await writer.run('setStatus', { ...status, disabled: false });
  const anew = grant();
  expect((await writer.run('insertGrant', { tenantNo: no, grant: anew })).value).toBe(true);
  expect(grantStore(reader).find(no, anew.id)?.revokedAt).toBeNull();
  reader.close();
});
