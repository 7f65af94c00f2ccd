import path from 'node:path';
import Database from 'better-sqlite3';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type TenantId, tenantId } from '../../src/ids.ts';
import { keyStore } from '../../src/storage/keys.ts';
import { memberKeyStore } from '../../src/storage/member-keys.ts';
import { openReader } from '../../src/storage/reader.ts';
import type { MemberKeyRow, TenantNo } from '../../src/storage/rows.ts';
import { needOf } from '../../src/storage/watch/room.ts';
import type { Writer } from '../../src/storage/writer.ts';
import { openStore, T0, temporaryFolder, tenantNo } from './store.ts';

/** The keys of sealed members, as the store has them. */

let place: Awaited<ReturnType<typeof temporaryFolder>>;
let writer: Writer;
let acme: TenantNo;
beforeEach(async () => {
  place = await temporaryFolder();
  writer = await openStore(place.folder);
  acme = await tenantNo(writer, 'acme');
});
afterEach(async () => {
  await writer[Symbol.asyncDispose]();
  await place[Symbol.asyncDispose]();
});

let serial = 0;
const keyOf = (name: string, cls = 'user'): MemberKeyRow => {
  serial += 1;
  return {
    kid: `kid-${serial}`,
    class: cls,
    name,
    sealed: Buffer.from(`${serial}`.padStart(72, 's')),
    createdAt: T0,
  };
};

const put = async (no: TenantNo, key: MemberKeyRow) =>
  (await writer.run('putMemberKey', { tenantNo: no, key })).value;
const destroy = async (no: TenantNo, id: string, cls = 'user') =>
  (await writer.run('destroyMemberKeys', { tenantNo: no, about: { class: cls, id }, at: T0 })).value;

async function stored<T>(use: (store: ReturnType<typeof memberKeyStore>) => T): Promise<T> {
  const db = openReader(place.folder);
  try {
    return use(memberKeyStore(db));
  } finally {
    db.close();
  }
}

const ann = { class: 'user', id: 'ann' };

describe('a key', () => {
  test('is one at a time of each principal of a tenant', async () => {
    const first = keyOf('ann');
    expect(await put(acme, first)).toBe(true);
    expect(await put(acme, keyOf('ann'))).toBeUndefined();
    const globex = await tenantNo(writer, 'globex');
    for (const [no, key] of [
      [acme, keyOf('ann', 'patient')],
      [acme, keyOf('Ann')],
      [globex, keyOf('ann')],
    ] as const)
      expect(await put(no, key)).toBe(true);
    await stored((store) => {
      expect(store.inUse(acme, ann)?.kid).toBe(first.kid);
      expect(store.find(acme, first.kid)).toMatchObject({ name: 'ann' });
      // Neither by another tenant's number nor by another class.
      expect(store.find(globex, first.kid)).toBeUndefined();
      expect(store.inUse(globex, ann)?.kid).not.toBe(first.kid);
    });
  });

  test('that is destroyed is known as that, and another takes its place', async () => {
    const [first, second] = [keyOf('ann'), keyOf('ann')];
    await put(acme, first);
    expect(await destroy(acme, 'ann')).toBe(1);
    expect(await destroy(acme, 'ann')).toBe(0);
    expect(await put(acme, second)).toBe(true);
    await stored((store) => {
      expect(store.find(acme, first.kid)).toBe('destroyed');
      expect(store.inUse(acme, ann)?.kid).toBe(second.kid);
      expect(store.count(acme, ann)).toEqual({ living: 1, destroyed: 1 });
    });
  });

  test('of a log that was set aside is destroyed with those of the log after it, and of no other tenant', async () => {
    const others = ['acme~1', 'acme~12', 'acmeish', 'acm'] as TenantId[];
    const numbers: TenantNo[] = [];
    for (const id of others) numbers.push((await writer.run('putTenant', { id })).value.no);
    for (const no of [acme, ...numbers]) await put(no, keyOf('ann'));
    expect(await stored((store) => store.count(acme, ann))).toEqual({ living: 3, destroyed: 0 });
    expect(await destroy(acme, 'ann')).toBe(3);
    await stored((store) =>
      expect(numbers.map((no) => store.inUse(no, ann) !== undefined)).toEqual([false, false, true, true]),
    );
    expect(tenantId('acme')).toBe('acme');
  });
});

describe('nothing else is done to a key', () => {
  const attempt = async (sql: string): Promise<string> => {
    await put(acme, keyOf('ann'));
    await put(acme, keyOf('ben'));
    await destroy(acme, 'ben');
    const db = new Database(path.join(place.folder, 'mandate.db'));
    try {
      db.exec(sql);
      return 'done';
    } catch (error) {
      return (error as Error).message;
    } finally {
      db.close();
    }
  };

  test.each([
    ['it is not taken out', 'DELETE FROM member_keys', 'a key is written over, never taken out'],
    [
      'it is not replaced',
      "UPDATE member_keys SET sealed = randomblob(72) WHERE name = 'ann'",
      'a key is written over, and nothing else',
    ],
    [
      'one that is destroyed does not come back',
      "UPDATE member_keys SET destroyed = 0 WHERE name = 'ben'",
      'a key is written over, and nothing else',
    ],
    [
      'it does not change hands',
      "UPDATE member_keys SET name = 'zoe' WHERE name = 'ann'",
      'a key is written over, and nothing else',
    ],
  ])('%s', async (_what, sql, problem) => {
    expect(await attempt(sql)).toBe(problem);
  });
});

test('the write-ahead log is emptied, unless somebody reads', async () => {
  await put(acme, keyOf('ann'));
  const other = new Database(path.join(place.folder, 'mandate.db'), { readonly: true });
  other.exec('BEGIN');
  other.prepare('SELECT 1 FROM tenants').get();
  await put(acme, keyOf('ben'));
  expect(await writer.emptyWriteAhead()).toBe(false);
  other.exec('COMMIT');
  other.close();
  expect(await writer.emptyWriteAhead()).toBe(true);
  expect(await put(acme, keyOf('cleo'))).toBe(true);
});

test('who closes while the log is emptied is told that it was not', async () => {
  await put(acme, keyOf('ann'));
  const closing = writer[Symbol.asyncDispose]();
  await closing;
  expect(await writer.emptyWriteAhead()).toBe(false);
  writer = await openStore(place.folder);
});

test('a key takes the room of what is ordinary: whoever asks about many keeps nobody from administering', () => {
  const needs = (name: string) =>
    needOf({ unit: 0, name, args: {}, recorded: false }, undefined as never, undefined);
  expect(needs('putMemberKey')).toBe('ordinary');
  expect(needs('destroyMemberKeys')).toBe('administration');
});

test('a master key is tried on them too: a store may have sealed nothing else yet', async () => {
  const first = keyOf('ann');
  await put(acme, first);
  await put(acme, keyOf('ben'));
  await destroy(acme, 'ben');
  const db = openReader(place.folder);
  const tried = keyStore(db).newest();
  db.close();
  expect(tried.map(({ binding, sealed }) => [binding, Buffer.from(sealed).toString()])).toEqual([
    [`mandate-member-key ["acme","user","ann","${first.kid}"]`, String(first.sealed)],
  ]);
});
