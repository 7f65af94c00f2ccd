import { randomBytes } from 'node:crypto';
import { expect, test } from 'vitest';
import { leafHash } from '../../../src/merkle/hashes.ts';
import { type Connection, openWriter } from '../../../src/storage/database.ts';
import { LogAppender } from '../../../src/storage/log/appender.ts';
import { Heads } from '../../../src/storage/log/heads.ts';
import { Parcels } from '../../../src/storage/log/parcel.ts';
import type { TenantNo } from '../../../src/storage/rows.ts';
import { Scrub } from '../../../src/storage/watch/scrub.ts';
import { rowOf, temporaryFolder } from '../store.ts';
import { kept } from '../volume/kept.ts';

/** What changes under a server that runs: its records are sound by themselves, and others than it wrote. */

const NO = 1 as TenantNo;

function append(db: Connection, log: LogAppender, count: number): void {
  const parcel = new Parcels().make();
  for (let n = 0; n < count; n += 1) parcel.add(rowOf(NO, { subject: { class: 'user', id: `user-${n}` } }));
  const bytes = parcel.seal();
  const [heads, bodies] = [Heads.carried(new Uint8Array(bytes.heads)), Buffer.from(bytes.bodies)];
  db.exec('BEGIN');
  for (let at = 0; at < count; at += 1) log.add(heads, at, bodies);
  log.write();
  db.exec('COMMIT');
  log.committed();
}

/** Changes the last record with its own hash and the sum over it. */
function forge(db: Connection): void {
  db.exec('DROP TRIGGER runs_no_update');
  const row = db
    .prepare<[], { id: number; heads: Buffer; bodies: Buffer }>('SELECT * FROM runs ORDER BY id DESC LIMIT 1')
    .get();
  if (!row) throw new Error('there is no run');
  const heads = Heads.stored(row.heads);
  const last = heads.capacity - 1;
  const body = row.bodies.subarray(heads.start(last), heads.end(last));
  body.set(Buffer.from(body.toString().replace('"allow"', '"ALLOW"')));
  heads.putLeaf(last, leafHash(body));
  heads.seal(row.id);
  db.prepare('UPDATE runs SET heads = ?, bodies = ? WHERE id = ?').run(heads.all, row.bodies, row.id);
}

test('a record of the last tile that was changed with its hash is found by the next look at its log', async () => {
  await using place = await temporaryFolder();
  const db = openWriter({ folder: place.folder });
  try {
    db.exec("INSERT INTO tenants (no, id) VALUES (1, 'acme')");
    const log = new LogAppender(db);
    append(db, log, 300);
    append(db, log, 7);
    log.check(NO);
    forge(db);
    expect(() => log.check(NO)).toThrow(
      'its log of 307 records is not the one that was written: its last ones are others',
    );
  } finally {
    db.close();
  }
});

test('a pass reads each run once, however large the volumes are', async () => {
  await using log = await kept();
  // What does not compress: chunks of volumes that a pass comes back to.
  const rows = Array.from({ length: 768 }, () =>
    rowOf(log.no, { members: `,"noise":"${randomBytes(900).toString('hex')}"` }),
  );
  await log.grow(rows);
  await log.keeper.make(log.no);
  await log.grow(rows.slice(0, 10));
  let reads = 0;
  const counting = new Proxy(log.reader, {
    get: (db, name) => {
      if (name !== 'prepare') return Reflect.get(db, name) as unknown;
      return (sql: string) => {
        const statement = db.prepare(sql);
        if (!sql.includes('FROM runs WHERE id >= ? ORDER BY id LIMIT 1')) return statement;
        const get = statement.get.bind(statement);
        return Object.assign(statement, {
          get: (...args: unknown[]) => {
            reads += 1;
            return get(...args);
          },
        });
      };
    },
  });
  new Scrub(
    counting,
    () => undefined,
    () => false,
  ).begin();
  const runs = log.reader.prepare<[], number>('SELECT count(*) FROM runs').pluck().get() ?? 0;
  expect(log.volumes.all()[0]?.bytes).toBeGreaterThan(600_000);
  expect(reads).toBe(runs + 1);
});
