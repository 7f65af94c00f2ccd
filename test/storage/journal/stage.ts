import { createHash } from 'node:crypto';
import { Frontier } from '../../../src/merkle/frontier.ts';
import { leafHash } from '../../../src/merkle/hashes.ts';
import { rootOf } from '../../../src/merkle/tree.ts';
import { type Connection, openWriter } from '../../../src/storage/database.ts';
import { LogAppender } from '../../../src/storage/log/appender.ts';
import { Heads } from '../../../src/storage/log/heads.ts';
import { Parcels } from '../../../src/storage/log/parcel.ts';
import { type Found, type Position, recordStore } from '../../../src/storage/log/records.ts';
import { LogTrees } from '../../../src/storage/log/tree.ts';
import { openReader } from '../../../src/storage/reader.ts';
import type { TenantNo } from '../../../src/storage/rows.ts';
import { rowOf } from '../store.ts';

/** Logs of many tenants in one store, beside what they are to be. */
export class Stage implements Disposable {
  readonly folder: string;
  readonly journalBytes: number;
  readonly model = new Map<TenantNo, string[]>();
  readonly tenants: readonly TenantNo[];
  db: Connection;
  log: LogAppender;
  reader: Connection;

  constructor(folder: string, tenants: number, journalBytes = 1024 * 1024) {
    this.folder = folder;
    this.journalBytes = journalBytes;
    this.tenants = Array.from({ length: tenants }, (_, at) => (at + 1) as TenantNo);
    this.db = this.#opened();
    for (const no of this.tenants)
      this.db.prepare('INSERT INTO tenants (no, id) VALUES (?, ?)').run(no, `t${no}`);
    this.log = new LogAppender(this.db, undefined, journalBytes);
    this.log.begin();
    this.reader = openReader(folder);
  }

  #opened(): Connection {
    const db = openWriter({ folder: this.folder });
    // No power is cut here.
    db.pragma('synchronous = OFF');
    return db;
  }

  /** Adds a record of each; answers their indexes. The transaction is not ended. */
  begin(tenants: readonly TenantNo[]): { indexes: number[]; bodies: [TenantNo, string][] } {
    const parcel = new Parcels().make();
    const rows = tenants.map((no) => rowOf(no));
    for (const row of rows) parcel.add(row);
    const bytes = parcel.seal();
    const [heads, bodies] = [Heads.carried(new Uint8Array(bytes.heads)), Buffer.from(bytes.bodies)];
    this.db.exec('BEGIN IMMEDIATE');
    const indexes = rows.map((_, at) => this.log.add(heads, at, bodies));
    return { indexes, bodies: rows.map(({ tenantNo, body }) => [tenantNo, body]) };
  }

  commit(tenants: readonly TenantNo[]): void {
    const { indexes, bodies } = this.begin(tenants);
    this.log.write();
    this.db.exec('COMMIT');
    this.log.committed();
    this.keep(bodies, indexes);
  }

  keep(bodies: readonly [TenantNo, string][], indexes: readonly number[]): void {
    for (const [at, [no, body]] of bodies.entries()) {
      const log = this.model.get(no) ?? [];
      if (log.length !== indexes[at]) throw new Error(`index ${indexes[at]} where ${log.length} is next`);
      log.push(body);
      this.model.set(no, log);
    }
  }

  /** Files what came so far, a transaction at a time. */
  file(before = Number.POSITIVE_INFINITY): void {
    while (this.log.waits(before)) {
      this.db.exec('BEGIN IMMEDIATE');
      this.log.file(before);
      this.log.write();
      this.db.exec('COMMIT');
      this.log.committed();
    }
  }

  /** As a server that was killed and starts again. */
  reopen(): void {
    this.db.close();
    this.db = this.#opened();
    this.log = new LogAppender(this.db, undefined, this.journalBytes);
    this.log.begin();
  }

  get journalRows(): number {
    return this.db.prepare<[], number>('SELECT count(*) FROM journal').pluck().get() ?? 0;
  }

  /** What stands in the store of each log, by a reader's connection; nothing where that is what is to be. */
  differences(reader = this.reader): string[] {
    const records = recordStore(reader);
    const trees = new LogTrees(reader);
    return [...this.model].flatMap(([no, bodies]) => {
      const read = records.range(no, 0, 10_000).map(({ body }) => Buffer.from(body).toString());
      const found: unknown[] = [];
      let from: Position | undefined = { order: 'newest', at: bodies.length };
      while (from) {
        const { found: some, next }: Found<unknown> = records.search(no, {}, from, 7, ({ index, body }) => [
          index,
          sha(Buffer.from(body)),
        ]);
        found.push(...some);
        from = next;
      }
      const frontier = new Frontier();
      for (const body of bodies) frontier.append(leafHash(Buffer.from(body)));
      const root = Buffer.from(rootOf(trees.tilesOf(no), bodies.length));
      const faults = [
        records.size(no) === bodies.length ? '' : `size ${records.size(no)} of ${bodies.length}`,
        JSON.stringify(read) === JSON.stringify(bodies) ? '' : 'what is read in its order',
        JSON.stringify(found) === JSON.stringify(bodies.map((body, at) => [at, sha(body)]).toReversed())
          ? ''
          : 'what is found newest first',
        root.equals(frontier.root()) ? '' : 'its tree',
      ];
      return faults.filter((fault) => fault !== '').map((fault) => `t${no}: ${fault}`);
    });
  }

  [Symbol.dispose](): void {
    this.reader.close();
    this.db.close();
  }
}

const sha = (body: string | Uint8Array): string => createHash('sha256').update(body).digest('hex');
