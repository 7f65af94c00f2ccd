import type { Frontier } from '../../merkle/frontier.ts';
import { hashesIn, isSame } from '../../merkle/hashes.ts';
import type { Connection } from '../database.ts';
import { Damaged, faultIn, reportFault, type StoreFault } from '../faults.ts';
import { Journal, journalBytes } from '../journal/journal.ts';
import { Unfiled } from '../journal/unfiled.ts';
import { RUN_RECORDS, recordId, recordIndex, type SharedPart, type TenantNo } from '../rows.ts';
import { Volumes } from '../volume/volumes.ts';
import { damagedEnd, damagedSince } from './damage.ts';
import { Heads } from './heads.ts';
import { laidOut, type Piece, tileOf } from './laid.ts';
import { segmentSealer } from './sealing.ts';
import { Damages, lookAbove, lookAt, type RunRow } from './soundness.ts';
import { LogTrees, tileWriter } from './tree.ts';

/** What one transaction appends to one tenant's log. */
interface Run {
  readonly firstId: number;
  readonly pieces: Piece[];
}

/** Where a log ends. */
interface End {
  /** Row id of the next record. */
  id: number;
  /** How many records its count says it has, which follows in steps. */
  counted: number;
  /** Of bodies, of what they have in common, and of volumes. */
  bytes: number;
  /** Of the tree over what is written. */
  readonly frontier: Frontier;
  /** How many records its newest checkpoint is of. */
  stated: number;
}

/** A log that has grown since its last checkpoint, and what the next one is to state. */
export interface GrownLog {
  readonly no: TenantNo;
  readonly size: number;
  readonly root: Uint8Array;
}

/**
 * Appends records to the tenants' logs, each at the next index of its tenant. What one transaction appends to a log
 * is one run, that stands in a row of its own or with those of other logs in the journal (`journal.ts`): inserting a row a
 * record costs more than everything else together. A run does not cross a multiple of RUN_RECORDS.
 *
 * Where a log ends is read once and then counted on; after a failure it is read again, so that it is never guessed. It
 * is read from the runs and the journal, and not believed where it lies before the count of them, which stands in another
 * tree: one of them is damaged, and nothing is appended at an index that may have been given away. A page more in each
 * commit would be dear, so the count follows with every run that ends a tile, each second (`flush`) and at the end.
 */
export class LogAppender {
  readonly #beat: () => void;
  readonly #ends = new Map<TenantNo, End>();
  readonly #runs = new Map<TenantNo, Run>();
  /** Logs with a fault that was found elsewhere. */
  readonly #closed = new Map<TenantNo, StoreFault>();
  /** Logs whose count is behind, and those of them that this transaction ends a tile of. */
  readonly #behind = new Set<TenantNo>();
  readonly #tiled = new Set<TenantNo>();
  readonly #journal: Journal;
  readonly #unfiled: Unfiled;
  readonly #endOf: (no: TenantNo) => End;
  readonly #count: (no: number, end: End) => number;
  readonly #all;
  readonly #insertPart;
  readonly #hasPart;
  readonly #isReceived;
  readonly #insertTile;
  readonly #trees: LogTrees;
  readonly #volumes: Volumes;
  /** Logs that have no checkpoint of all their records. */
  readonly #grown = new Set<TenantNo>();
  /** Those of which one is stored by this transaction. */
  readonly #statedNow: TenantNo[] = [];

