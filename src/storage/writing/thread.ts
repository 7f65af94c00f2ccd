import { subscribe } from 'node:diagnostics_channel';
import { type MessagePort, parentPort, workerData } from 'node:worker_threads';
import { type Connection, claim, databaseFile, openWriter } from '../database.ts';
import { faultChannel, faultIn, reportFault, type StoreFault } from '../faults.ts';
import { Runs } from '../log/runs.ts';
import type { TenantNo } from '../rows.ts';
import { Disk } from '../watch/disk.ts';
import { Identity } from '../watch/identity.ts';
import { compareWithMarks, Marks } from '../watch/marks.ts';
import { LOOK_MS, Pulse } from '../watch/pulse.ts';
import { Quotas } from '../watch/quotas.ts';
import { Room } from '../watch/room.ts';
import { WriteAheadLog } from '../watch/write-ahead-log.ts';
import { Applier } from './applier.ts';
import type { Batch, FromWriter, ToWriter, WriterOptions } from './protocol.ts';

/** The thread that owns the one connection that writes. */
function serve(port: MessagePort, options: WriterOptions): void {
  const pulse = new Pulse(options.pulse);
  pulse.keep();
  const claimed = claim(options.folder);
  compareWithMarks(options.folder, databaseFile(options.folder));
  const db = openWriter(options);
  const marks = Marks.open(options.folder, db);
  const identity = new Identity(db.name);
  identity.look();
  const disk = new Disk(options.folder);
  const room = new Room(db, options.maxBytes, disk);
  const quotas = new Quotas();
  const applier = new Applier({ db, marks, identity, room, quotas });

  const tell = (message: FromWriter): void => port.postMessage(message);
  subscribe(faultChannel.name, (message) => tell({ fault: message as StoreFault }));

  const writeAhead = new WriteAheadLog(db, () => identity.truncated());
  const answer = (to: MessagePort, batch: Batch): void => {
    pulse.beat();
    const buffers = batch.flatMap(({ parcel }) => [parcel.heads, parcel.bodies]);
    to.postMessage(applier.apply(batch), buffers);
    writeAhead.committed(batch.reduce((sum, { parcel }) => sum + parcel.count, 0));
  };

  let standing = '';
  const look = (): void => {
    writeAhead.look();
    disk.look();
    applier.flush();
    marks.look();
    const now = identity.look() || writeAhead.problem || room.problem;
    if (now !== standing) tell({ standing: now });
    standing = now;
  };
  setInterval(look, LOOK_MS).unref();

  const others: MessagePort[] = [];
  const close = async (): Promise<void> => {
    applier.flush();
    await marks.close();
    identity.close();
    db.close();
    claimed.close();
    for (const each of [...others, port]) each.close();
  };
  port.on('message', (message: ToWriter) => {
    if (message === 'close') void close();
    else if ('quota' in message) quotas.set(message.of, message.quota);
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

if (parentPort) serve(parentPort, workerData as WriterOptions);
