import { cp, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import Database from 'better-sqlite3';
import { LogProofs } from '../../src/audit/proof/proofs.ts';
import { systemClock } from '../../src/effects.ts';
import { parseTilePath, type TileName } from '../../src/merkle/tile-path.ts';
import { Heads, type NameHashes } from '../../src/storage/log/heads.ts';
import { openReader } from '../../src/storage/reader.ts';
import type { TenantNo } from '../../src/storage/rows.ts';
import { leafOf, treeOf } from '../e2e/log-by-hand.ts';
import { connect } from '../e2e/requests.ts';
import { checkpointOf, checkpointStored, decide, decideOne, tilesOf } from '../e2e/served-log.ts';
import { startServer } from '../e2e/server.ts';

/** A store of some hundred records that a server left, and what somebody does to it who may write to its files. */

/** How many records acme's log begins with: its manifest, its policy, its key, and that the server begins. */
export const BEGUN = 4;
/** How many it has. */
export const SIZE = 612;
/** How many the checkpoint covers that was kept from before. */
export const OLDER = 302;

export interface Left extends AsyncDisposable {
  /** The store of the stopped server. */
  readonly store: string;
  /** The files of acme's log, as they were served. */
  readonly files: string;
  readonly keys: { readonly acme: string; readonly globex: string };
  readonly checkpoints: { readonly older: string; readonly newest: string; readonly globex: string };
  receipt(index: number): string;
}

export async function leftStore(): Promise<Left> {
  const server = await startServer();
  const keyOf = async (tenant: string): Promise<string> =>
    (await connect<{ key: string }>(server.admin, 'AuditService/DescribeLog', { tenant })).body.key;
  await decide(server, OLDER - BEGUN);
  const older = await checkpointOf(server, OLDER);
  await decide(server, SIZE - OLDER - 13);
  // With a context that the records have in common.
  await decide(server, 6, { context: { text: 'x'.repeat(2_000) } });
  for (let turn = 0; turn < 6; turn += 1) await decideOne(server);
  const keys = { acme: await keyOf('acme'), globex: await keyOf('globex') };
  // The last record is that it stops.
  await server.stop();
  const store = path.join(server.folder, 'data');
  const files = path.join(server.folder, 'files');
  const db = openReader(store);
  const no = db.prepare<[], TenantNo>("SELECT no FROM tenants WHERE id = 'acme'").pluck().get() as TenantNo;
  const proofs = new LogProofs(db, systemClock);
  await mirror(proofs, no, files);
  const receipts = new Map([0, 255, 300, SIZE - 1].map((index) => [index, proofs.receipt(no, index)]));
  db.close();
  const [newest, globex] = ['acme', 'globex'].map((tenant) => checkpointStored(server.folder, tenant));
  return {
    store,
    files,
    keys,
    checkpoints: { older, newest: newest ?? '', globex: globex ?? '' },
    receipt: (index) => receipts.get(index) ?? '',
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

/** Every file of a log, in a folder, as it would be served. */
async function mirror(proofs: LogProofs, no: TenantNo, folder: string): Promise<void> {
  const put = async (name: string, bytes: Uint8Array): Promise<void> => {
    await mkdir(path.dirname(path.join(folder, name)), { recursive: true });
    await writeFile(path.join(folder, name), bytes);
  };
  await put('checkpoint', Buffer.from(proofs.shown(no).source));
  const names = [...tilesOf(0, SIZE), ...tilesOf(1, Math.floor(SIZE / 256)), ...tilesOf('entries', SIZE)];
  for (const name of names) await put(name, proofs.tile(no, parseTilePath(name) as TileName));
}

export interface Copy extends AsyncDisposable {
  readonly folder: string;
}

export async function copyOf(folder: string): Promise<Copy> {
  const copy = await mkdtemp(path.join(tmpdir(), 'mandate-attacked-'));
  await cp(folder, copy, { recursive: true });
  return { folder: copy, [Symbol.asyncDispose]: () => rm(copy, { recursive: true, force: true }) };
}

/** A copy of the store after somebody was at it. */
export async function attacked(store: string, attack: (log: AttackedLog) => void): Promise<Copy> {
  const copy = await copyOf(store);
  const db = new Database(path.join(copy.folder, 'mandate.db'));
  const triggers = db.prepare<[], string>("SELECT name FROM sqlite_master WHERE type = 'trigger'");
  for (const name of triggers.pluck().all()) db.exec(`DROP TRIGGER ${name}`);
  attack(new AttackedLog(db));
  db.close();
  return copy;
}

export interface Entry {
  index: number;
  head: Buffer;
  leaf: Buffer;
  names: NameHashes;
  body: Buffer;
}

const SPAN = 2 ** 36;
const [HEAD, HASH] = [32, 32];

/** Acme's log, in the hands of somebody who knows how it is stored. */
export class AttackedLog {
  readonly db: Database.Database;
  readonly no: number;

  constructor(db: Database.Database) {
    this.db = db;
    this.no = db.prepare<[], number>("SELECT no FROM tenants WHERE id = 'acme'").pluck().get() ?? 0;
  }

  run(sql: string, ...values: unknown[]): void {
    const { changes } = this.db.prepare(sql).run(...values);
    if (changes === 0) throw new Error(`nothing was changed by ${sql}`);
  }

  /** All entries. */
  entries(): Entry[] {
    const rows = this.db.prepare<[number, number], { id: number; heads: Buffer; bodies: Buffer }>(
      'SELECT id, heads, bodies FROM runs WHERE id >= ? AND id < ? ORDER BY id',
    );
    return rows.all(this.no * SPAN, (this.no + 1) * SPAN).flatMap(({ id, heads, bodies }) => {
      const stored = Heads.stored(heads);
      const count = stored.capacity;
      return Array.from({ length: count }, (_, at) => ({
        index: (id % SPAN) + at,
        head: heads.subarray(at * HEAD, (at + 1) * HEAD),
        names: stored.names(at),
        leaf: heads.subarray(count * HEAD + at * HASH, count * HEAD + (at + 1) * HASH),
        body: bodies.subarray(
          at === 0 ? 0 : heads.readUInt32LE(at * HEAD - 20),
          heads.readUInt32LE(at * HEAD + 12),
        ),
      }));
    });
  }

  /** Puts these in the place of all there are, with sums that fit, and hashes as they are given. */
  put(entries: readonly Entry[]): void {
    this.run('DELETE FROM runs WHERE id >= ? AND id < ?', this.no * SPAN, (this.no + 1) * SPAN);
    const runs: Entry[][] = [];
    for (const entry of entries) {
      const run = runs.at(-1);
      if (run?.at(-1)?.index === entry.index - 1 && entry.index % 256 !== 0) run.push(entry);
      else runs.push([entry]);
    }
    for (const run of runs) this.insert(run);
  }

  /** One run more. */
  insert(run: readonly Entry[]): void {
    const id = this.no * SPAN + (run[0]?.index ?? 0);
    const carried = Heads.carried(new Uint8Array(Heads.sizeOf(run.length)));
    carried.bytes(0, run.length).set(Buffer.concat(run.map(({ head }) => head)));
    for (const [at, { leaf, names }] of run.entries()) {
      carried.putLeaf(at, leaf);
      carried.putNames(at, names);
    }
    const heads = Heads.run([{ heads: carried, from: 0, to: run.length }]);
    let end = 0;
    for (const [at, { body }] of run.entries()) {
      end += body.length;
      heads.lay(at, end);
    }
    heads.seal(id);
    const bodies = Buffer.concat(run.map(({ body }) => body));
    this.run('INSERT INTO runs (id, heads, bodies) VALUES (?, ?, ?)', id, heads.all, bodies);
  }

  /** Changes entries, and leaves their hashes as they were. */
  change(indexes: readonly number[], change = renamed): void {
    this.put(
      this.entries().map((entry) =>
        indexes.includes(entry.index) ? { ...entry, body: change(entry.body) } : entry,
      ),
    );
  }

  /** Changes entries and their hashes. */
  forge(indexes: readonly number[], change = renamed): void {
    this.put(this.entries().map((entry) => (indexes.includes(entry.index) ? forged(entry, change) : entry)));
  }

  /** The row id of an index. */
  at(index: number): number {
    return this.no * SPAN + index;
  }

  /** Puts the hashes of the tiles right that are full. */
  rehash(): void {
    const leaves = this.entries().map(({ leaf }) => leaf);
    this.db.prepare('DELETE FROM tiles WHERE tenant_no = ?').run(this.no);
    for (let at = 0; (at + 1) * 256 <= leaves.length; at += 1)
      this.run(
        'INSERT INTO tiles VALUES (?, 1, ?, ?)',
        this.no,
        at,
        treeOf(leaves.slice(at * 256, (at + 1) * 256)),
      );
  }

  /** How many records the log is said to have. */
  count(size: number): void {
    this.run('UPDATE logs SET size = ? WHERE tenant_no = ?', size, this.no);
  }

  state(note: string): void {
    this.run('UPDATE checkpoints SET note = ? WHERE tenant_no = ?', note, this.no);
  }
}

const forged = (entry: Entry, change: (body: Buffer) => Buffer): Entry => {
  const body = change(entry.body);
  return { ...entry, body, leaf: leafOf(body) };
};

/** The same decision, about somebody else. */
export const renamed = (body: Buffer): Buffer =>
  Buffer.from(body.toString('utf8').replaceAll('alice', 'mallory'));