  /** `beat` is called while something takes long; `waiting`: how many bytes may wait to be filed. */
  constructor(db: Connection, beat: () => void = () => {}, waiting = journalBytes(undefined)) {
    this.#beat = beat;
    this.#journal = new Journal(db, segmentSealer(db), waiting);
    this.#unfiled = Unfiled.of(db);
    const trees = new LogTrees(db);
    this.#trees = trees;
    this.#volumes = new Volumes(db);
    this.#insertTile = tileWriter(db);
    const counted = db.prepare<[number], { size: number; bytes: number }>(
      'SELECT size, bytes FROM logs WHERE tenant_no = ?',
    );
    const uncounted = db.prepare<[number, number], { id: number; heads: Uint8Array; bytes: number }>(
      'SELECT id, heads, length(bodies) AS bytes FROM runs WHERE id >= ? AND id < ?',
    );
    /** Of the bodies of a log from a record on. */
    const bytesFrom = (no: TenantNo, from: number, id: number): number => {
      const rows = uncounted.all(recordId(no, tileOf(from) * RUN_RECORDS), id);
      const unfiled = this.#unfiled.rows(no, from, recordIndex(id));
      const all = [...rows, ...unfiled.map((row) => ({ ...row, bytes: row.bodies.length }))];
      return all.reduce((sum, row) => sum + bytesBehind(row, recordId(no, from)), 0);
    };
    this.#endOf = (no) => {
      const closed = this.#closed.get(no);
      if (closed) throw new Damaged(closed);
      const first = recordId(no, 0);
      const id = Math.max(this.#unfiled.end(no), this.#unfiled.filedEnd(no));
      const { size, bytes } = counted.get(no) ?? { size: 0, bytes: 0 };
      if (size > id - first) throw new Damaged(damagedEnd(no, size, id - first));
      const { frontier, stated } = trees.edge(no, id - first);
      return { id, counted: size, bytes: bytes + bytesFrom(no, size, id), frontier, stated };
    };
    const count = db.prepare(
      `INSERT INTO logs (tenant_no, size, bytes) VALUES (?, ?, ?)
       ON CONFLICT DO UPDATE SET size = excluded.size, bytes = excluded.bytes`,
    );
    this.#count = (no, end) => {
      const size = recordIndex(end.id);
      const more = size - end.counted;
      count.run(no, size, end.bytes);
      end.counted = size;
      return more;
    };
    this.#all = db.prepare<[number, number], RunRow>(
      'SELECT id, heads, bodies FROM runs WHERE id >= ? AND id < ? ORDER BY id',
    );
    this.#isReceived = db.prepare<[number], number>('SELECT 1 FROM received WHERE no = ?').pluck();
    this.#insertPart = db.prepare(
      `INSERT INTO parts (tenant_no, digest, body, last_id) VALUES (?, ?, ?, ?)
       ON CONFLICT DO UPDATE SET last_id = excluded.last_id`,
    );
    this.#hasPart = db
      .prepare<[number, string], number>('SELECT 1 FROM parts WHERE tenant_no = ? AND digest = ?')
      .pluck();
  }

  /** Takes a record up; answers its index. It is in the transaction after `write`. */
  add(heads: Heads, at: number, bodies: Uint8Array): number {
    const no = heads.tenantNo(at) as TenantNo;
    const end = this.#known(no);
    const { id } = end;
    end.id += 1;
    end.bytes += heads.end(at) - heads.start(at);
    const run = this.#runs.get(no);
    const last = run?.pieces.at(-1);
    if (last?.heads === heads && last.to === at) last.to += 1;
    else if (run) run.pieces.push({ heads, bodies, from: at, to: at + 1 });
    else this.#runs.set(no, { firstId: id, pieces: [{ heads, bodies, from: at, to: at + 1 }] });
    if ((id + 1) % RUN_RECORDS === 0) {
      this.#finish(no);
      this.#tiled.add(no);
    }
    return recordIndex(id);
  }

  /** Keeps what the next records of the transaction have in common, at most so many, unless it is there already. */
  share(no: TenantNo, { digest, body }: SharedPart, records: number): void {
    const end = this.#known(no);
    if (!this.#hasPart.get(no, digest)) this.adjust(no, Buffer.byteLength(body));
    this.#insertPart.run(no, digest, body, end.id + records - 1);
  }

  /** What the log takes changes by so many bytes, beside what is appended to it. Of one that is damaged nobody counts. */
  adjust(no: TenantNo, bytes: number): void {
    try {
      this.#known(no).bytes += bytes;
      this.#behind.add(no);
    } catch (error) {
      if (!(error instanceof Damaged)) throw error;
    }
  }

  /** How many bytes the log takes: bodies, what they have in common, and volumes that are here. */
  bytes(no: TenantNo): number {
    return this.#known(no).bytes;
  }

  #known(no: TenantNo): End {
    let end = this.#ends.get(no);
    if (!end) {
      end = this.#endOf(no);
      this.#ends.set(no, end);
    }
    return end;
  }

  /** Writes what was taken up; answers by how many records the counts went on. */
  write(): number {
    for (const no of this.#runs.keys()) this.#finish(no);
    this.#journal.write();
    let more = 0;
    for (const [no, end] of this.#lagging(this.#tiled)) {
      more += this.#count(no, end);
      this.#behind.delete(no);
    }
    return more;
  }

  /** Logs whose count is behind. One that is damaged has none any more, and is nobody else's trouble. */
  *#lagging(logs: ReadonlySet<TenantNo>): Generator<[TenantNo, End]> {
    for (const no of logs) {
      let end: End;
      try {
        end = this.#known(no);
      } catch (error) {
        if (!(error instanceof Damaged)) throw error;
        reportFault(error.fault);
        this.#behind.delete(no);
        continue;
      }
      yield [no, end];
    }
  }

  /** Whether any count is behind. */
  get isBehind(): boolean {
    return this.#behind.size > 0;
  }

  /** In a transaction of its own: all counts say where their logs end. Answers by how many records they went on. */
  flush(): number {
    let more = 0;
    for (const [no, end] of this.#lagging(this.#behind)) more += this.#count(no, end);
    this.#behind.clear();
    return more;
  }

  /** Takes up what an earlier server left in the journal. Throws what `faultIn` tells. */
  begin(): void {
    this.#journal.load();
  }

  /** In a transaction of its own: files some of what came before a moment. */
  file(before: number): void {
    this.#journal.file(before);
  }

  /** Whether anything waits to be filed that came before a moment. */
  waits(before: number): boolean {
    return this.#journal.hasOlder(before);
  }

  /** After a transaction that did. */
  committed(): void {
    this.#statedNow.length = 0;
    this.#tiled.clear();
    this.#journal.committed();
  }

  /** After a transaction that failed and is over. Answers whether it was committed all the same. */
  forget(): boolean {
    for (const no of this.#statedNow.splice(0)) this.#grown.add(no);
    // Which counts are behind is known for longer.
    this.#ends.clear();
    this.#runs.clear();
    this.#tiled.clear();
    return this.#journal.forget();
  }

  /** Nothing is appended to it any more. */
  close(no: TenantNo, fault: StoreFault): void {
    this.#closed.set(no, fault);
    this.#ends.delete(no);
    this.#grown.delete(no);
  }

  /**
   * Whether a log ends as it should and is the one it stated to be; if it has grown since, it is to state that. Of one that
   * is counted on: whether it is in the store what it was when it was written. Throws `Damaged`.
   */
  check(no: TenantNo): void {
    const known = this.#ends.get(no);
    if (!known) {
      const { frontier, stated } = this.#endOf(no);
      if (frontier.size > stated) this.#grown.add(no);
      return;
    }
    const { size } = known.frontier;
    if (!isSame(this.#trees.edge(no, size).frontier.root(), known.frontier.root()))
      throw new Damaged(damagedSince(no, size));
  }

  /** What is wrong with a log first, in an operator's words. Undefined if it is whole: all of it was read then. */
  damageIn(no: TenantNo): string | undefined {
    const found: string[] = [];
    const tell = ({ text }: StoreFault): void => void found.push(text);
    const damages = new Damages(tell);
    try {
      let expected = recordId(no, 0);
      for (const row of this.#everyRun(no)) {
        this.#beat();
        expected = lookAt(row, expected, damages, this.#volumes);
        if (found.length > 0) return found[0];
      }
      damages.flush();
      for (let end = recordId(no, RUN_RECORDS); end <= expected && found.length === 0; end += RUN_RECORDS) {
        this.#beat();
        lookAbove(this.#trees, end, tell);
      }
      if (found.length === 0) this.#endOf(no);
    } catch (error) {
      const fault = faultIn(error);
      if (!fault) throw error;
      found.push(fault.text);
    }
    return found[0];
  }

  *#everyRun(no: TenantNo): Generator<RunRow> {
    yield* this.#all.iterate(recordId(no, 0), recordId((no + 1) as TenantNo, 0));
    yield* this.#unfiled.rows(no, 0, Number.POSITIVE_INFINITY);
  }

  /**
   * Some of the logs that have grown, those for longest first, as they are after this transaction. One that is damaged is
   * not among them any more.
   */
  grown(limit: number): GrownLog[] {
    const logs: GrownLog[] = [];
    for (const no of this.#grown) {
      if (logs.length === limit) break;
      // Another server's log states itself what it is.
      if (this.#isReceived.get(no)) {
        this.#grown.delete(no);
        continue;
      }
      try {
        this.#finish(no);
        const { frontier } = this.#known(no);
        logs.push({ no, size: frontier.size, root: frontier.root() });
      } catch (error) {
        if (!(error instanceof Damaged)) throw error;
        reportFault(error.fault);
        this.#grown.delete(no);
      }
    }
    // One that cannot be signed is handed out again when all others were.
    for (const { no } of logs) {
      this.#grown.delete(no);
      this.#grown.add(no);
    }
    return logs;
  }

  /** A checkpoint of the log is being stored. */
  stated(no: TenantNo, size: number): void {
    const end = this.#known(no);
    end.stated = Math.max(end.stated, size);
    this.#grown.delete(no);
    this.#statedNow.push(no);
    // It goes to the end of the queue if it has grown meanwhile.
    if (end.frontier.size > end.stated) this.#grown.add(no);
  }

  #finish(no: TenantNo): void {
    const run = this.#runs.get(no);
    if (!run) return;
    this.#runs.delete(no);
    this.#behind.add(no);
    this.#grown.add(no);
    const laid = laidOut(run.firstId, run.pieces);
    this.#journal.add(no, laid);
    const { frontier } = this.#known(no);
    for (const leaf of hashesIn(laid.heads.leaves(0, laid.heads.capacity) ?? NONE))
      frontier.append(leaf, (level, at, hash) => this.#insertTile(no, level, at, hash));
  }
}

const NONE = new Uint8Array();

/** How many bytes of bodies a run has from a record on. */
function bytesBehind(
  { id, heads: stored, bytes }: { id: number; heads: Uint8Array; bytes: number },
  from: number,
): number {
  const heads = Heads.stored(stored);
  if (id >= from || bytes === 0) return bytes;
  return from >= id + heads.capacity ? 0 : heads.end(heads.capacity - 1) - heads.end(from - id - 1);
}
