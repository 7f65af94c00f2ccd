import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { verifyStore } from '../../../src/audit/proof/verify-store.ts';
import { leafHash } from '../../../src/merkle/hashes.ts';
import { faultChannel, type StoreFault } from '../../../src/storage/faults.ts';
import { type Place, placesIn } from '../../../src/storage/journal/row.ts';
import { Heads } from '../../../src/storage/log/heads.ts';
import { recordStore } from '../../../src/storage/log/records.ts';
import { openReader } from '../../../src/storage/reader.ts';
import { recordId, recordTenant, type TenantNo } from '../../../src/storage/rows.ts';
import { Scrub } from '../../../src/storage/watch/scrub.ts';
import { temporaryFolder } from '../store.ts';
import { Stage } from './stage.ts';

/** What stands in the journal was changed: it is found as it would be in a run, when it is read, verified, filed and at start. */

const TENANTS = Array.from({ length: 30 }, (_, at) => (at + 1) as TenantNo);
const VICTIM = 7 as TenantNo;

let heard: string[];
const hear = (message: unknown): void => {
  const { tenantNo, text } = message as StoreFault;
  heard.push(`${tenantNo ?? ''}: ${text}`);
};
beforeEach(() => {
  heard = [];
  subscribe(faultChannel.name, hear);
});
afterEach(() => void unsubscribe(faultChannel.name, hear));

/** Three records of each log, none of them filed. */
async function staged(): Promise<Stage & AsyncDisposable> {
  const place = await temporaryFolder();
  const stage = new Stage(place.folder, TENANTS.length);
  for (let n = 0; n < 3; n += 1) stage.commit(TENANTS);
  if (stage.journalRows !== 3) throw new Error('they are not in the journal');
  for (const name of ['journal_no_update', 'journal_no_delete', 'runs_no_update', 'runs_no_delete'])
    stage.db.exec(`DROP TRIGGER ${name}`);
  return Object.assign(stage, {
    [Symbol.asyncDispose]: () => {
      stage[Symbol.dispose]();
      return place[Symbol.asyncDispose]();
    },
  });
}

interface Row {
  seq: number;
  places: Buffer;
  heads: Buffer;
  bodies: Buffer;
}

/** Changes what one commit brought of the victim's log. */
function change(stage: Stage, commit: number, how: (row: Row, place: Place) => void): void {
  const row = stage.db
    .prepare<[number], Row>('SELECT * FROM journal ORDER BY seq LIMIT 1 OFFSET ?')
    .get(commit);
  const place = row && placesIn(row.seq, row.places)?.find(({ id }) => recordTenant(id) === VICTIM);
  if (!row || !place) throw new Error('it is not there');
  how(row, place);
  const { seq, places, heads, bodies } = row;
  stage.db
    .prepare('UPDATE journal SET places = ?, heads = ?, bodies = ? WHERE seq = ?')
    .run(places, heads, bodies, seq);
}

const flip = (bytes: Buffer, at: number): void => bytes.set([(bytes[at] ?? 0) ^ 1], at);

/** Which records of the victim's log are read, and whether all of the others' are. */
function read(stage: Stage): { own: number[]; others: boolean } {
  const reader = openReader(stage.folder);
  try {
    const records = recordStore(reader);
    const own = records.range(VICTIM, 0, 100).map(({ index }) => index);
    const others = TENANTS.filter((no) => no !== VICTIM);
    return {
      own,
      others: others.every((no) => records.range(no, 0, 100).length === stage.model.get(no)?.length),
    };
  } finally {
    reader.close();
  }
}

function verified(stage: Stage): string[] {
  const reader = openReader(stage.folder);
  try {
    const options = { policy: { logs: [], quorum: undefined }, kept: [], progress: () => undefined };
    return [...verifyStore(reader, options)].flatMap(({ tenant, faults }) =>
      faults.map((fault) => `${tenant}: ${fault}`),
    );
  } finally {
    reader.close();
  }
}

const DAMAGED = `${VICTIM}: record 1 of its log is damaged`;

test('a changed body is served to nobody, named when it is read, and still when it was filed at the next start', async () => {
  await using stage = await staged();
  change(stage, 1, ({ bodies }, { bodiesAt }) => flip(bodies, bodiesAt + 20));
  expect(read(stage)).toEqual({ own: [0, 2], others: true });
  expect(heard).toContain(DAMAGED);
  expect(verified(stage)).toEqual([expect.stringContaining(`t${VICTIM}: entry 1`) as string]);
  heard = [];
  stage.reopen();
  stage.file();
  expect(stage.journalRows).toBe(0);
  new Scrub(
    stage.db,
    (no) => stage.log.check(no),
    () => false,
  ).begin();
  expect(heard).toEqual([DAMAGED]);
  expect(read(stage)).toEqual({ own: [0, 2], others: true });
});

