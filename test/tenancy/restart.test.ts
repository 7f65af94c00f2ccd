import path from 'node:path';
import Database from 'better-sqlite3';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { systemClock, systemRandom } from '../../src/effects.ts';
import { tenantId } from '../../src/ids.ts';
import type { Writer } from '../../src/storage/writer.ts';
import { Administration } from '../../src/tenancy/administration.ts';
import { logIn } from '../fault/log.ts';
import { appendRows, openStore, rowOf, temporaryFolder, tenantNo } from '../storage/store.ts';

/** A damaged log that is set aside while the store fails: either nothing was done, or the new log says what. */

let place: Awaited<ReturnType<typeof temporaryFolder>>;
beforeEach(async () => {
  place = await temporaryFolder();
  {
    await using writer = await openStore(place.folder);
    const no = await tenantNo(writer, 'acme');
    for (let turn = 0; turn < 3; turn += 1) await appendRows(writer, [rowOf(no)]);
  }
  const db = new Database(path.join(place.folder, 'mandate.db'));
  const triggers = db.prepare<[], string>("SELECT name FROM sqlite_master WHERE type = 'trigger'");
  for (const name of triggers.pluck().all()) db.exec(`DROP TRIGGER ${name}`);
  db.exec('DELETE FROM runs WHERE id % 2 = 1');
  db.close();
});
afterEach(() => place[Symbol.asyncDispose]());

const administrationOf = (writer: Pick<Writer, 'run' | 'append'>): Administration =>
  new Administration({
    writer: writer as Writer,
    facts: { changed: () => undefined } as never,
    principals: {} as never,
    issuers: {} as never,
    doubt: {} as never,
    manifestBefore: () => undefined,
    current: (tenant) => tenant,
    limits: {} as never,
    clock: systemClock,
    random: systemRandom,
  });

/** A writer that does so many things more, and then fails for good. */
function failingAfter(writer: Writer, times: number): Pick<Writer, 'run' | 'append'> {
  let left = times;
  const guarded = <T>(act: () => Promise<T>): Promise<T> => {
    left -= 1;
    return left < 0 ? Promise.reject(new Error('the process is killed')) : act();
  };
  return {
    run: (...args) => guarded(() => writer.run(...args)),
    append: (...args) => guarded(() => writer.append(...args)),
  };
}

test.each([0, 1, 2, 3])('killed after %i steps', async (steps) => {
  let isDone = true;
  {
    await using writer = await openStore(place.folder);
    const restarting = administrationOf(failingAfter(writer, steps)).restartLog(tenantId('acme'));
    await restarting.catch(() => {
      isDone = false;
    });
  }
  const [log, aside] = [logIn(place.folder), logIn(place.folder, 'acme~1')];
  if (isDone || aside.length > 0) {
    expect(log.map(({ action }) => action)).toEqual(['log.restart']);
    expect(aside).toHaveLength(2);
    return;
  }
  expect(log).toHaveLength(2);
  // Once more, and nothing stands in its way.
  await using writer = await openStore(place.folder);
  const restarted = await administrationOf(writer).restartLog(tenantId('acme'));
  expect(restarted).toMatchObject({ setAside: 'acme~1', damage: 'record 1 of its log is damaged' });
  expect(logIn(place.folder).map(({ action }) => action)).toEqual(['log.restart']);
});
