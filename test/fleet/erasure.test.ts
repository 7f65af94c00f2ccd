import path from 'node:path';
import Database from 'better-sqlite3';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { check } from '../e2e/requests.ts';
import { asked, erase, holding, query, sealing } from '../e2e/sealed/sealed.ts';
import { bearer, eventually, type Running, secrets } from '../e2e/server.ts';
import { authorityOverrides, isReady, startSidecar } from './fleet.ts';

/** Somebody is erased at an authority: what was sealed about them at its sidecars is read by nobody any more either. */

const ERASED = { sealed: { about: 'patient:ann', erased: true } };

let authority: Running;
let sidecar: Running;

const overrides = { ...authorityOverrides, base_url: 'http://pdp.acme.test' };

beforeEach(async () => {
  authority = await sealing({ overrides });
  sidecar = await startSidecar(authority, { base_url: overrides.base_url });
  await isReady(sidecar);
});

afterEach(async () => {
  await sidecar[Symbol.asyncDispose]();
  await authority[Symbol.asyncDispose]();
});

const patients = async (at: Running): Promise<unknown[]> =>
  (await query(at)).map(({ opened, stored }) => (opened ?? stored).input.context?.patient);

async function seenAtSidecar(name = 'patient:ann'): Promise<void> {
  const { body } = await check(sidecar.data, asked(name), bearer(secrets.api));
  expect(body.decision).toBe('DECISION_ALLOW');
}

/** The bytes of the keys that are in use at it. */
function keysOf(at: Running): Buffer[] {
  const db = new Database(path.join(at.folder, 'data/mandate.db'), { readonly: true });
  try {
    return db.prepare<[], Buffer>('SELECT sealed FROM member_keys WHERE destroyed = 0').pluck().all();
  } finally {
    db.close();
  }
}

test('at the sidecar that it is asked of too, which has keys that its authority never saw', async () => {
  await seenAtSidecar();
  await seenAtSidecar('patient:ben');
  expect(await patients(sidecar)).toEqual([
    expect.anything(),
    expect.objectContaining({ name: expect.anything() as unknown }),
  ]);
  const [ann] = keysOf(sidecar);
  // Administration is passed on: it is the authority that is asked.
  const erased = await erase(sidecar, 'patient:ann');
  expect(erased).toMatchObject({ status: 200, body: { everyServer: true } });
  await eventually(
    () => patients(sidecar),
    (all) => JSON.stringify(all[1]) === JSON.stringify(ERASED),
  );
  expect((await patients(sidecar))[0]).not.toEqual(ERASED);
  // Nothing of the key is left in a file.
  await eventually(
    () => Promise.resolve(holding(path.join(sidecar.folder, 'data'), ann as Buffer)),
    (files) => files.length === 0,
  );
  // What comes has a new key.
  await seenAtSidecar();
  expect((await patients(sidecar))[0]).not.toEqual(ERASED);
});

test.each(['changes', 'a copy'])('at one that was away and comes back to %s', async (way) => {
  await seenAtSidecar();
  await sidecar.stop();
  expect((await erase(authority, 'patient:ann')).status).toBe(200);
  if (way === 'a copy') {
    // What led there is kept no more.
    const db = new Database(path.join(sidecar.folder, 'data/mandate.db'));
    db.prepare("UPDATE versions SET chain = x'00'").run();
    db.close();
  }
  sidecar = await startSidecar(authority, { folder: sidecar.folder, base_url: overrides.base_url });
  await isReady(sidecar);
  await eventually(
    () => patients(sidecar),
    ([first]) => JSON.stringify(first) === JSON.stringify(ERASED),
  );
  await seenAtSidecar();
  expect((await patients(sidecar))[0]).not.toEqual(ERASED);
});

test('of somebody of whom nobody else could know anything is unknown still', async () => {
  const alone = await sealing();
  await using _alone = alone;
  expect(await erase(alone, 'patient:cy')).toMatchObject({ status: 404 });
  const again = await erase(authority, 'patient:cy');
  expect(again).toMatchObject({ status: 200, body: { everyServer: true } });
});