test('changed heads close their log at the next start, and stay where they are; the others go on', async () => {
  await using stage = await staged();
  change(stage, 1, ({ heads }, { headsAt }) => flip(heads, headsAt));
  expect(read(stage)).toEqual({ own: [0, 2], others: true });
  heard = [];
  stage.reopen();
  expect(heard).toEqual([DAMAGED]);
  stage.file();
  expect(stage.journalRows).toBe(3);
  expect(read(stage)).toEqual({ own: [0, 2], others: true });
  expect(() => stage.begin([VICTIM])).toThrow('record 1 of its log');
  stage.db.exec('ROLLBACK');
  stage.log.forget();
  stage.commit(TENANTS.filter((no) => no !== VICTIM));
  expect(read(stage)).toEqual({ own: [0, 2], others: true });
  expect(stage.log.damageIn(VICTIM)).toMatch(/^records? 1/);
});

test('a row whose places are changed is named, and what is counted is not given away again', async () => {
  await using stage = await staged();
  stage.db.exec('BEGIN');
  stage.log.flush();
  stage.db.exec('COMMIT');
  change(stage, 2, ({ places }) => flip(places, 3));
  expect(read(stage).own).toEqual([0, 1]);
  expect(heard).toContain(': row 2 of the journal is damaged, and with it the last records of some logs');
  stage.reopen();
  for (const no of TENANTS) {
    expect(() => stage.begin([no])).toThrow('its log has 3 records by their count, and ends with 2');
    stage.db.exec('ROLLBACK');
    stage.log.forget();
  }
});

test('a row that was taken out leaves a gap in each log, and none is appended to', async () => {
  await using stage = await staged();
  stage.db.exec('DELETE FROM journal WHERE seq = 1');
  expect(read(stage)).toEqual({ own: [0, 2], others: false });
  expect(heard).toContain(DAMAGED);
  stage.reopen();
  expect(() => stage.begin([VICTIM])).toThrow('record 1 of its log is damaged');
});

test('a record that was changed with its hash and its sums is found by the next look at its log', async () => {
  await using stage = await staged();
  change(stage, 2, ({ heads, bodies }, { id, headsAt, bodiesAt, bodyBytes }) => {
    const own = Heads.stored(heads.subarray(headsAt, headsAt + Heads.storedSize(1)));
    const body = bodies.subarray(bodiesAt, bodiesAt + bodyBytes);
    body.set(Buffer.from(body.toString().replace('"allow"', '"ALLOW"')));
    own.putLeaf(0, leafHash(body));
    own.seal(id);
  });
  expect(read(stage)).toEqual({ own: [0, 1, 2], others: true });
  expect(() => stage.log.check(VICTIM)).toThrow('its log of 3 records is not the one that was written');
  expect(() => stage.log.check(8 as TenantNo)).not.toThrow();
});

test('what was put where a log is to be filed closes that log alone', async () => {
  await using stage = await staged();
  stage.db
    .prepare('INSERT INTO runs (id, heads, bodies) VALUES (?, ?, ?)')
    .run(recordId(VICTIM, 0), Buffer.alloc(Heads.storedSize(1)), Buffer.of(0));
  stage.file();
  expect(heard).toContain(`${VICTIM}: records 0 to 2 of its log are damaged`);
  // Its part of the rows is evidence.
  expect(stage.journalRows).toBe(3);
  stage.commit(TENANTS.filter((no) => no !== VICTIM));
  stage.begin(TENANTS);
  expect(() => stage.log.write()).toThrow('records 0 to 2 of its log are damaged');
  stage.db.exec('ROLLBACK');
  stage.log.forget();
  expect(read(stage).others).toBe(true);
});

test.each([
  'UPDATE journal SET bodies = heads',
  'UPDATE journal SET seq = seq + 100',
  'DELETE FROM journal',
  "INSERT OR REPLACE INTO journal SELECT seq, places, heads, x'00' FROM journal",
  'UPDATE OR REPLACE journal SET seq = 0',
])('what waits in the journal is append-only: %s is refused', async (statement) => {
  await using place = await temporaryFolder();
  using stage = new Stage(place.folder, TENANTS.length);
  stage.commit(TENANTS);
  expect(stage.journalRows).toBe(1);
  expect(() => stage.db.prepare(statement).run()).toThrow(/append-only/);
  expect(stage.differences()).toEqual([]);
});
