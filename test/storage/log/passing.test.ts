import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import Database from 'better-sqlite3';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { Connection } from '../../../src/storage/database.ts';
import { faultChannel, type StoreFault, unreadable } from '../../../src/storage/faults.ts';
import { Runs } from '../../../src/storage/log/runs.ts';
import type { TenantNo } from '../../../src/storage/rows.ts';
import { appendRows, openStore, rowOf, temporaryFolder, tenantNo } from '../store.ts';

/** What keeps a reader or a signer for a while, and is no damage. */

const NO = 1 as TenantNo;
let heard: StoreFault[];
const hear = (message: unknown): void => void heard.push(message as StoreFault);
beforeEach(() => {
  heard = [];
  subscribe(faultChannel.name, hear);
});
afterEach(() => void unsubscribe(faultChannel.name, hear));

/** A store whose statements fail with a code of SQLite's, as the reader's do (`openReader`). */
function failing(code: string): Connection {
  const fail = (): never => {
    throw unreadable(new Database.SqliteError('it fails', code));
  };
  const statement = { get: fail, all: fail, iterate: fail, pluck: () => statement };
  return { name: 'mandate.db', prepare: () => statement } as unknown as Connection;
}

const saidOf = (code: string): string[] => {
  const runs = new Runs(failing(code));
  const reads = [() => runs.at(NO, 3), () => [...runs.below(NO, 0, 9)], () => [...runs.from(NO, 0, 9)]];
  return reads.map((read) => {
    try {
      read();
      return 'read on';
    } catch (error) {
      return (error as { code: string }).code;
    }
  });
};

test.each(['SQLITE_BUSY', 'SQLITE_NOMEM', 'SQLITE_IOERR_READ', 'SQLITE_CANTOPEN'])(
  '%s is told as it is, and no record is called damaged for it',
  (code) => {
    expect(saidOf(code)).toEqual(['unavailable', 'unavailable', 'unavailable']);
    expect(heard.filter(({ tenantNo }) => tenantNo !== undefined)).toEqual([]);
  },
);

test('SQLITE_CORRUPT is: what stands around it is read', () => {
  expect(saidOf('SQLITE_CORRUPT')).toEqual(['read on', 'read on', 'read on']);
  expect(heard.some(({ tenantNo }) => tenantNo === NO)).toBe(true);
});

test('a log that gets no checkpoint is handed out again only after the others', async () => {
  await using place = await temporaryFolder();
  await using writer = await openStore(place.folder);
  const numbers: TenantNo[] = [];
  for (const id of ['acme', 'globex', 'initech']) {
    const no = await tenantNo(writer, id);
    await appendRows(writer, [rowOf(no)]);
    numbers.push(no);
  }
  const handedOut: TenantNo[] = [];
  for (let turn = 0; turn < 6; turn += 1) {
    const [grown] = (await writer.run('grownLogs', { limit: 1 })).value;
    if (grown) handedOut.push(grown.no);
  }
  expect(handedOut).toEqual([...numbers, ...numbers]);
});
