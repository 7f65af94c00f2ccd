import { subscribe } from 'node:diagnostics_channel';
import { type MessagePort, parentPort, workerData } from 'node:worker_threads';
import { describe } from '../errors.ts';
import { type Commands, prepareCommands } from './commands.ts';
import { type Connection, claim, databaseFile, openWriter } from './database.ts';
import { faultChannel, faultIn, reportFault, type StoreFault } from './faults.ts';
import { LogAppender } from './log/appender.ts';
import { Heads } from './log/heads.ts';
import { Runs } from './log/runs.ts';
import type { TenantNo } from './rows.ts';
import { Disk } from './watch/disk.ts';
import { Identity } from './watch/identity.ts';
import { compareWithMarks, Marks } from './watch/marks.ts';
import { LOOK_MS, Pulse } from './watch/pulse.ts';
import { WriteAheadLog } from './watch/write-ahead-log.ts';
import type {
  Batch,
  BatchDone,
  BatchItem,
  FromWriter,
  ItemDone,
  ToWriter,
  WriterOptions,
} from './writer-protocol.ts';

/** The thread that owns the one connection that writes. A batch is one transaction: all of it is durable, or none. */
function serve(port: MessagePort, options: WriterOptions): void {
  const pulse = new Pulse(options.pulse);
  pulse.keep();
  const claimed = claim(options.folder);
  compareWithMarks(options.folder, databaseFile(options.folder));
  const db = openWriter(options);
  const marks = Marks.open(options.folder, db);
  const identity = new Identity(db.name);
  identity.look();
  const commands = prepareCommands(db);
  const log = new LogAppender(db);
  const begin = db.prepare('BEGIN IMMEDIATE');
  const commit = db.prepare('COMMIT');
  const rollback = db.prepare('ROLLBACK');

  const tell = (message: FromWriter): void => port.postMessage(message);
  subscribe(faultChannel.name, (message) => tell({ fault: message as StoreFault }));

  const allChanges = db.prepare<[], number>('SELECT total_changes()').pluck();
  const countChange = db.prepare('UPDATE store SET changes = changes + 1');
  let isCommanded = false;

  const transaction = (work: () => void): void => {
    begin.run();
    try {
      isCommanded = false;
      const before = allChanges.get();
      work();
      const isChanged = isCommanded && allChanges.get() !== before;
      if (isChanged) countChange.run();
      const records = log.write();
      commit.run();
      marks.committed(records, isChanged ? 1 : 0);
    } catch (error) {
      log.forget();
      const fault = faultIn(error);
      if (fault) reportFault(fault);
      if (db.inTransaction) rollback.run();
      throw error;
    }
  };

  const applyUnit = ({ command, record }: Unit, at: number, { source, indexes, values }: Work): void => {
    if (command) {
      isCommanded = true;
      const value = commands[command.name as keyof Commands](command.args as never);
      values.set(at, value);
      if (value === undefined) return;
    }
    if (record !== undefined) indexes[at] = log.add(source.heads, record, source.bodies);
  };

  const applyItem = (work: Work): void => {
    for (const [at, unit] of work.units.entries()) applyUnit(unit, at, work);
  };

  /** What fails must not take its neighbours down: each again, in a transaction of its own. */
  const applyApart = (work: Work): void => {
    const attempt = (at: number, apply: () => void): void => {
      try {
        transaction(apply);
      } catch (error) {
        work.indexes.fill(-1, at, work.item.whole ? undefined : at + 1);
        work.errors.set(at, describe(error));
      }
    };
    if (work.item.whole) attempt(0, () => applyItem(work));
    else for (const [at, unit] of work.units.entries()) attempt(at, () => applyUnit(unit, at, work));
  };

  const apply = (batch: Batch): BatchDone => {
    let works = batch.map(prepare);
    const lost = identity.beforeCommit();
    if (lost !== '') works.forEach((work) => refuse(work, lost));
    else
      try {
        transaction(() => works.forEach(applyItem));
      } catch {
        works = batch.map(prepare);
        works.forEach(applyApart);
      }
    const gone = identity.afterCommit();
    if (gone !== '') works.forEach((work) => refuse(work, gone));
    return works.map(({ item: { parcel }, indexes, values, errors }) => ({
      parcel,
      indexes,
      values,
      errors,
    }));
  };

  const writeAhead = new WriteAheadLog(db, () => identity.truncated());
  const answer = (to: MessagePort, batch: Batch): void => {
    pulse.beat();
    const buffers = batch.flatMap(({ parcel }) => [parcel.heads, parcel.bodies]);
    to.postMessage(apply(batch), buffers);
    writeAhead.committed();
  };

  const disk = new Disk(options.folder);
  let standing = '';
  const look = (): void => {
    writeAhead.look();
    disk.look();
    marks.look();
    const now = identity.look() || writeAhead.problem || disk.problem;
    if (now !== standing) tell({ standing: now });
    standing = now;
  };
  setInterval(look, LOOK_MS).unref();

  const others: MessagePort[] = [];
  const close = async (): Promise<void> => {
    await marks.close();
    identity.close();
    db.close();
    claimed.close();
    for (const each of [...others, port]) each.close();
  };
  port.on('message', (message: ToWriter) => {
    if (message === 'close') void close();
    else if ('connect' in message) {
      const { connect } = message;
      others.push(connect);
      connect.on('message', (batch: Batch) => answer(connect, batch));
    } else answer(port, message);
  });
  port.postMessage('ready');
  checkEnds(db);
}

