import { createPublicKey } from 'node:crypto';
import { cp } from 'node:fs/promises';
import Database from 'better-sqlite3';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { verifyStore } from '../../src/audit/proof/verify-store.ts';
import { checkpointText } from '../../src/merkle/checkpoint.ts';
import { EMPTY_ROOT } from '../../src/merkle/hashes.ts';
import { SignatureType } from '../../src/merkle/keys.ts';
import { signNote } from '../../src/merkle/note.ts';
import { type Connection, openWriter } from '../../src/storage/database.ts';
import type { GrownLog } from '../../src/storage/log/appender.ts';
import { Parcels } from '../../src/storage/log/parcel.ts';
import { recordStore } from '../../src/storage/log/records.ts';
import { openReader } from '../../src/storage/reader.ts';
import type { TenantNo } from '../../src/storage/rows.ts';
import { Disk } from '../../src/storage/watch/disk.ts';
import { Identity } from '../../src/storage/watch/identity.ts';
import { Marks } from '../../src/storage/watch/marks.ts';
import { Pulse } from '../../src/storage/watch/pulse.ts';
import { Quotas } from '../../src/storage/watch/quotas.ts';
import { Room } from '../../src/storage/watch/room.ts';
import { Applier } from '../../src/storage/writing/applier.ts';
import type { BatchDone, CommandEntry } from '../../src/storage/writing/protocol.ts';
import { newSigner } from '../merkle/signers.ts';
import { rowOf, T0, temporaryFolder } from '../storage/store.ts';

/**
 * Each step of a commit, of filing and of a checkpoint fails, once it is done or before: the server goes on, or is killed
 * there. Then the store opens, what was answered is there and nothing twice, and each log is the one of its checkpoints.
 */

const TENANTS = 20;
const COMMITS = 8;
const JOURNAL_BYTES = 25_000;
const keys = Array.from({ length: TENANTS }, (_, at) =>
  newSigner(`log.example/t/t${at + 1}/log/main`, SignatureType.ED25519),
);

/** By how the statement begins that does it. */
const steps = {
  'a transaction begins': 'BEGIN IMMEDIATE',
  'records are put into the journal': 'INSERT INTO journal',
  'records are filed': 'INSERT INTO runs',
  'the journal moves on': 'UPDATE store SET filed',
  'a row leaves the journal': 'DELETE FROM journal',
  'a tile is finished': 'INSERT INTO tiles',
  'a count goes on': 'INSERT INTO logs',
  'a checkpoint is stored': 'INSERT INTO checkpoints (tenant_no, size, note) VALUES (?, ?, ?)',
  'a transaction is committed': 'COMMIT',
} as const;

interface Fault {
  readonly begins: string;
  /** How many of them go well before. */
  left: number;
  readonly isDone: boolean;
  readonly isKilled: boolean;
  isMet: boolean;
}

class Server {
  readonly #db: Connection;
  readonly #marks: Marks;
  readonly #applier: Applier;
  readonly #fault: Fault;

  constructor(folder: string, fault: Fault) {
    this.#fault = fault;
    const db = openWriter({ folder });
    // What is tested is no power cut.
    db.pragma('synchronous = OFF');
    this.#db = db;
    const faulty = this.#faulty();
    this.#marks = Marks.open(folder, db);
    const [identity, disk] = [new Identity(db.name), new Disk(folder)];
    identity.look();
    this.#applier = new Applier({
      db: faulty,
      marks: this.#marks,
      identity,
      room: new Room(db, undefined, disk),
      quotas: new Quotas(),
      pulse: new Pulse(),
      journalBytes: JOURNAL_BYTES,
    });
    this.#applier.begin();
  }

  #faulty(): Connection {
    const db = this.#db;
    return new Proxy(db, {
      get: (_, name) => {
        const value = Reflect.get(db, name, db) as unknown;
        if (name === 'prepare') return (sql: string) => this.#prepared(sql);
        return typeof value === 'function' ? (value.bind(db) as unknown) : value;
      },
    });
  }

  #prepared(sql: string) {
    const statement = this.#db.prepare(sql);
    const run = statement.run.bind(statement);
    const fault = this.#fault;
    return Object.assign(statement, {
      run: (...args: unknown[]) => {
        const fails = (): never => {
          throw new Database.SqliteError('disk I/O error', 'SQLITE_IOERR');
        };
        if (fault.isMet && fault.isKilled) fails();
        if (fault.isMet || !sql.startsWith(fault.begins) || fault.left-- > 0) return run(...args);
        fault.isMet = true;
        if (fault.isDone) run(...args);
        return fails();
      },
    });
  }

  /** Whether the process would be there to answer. */
  get isAlive(): boolean {
    return !(this.#fault.isMet && this.#fault.isKilled);
  }

  commands(entries: readonly Omit<CommandEntry, 'unit' | 'recorded'>[]): BatchDone {
    const commands = entries.map((each, unit) => ({ ...each, unit, recorded: false }));
    return this.#applier.apply([
      { parcel: new Parcels().make().seal(), commands, shared: undefined, whole: false },
    ]);
  }

  append(tenants: readonly TenantNo[], answered: (no: TenantNo, index: number, body: string) => void): void {
    const rows = tenants.map((no) => rowOf(no));
    const parcel = new Parcels().make();
    for (const row of rows) parcel.add(row);
    const [done] = this.#applier.apply([
      { parcel: parcel.seal(), commands: [], shared: undefined, whole: false },
    ]);
    if (!this.isAlive) return;
    for (const [at, { tenantNo, body }] of rows.entries())
      if (!done?.errors.has(at)) answered(tenantNo, done?.indexes[at] ?? -1, body);
  }

  flush(): void {
    this.#applier.flush();
  }

  /** `isKilled`: nothing is put in order before. */
  close(isKilled: boolean): Promise<void> {
    if (!isKilled) this.#applier.finish();
    this.#db.close();
    return this.#marks.close();
  }
}

