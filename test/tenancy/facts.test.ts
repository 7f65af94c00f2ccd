import { setImmediate as turn } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { PrincipalRef } from '../../src/ids.ts';
import { type Connection, openWriter } from '../../src/storage/database.ts';
import { type PrincipalStore, principalStore } from '../../src/storage/principals/store.ts';
import { openReader } from '../../src/storage/reader.ts';
import type { PrincipalRow, TenantNo } from '../../src/storage/rows.ts';
import type { Writer } from '../../src/storage/writer.ts';
import { type FactSource, factSource } from '../../src/tenancy/facts.ts';
import type { Tenant } from '../../src/tenancy/tenants.ts';
import { openStore, T0, temporaryFolder, tenantNo } from '../storage/store.ts';

/** Facts out of a real store: what is kept of them, and what a look-up sees of commits. */

let place: { folder: string } & AsyncDisposable;
let writer: Writer;
let db: Connection;
let asked: number;
let facts: FactSource;
let acme: Tenant;
let other: Tenant;

beforeEach(async () => {
  place = await temporaryFolder();
  writer = await openStore(place.folder);
  acme = { no: await tenantNo(writer, 'acme'), id: 'acme' } as Tenant;
  other = { no: await tenantNo(writer, 'other'), id: 'other' } as Tenant;
  db = openReader(place.folder);
  const store = principalStore(db);
  asked = 0;
  const counting: PrincipalStore = {
    ...store,
    facts: (no, ref) => {
      asked += 1;
      return store.facts(no, ref);
    },
  };
  facts = factSource(counting);
});
afterEach(async () => {
  db.close();
  await writer[Symbol.asyncDispose]();
  await place[Symbol.asyncDispose]();
});

const user = (id: string): PrincipalRef => ({ class: 'user', id });
const put = (no: TenantNo, ids: readonly string[]) =>
  writer.run('putPrincipals', {
    tenantNo: no,
    at: T0,
    principals: ids.map(
      (id): PrincipalRow => ({ class: 'user', id, groups: [], roles: [], scopes: [], properties: { id } }),
    ),
  });
const disable = (id: string) =>
  writer.run('setStatus', { tenantNo: acme.no, class: 'user', id, disabled: true, at: T0 });

/** u0 with the names of so many, itself among them: a command that puts them all would take the writer its time. */
function copied(count: number): void {
  const elsewhere = openWriter({ folder: place.folder });
  const members = 'groups, roles, scopes, properties, source';
  elsewhere
    .prepare(
      `WITH RECURSIVE n (at) AS (VALUES (1) UNION ALL SELECT at + 1 FROM n WHERE at < ?)
      INSERT INTO principals (tenant_no, class, id, ${members})
      SELECT tenant_no, class, 'u' || at, ${members} FROM n, principals WHERE id = 'u0'`,
    )
    .run(count - 1);
  elsewhere.close();
}

test('what changed in the middle of a turn, and was told of in it, is looked at as it is now', async () => {
  await put(acme.no, ['u', 'v']);
  facts.of(acme, user('v'));
  // The writer is a thread: it commits while this turn lasts, and its view stands.
  const elsewhere = openWriter({ folder: place.folder });
  elsewhere.prepare("UPDATE principals SET disabled_at = ? WHERE id = 'u'").run(T0);
  elsewhere.close();
  facts.changed(acme);
  expect(facts.of(acme, user('u')).status).toBe('disabled');
  await turn();
  expect(facts.of(acme, user('u')).status).toBe('disabled');
});

test('they are looked up once, until principals of their tenant change', async () => {
  await put(acme.no, ['u']);
  await put(other.no, ['u']);
  for (const tenant of [acme, other, acme, other]) facts.of(tenant, user('u'));
  expect(asked).toBe(2);
  await disable('u');
  facts.changed(acme);
  expect([facts.of(acme, user('u')).status, facts.of(other, user('u')).status]).toEqual([
    'disabled',
    'active',
  ]);
  expect(asked).toBe(3);
});

test('a principal who is not there is looked up each time', async () => {
  expect(facts.of(acme, user('new')).status).toBe('unknown');
  await put(acme.no, ['new']);
  expect(facts.of(acme, user('new')).status).toBe('active');
});

test('one whom many others pushed out is looked up anew, one who is asked for now and then is not', async () => {
  const count = 250_000;
  const ids = Array.from({ length: count }, (_, at) => `u${at}`);
  await put(acme.no, ['u0']);
  copied(count);
  for (const [at, id] of ids.entries()) {
    facts.of(acme, user(id));
    if (at % 1_000 === 0) facts.of(acme, user('u0'));
  }
  expect(asked).toBe(count);
  facts.of(acme, user('u0'));
  expect(asked).toBe(count);
  facts.of(acme, user('u1'));
  expect(asked).toBe(count + 1);
});

test('look-ups of one turn see the same, and those of the next what was committed meanwhile', async () => {
  await put(acme.no, ['a', 'b', 'c']);
  const elsewhere = openWriter({ folder: place.folder });
  const disableAll = elsewhere.prepare('UPDATE principals SET disabled_at = 1');
  expect(facts.of(acme, user('a')).status).toBe('active');
  disableAll.run();
  await Promise.resolve();
  expect(facts.of(acme, user('b')).status).toBe('active');
  await turn();
  expect(facts.of(acme, user('c')).status).toBe('disabled');
  facts.changed(acme);
  expect(facts.of(acme, user('a')).status).toBe('disabled');
  elsewhere.close();
});

test('who is told of a change in the middle of a turn looks at no view from before it', async () => {
  await put(acme.no, ['a', 'b']);
  const elsewhere = openWriter({ folder: place.folder });
  // Somebody else's look-up, in the same turn, has opened the view.
  expect(facts.of(acme, user('b')).status).toBe('active');
  elsewhere.prepare('UPDATE principals SET disabled_at = 1').run();
  facts.changed(acme);
  expect(facts.of(acme, user('a')).status).toBe('disabled');
  await turn();
  expect(facts.of(acme, user('a')).status).toBe('disabled');
  elsewhere.close();
});

test('a view that the disk ended, or that is of a closed connection, troubles nobody later', async () => {
  await put(acme.no, ['a', 'b']);
  facts.of(acme, user('a'));
  // As SQLite does by itself when a page cannot be read.
  db.exec('ROLLBACK');
  await turn();
  expect(facts.of(acme, user('b')).status).toBe('active');
  db.close();
  await turn();
});

test('a tenant whose principals change all the time pushes nobody out', async () => {
  const ids = Array.from({ length: 1_000 }, (_, at) => `u${at}`);
  await put(acme.no, ids);
  await put(other.no, ['u']);
  facts.of(other, user('u'));
  for (let round = 0; round < 210; round += 1) {
    for (const id of ids) facts.of(acme, user(id));
    facts.changed(acme);
  }
  const before = asked;
  facts.of(other, user('u'));
  expect(asked).toBe(before);
});
