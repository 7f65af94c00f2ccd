import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import Database from 'better-sqlite3';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { check, connect } from '../e2e/requests.ts';
import { asked, holding, type RecordJson, read, SEALED } from '../e2e/sealed/sealed.ts';
import { writeTenants } from '../e2e/server.ts';
import { type ServeProcess, serveProcess } from './process.ts';

/** A server killed while it erases somebody: it is done or it is not, and whoever asked has no answer that is wrong. */

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'mandate-erasure-'));
  await writeTenants(folder, {
    acme: (manifest) => {
      manifest.audit = { sealed: SEALED };
    },
  });
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const preload = path.resolve(import.meta.dirname, 'faults.mjs');
const store = (): string => path.join(folder, 'data');

const says = async (server: ServeProcess, name: string): Promise<number> =>
  (await check(server.data, asked(name, `the secret of ${name}`))).status;

/** Undefined where the server gave no answer. */
const erase = (server: ServeProcess, id: string): Promise<number | undefined> =>
  connect(server.admin, 'AuditService/Erase', { tenant: 'acme', principal: { class: 'patient', id } }).then(
    ({ status }) => status,
    () => undefined,
  );

/** What is read of each patient. */
async function patients(server: ServeProcess): Promise<unknown[]> {
  const { body } = await connect<{ records?: RecordJson[] }>(server.admin, 'AuditService/Query', {
    tenant: 'acme',
    kind: 'decision',
  });
  return (body.records ?? []).map(read).map(({ opened }) => opened?.input.context?.patient);
}

/** The newest key of a patient, as it is stored. */
function keyOf(id: string): { sealed: Buffer; destroyed: number } {
  const db = new Database(path.join(store(), 'mandate.db'), { readonly: true });
  try {
    const row = db
      .prepare<[string], { sealed: Buffer; destroyed: number }>(
        'SELECT sealed, destroyed FROM member_keys WHERE name = ? ORDER BY id DESC LIMIT 1',
      )
      .get(id);
    if (!row) throw new Error(`there is no key of ${id}`);
    return row;
  } finally {
    db.close();
  }
}

const ERASED = { sealed: { about: 'patient:ann', erased: true } };

test('killed before the commit: nothing is erased', async () => {
  {
    await using server = await serveProcess({ folder, preload });
    await says(server, 'patient:ann');
    await writeFile(path.join(folder, 'writer.hang'), '');
    await delay(100);
    const answered = erase(server, 'ann');
    await delay(200);
    await server.end('SIGKILL');
    expect(await answered).toBeUndefined();
  }
  await rm(path.join(folder, 'writer.hang'));
  expect(keyOf('ann').destroyed).toBe(0);
  await using again = await serveProcess({ folder });
  expect(await patients(again)).toEqual(['the secret of patient:ann']);
  expect(await erase(again, 'ann')).toBe(200);
});

test('killed behind the commit, while the write-ahead log holds the key: it is erased, and gone with the next start', async () => {
  let key: Buffer;
  {
    await using server = await serveProcess({ folder });
    await says(server, 'patient:ann');
    key = keyOf('ann').sealed;
    // Keeps the log from being cut off.
    const reader = new Database(path.join(store(), 'mandate.db'), { readonly: true });
    reader.exec('BEGIN');
    reader.prepare('SELECT count(*) FROM tenants').get();
    const answered = erase(server, 'ann');
    for (let turn = 0; turn < 100 && keyOf('ann').destroyed === 0; turn += 1) await delay(10);
    expect(keyOf('ann').destroyed).toBe(1);
    await server.end('SIGKILL');
    expect(await answered).toBeUndefined();
    reader.close();
  }
  expect(holding(store(), key)).not.toEqual([]);
  await using again = await serveProcess({ folder });
  expect(await patients(again)).toEqual([ERASED]);
  expect(holding(store(), key)).toEqual([]);
  expect(await erase(again, 'ann')).toBe(200);
});

test('killed at any moment: what was answered is erased, and what is not erased is read', async () => {
  const seen = new Map<string, Buffer>();
  const answered = new Set<string>();
  for (let life = 0; life < 6; life += 1) {
    await using server = await serveProcess({ folder });
    const names = Array.from({ length: 4 }, (_, at) => `p${life}-${at}`);
    for (const id of names) {
      expect(await says(server, `patient:${id}`)).toBe(200);
      seen.set(id, keyOf(id).sealed);
    }
    const asking = names.map(async (id, at) => {
      await delay(at * 2);
      if ((await erase(server, id)) === 200) answered.add(id);
    });
    await delay(life * 4);
    await server.end('SIGKILL');
    await Promise.all(asking);
  }
  await using last = await serveProcess({ folder });
  const destroyed = [...seen.keys()].filter((id) => keyOf(id).destroyed === 1);
  expect(destroyed).toEqual(expect.arrayContaining([...answered]));
  for (const id of destroyed) expect(holding(store(), seen.get(id) ?? ''), id).toEqual([]);
  const read = [...seen.keys()]
    .toReversed()
    .map((id) =>
      destroyed.includes(id)
        ? { sealed: { about: `patient:${id}`, erased: true } }
        : `the secret of patient:${id}`,
    );
  expect(await patients(last)).toEqual(read);
});