/** How long the ends of logs are looked at in one go. */
const SLICE_MS = 10;

/** Looks whether each log ends where it should; which one does not is reported. Others get their turn meanwhile. */
function checkEnds(db: Connection): void {
  const runs = new Runs(db);
  const next = (left: TenantNo[]): void => {
    const until = performance.now() + SLICE_MS;
    for (let no = left.pop(); no !== undefined; no = left.pop()) {
      const each = no;
      attempt(() => runs.size(each));
      if (performance.now() >= until) return void setImmediate(next, left);
    }
  };
  const logs = db.prepare<[], TenantNo>('SELECT tenant_no FROM logs').pluck();
  setImmediate(() => next(attempt(() => logs.all()) ?? []));
}

function attempt<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    const fault = faultIn(error);
    if (!fault) throw error;
    reportFault(fault);
    return undefined;
  }
}

/** What is done or not done as one: a command, a record, or both. */
interface Unit {
  readonly command: BatchItem['commands'][number] | undefined;
  /** The record's place in the parcel. */
  readonly record: number | undefined;
}

/** An item, and what has become of it so far. */
interface Work extends Omit<ItemDone, 'parcel' | 'values' | 'errors'> {
  readonly item: BatchItem;
  readonly units: readonly Unit[];
  readonly source: { readonly heads: Heads; readonly bodies: Uint8Array };
  readonly values: Map<number, unknown>;
  readonly errors: Map<number, string>;
}

/** Nothing of it counts, whatever was done. */
function refuse(work: Work, why: string): void {
  work.indexes.fill(-1);
  for (const at of work.item.whole ? [0] : work.units.keys()) work.errors.set(at, why);
}

function prepare(item: BatchItem): Work {
  const { parcel } = item;
  const units = unitsOf(item);
  return {
    item,
    units,
    source: { heads: new Heads(new Uint8Array(parcel.heads)), bodies: Buffer.from(parcel.bodies) },
    indexes: new Float64Array(units.length).fill(-1),
    values: new Map(),
    errors: new Map(),
  };
}

function unitsOf({ parcel, commands }: BatchItem): Unit[] {
  const units: Unit[] = [];
  let record = 0;
  const recordsUpTo = (unit: number): void => {
    while (units.length < unit && record < parcel.count) units.push({ command: undefined, record: record++ });
  };
  for (const command of commands) {
    recordsUpTo(command.unit);
    units.push({ command, record: command.recorded ? record++ : undefined });
  }
  recordsUpTo(Number.POSITIVE_INFINITY);
  return units;
}

if (parentPort) serve(parentPort, workerData as WriterOptions);