class Life {
  readonly answered: { no: TenantNo; index: number; body: string }[] = [];
  /** Signed, whether they were stored or not. */
  readonly kept: string[] = [];
  readonly folder: string;
  #turn = 0;

  constructor(folder: string) {
    this.folder = folder;
  }

  /** The same in a copy. */
  goingOn(folder: string): Life {
    const life = new Life(folder);
    life.answered.push(...this.answered);
    life.kept.push(...this.kept);
    life.#turn = this.#turn;
    return life;
  }

  begin(server: Server): void {
    for (const [at, key] of keys.entries()) {
      server.commands([{ name: 'putTenant', args: { id: `t${at + 1}` } }]);
      const publicKey = createPublicKey(key.privateKey).export({ format: 'der', type: 'spki' }).subarray(-32);
      const note = signNote(checkpointText({ origin: key.name, size: 0, root: EMPTY_ROOT }), key);
      const made = { origin: key.name, publicKey, sealed: Buffer.of(0), createdAt: T0 };
      server.commands([{ name: 'putLogKey', args: { tenantNo: at + 1, key: made, note } }]);
    }
  }

  work(server: Server, commits: number): void {
    for (let n = 0; n < commits && server.isAlive; n += 1) {
      this.#turn += 1;
      // Each has one, the first ones many: some end a tile, some fill pages, most wait.
      const tenants = Array.from({ length: TENANTS + 100 }, (_, at) =>
        at < TENANTS ? at + 1 : 1 + ((at * this.#turn) % 2),
      );
      server.append(tenants as TenantNo[], (no, index, body) => void this.answered.push({ no, index, body }));
      if (server.isAlive && n % 3 === 2) this.#state(server);
      if (server.isAlive && n % 4 === 3) server.flush();
    }
  }

  #state(server: Server): void {
    const [done] = server.commands([{ name: 'grownLogs', args: { limit: 8 } }]);
    if (!server.isAlive) return;
    const notes = ((done?.values.get(0) ?? []) as GrownLog[]).flatMap(({ no, size, root }) => {
      const key = keys[no - 1];
      return key
        ? [{ tenantNo: no, size, note: signNote(checkpointText({ origin: key.name, size, root }), key) }]
        : [];
    });
    this.kept.push(...notes.map(({ note }) => note));
    server.commands(notes.map((args) => ({ name: 'putCheckpoint', args })));
  }

  /** Nothing where all is well. */
  faults(): unknown[] {
    const reader = openReader(this.folder);
    try {
      const kept = this.kept.map((source, at) => ({ what: `checkpoint ${at}`, source }));
      const policy = { logs: keys, quorum: undefined };
      const verdicts = [...verifyStore(reader, { policy, kept, progress: () => undefined })];
      const records = recordStore(reader);
      const logs = new Map(
        keys.map((_, at) => {
          const bodies = records.range((at + 1) as TenantNo, 0, 10_000);
          return [at + 1, bodies.map(({ body }) => Buffer.from(body).toString())];
        }),
      );
      return [
        ...verdicts.flatMap(({ faults }) => faults),
        ...this.answered.filter(({ no, index, body }) => logs.get(no)?.[index] !== body),
        ...[...logs].filter(([, bodies]) => new Set(bodies).size !== bodies.length),
      ];
    } finally {
      reader.close();
    }
  }
}

const forms = [
  { form: 'persisted', isDone: true },
  { form: 'not persisted', isDone: false },
];
const ends = [
  { after: 'the server goes on', isKilled: false },
  { after: 'it is killed', isKilled: true },
];
const cases = Object.keys(steps).flatMap((step) =>
  forms.flatMap((form) => ends.map((each) => ({ step: step as keyof typeof steps, ...form, ...each }))),
);

const NONE: Fault = { begins: 'nothing', left: 0, isDone: false, isKilled: false, isMet: false };

let begun: { folder: string; life: Life } & AsyncDisposable;
beforeAll(async () => {
  const place = await temporaryFolder();
  const life = new Life(place.folder);
  const server = new Server(place.folder, NONE);
  life.begin(server);
  life.work(server, 3);
  await server.close(true);
  begun = { folder: place.folder, life, [Symbol.asyncDispose]: () => place[Symbol.asyncDispose]() };
});
afterAll(() => begun[Symbol.asyncDispose]());

test.each(cases)('$step and fails, $form, and $after', async ({ step, isDone, isKilled }) => {
  await using place = await temporaryFolder();
  await cp(begun.folder, place.folder, { recursive: true });
  const life = begun.life.goingOn(place.folder);
  const fault: Fault = { begins: steps[step], left: 1, isDone, isKilled, isMet: false };
  const server = new Server(life.folder, fault);
  life.work(server, COMMITS);
  expect(fault.isMet).toBe(true);
  await server.close(isKilled);
  expect(life.faults()).toEqual([]);
  const next = new Server(life.folder, NONE);
  life.work(next, 2);
  await next.close(false);
  expect(life.faults()).toEqual([]);
  expect(life.answered.length).toBeGreaterThan(250);
});
