import { subscribe } from 'node:diagnostics_channel';
import { type MessagePort, parentPort, workerData } from 'node:worker_threads';
import { claim, databaseFile, openWriter } from '../database.ts';
import { faultChannel, type StoreFault } from '../faults.ts';
import { journalBytes } from '../journal/journal.ts';
import { Disk } from '../watch/disk.ts';
import { Identity } from '../watch/identity.ts';
import { compareWithMarks, Marks } from '../watch/marks.ts';
import { LOOK_MS, Pulse } from '../watch/pulse.ts';
import { Quotas } from '../watch/quotas.ts';
import { Room } from '../watch/room.ts';
import { Scrub } from '../watch/scrub.ts';
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
  const applier = new Applier({
    db,
    marks,
    identity,
    room,
    quotas,
    pulse,
    journalBytes: journalBytes(options.maxBytes),
  });

  // Nobody listens for anything else before it is ready.
  const early: FromWriter[] = [];
  let isReady = false;
  const tell = (message: FromWriter): void =>
    void (isReady ? port.postMessage(message) : early.push(message));
  subscribe(faultChannel.name, (message) => tell({ fault: message as StoreFault }));

  applier.begin();
  const writeAhead = new WriteAheadLog(db, () => identity.truncated());
  let committedAt = Number.NEGATIVE_INFINITY;
  const answer = (to: MessagePort, batch: Batch): void => {
    pulse.beat();
    committedAt = performance.now();
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
    applier.finish();
    await marks.close();
    identity.close();
    db.close();
    claimed.close();
    for (const each of [...others, port]) each.close();
  };
  port.on('message', (message: ToWriter) => {
    if (message === 'close') void close();
    else if (message === 'empty') port.postMessage({ emptied: writeAhead.emptied() } satisfies FromWriter);
    else if ('quota' in message) quotas.set(message.of, message.quota);
    else if ('connect' in message) {
      const { connect } = message;
      others.push(connect);
      connect.on('message', (batch: Batch) => answer(connect, batch));
    } else answer(port, message);
  });
  new Scrub(
    db,
    (no) => applier.check(no),
    () => performance.now() - committedAt < IDLE_AFTER_MS,
  ).begin();
  port.postMessage('ready');
  setImmediate(() => {
    isReady = true;
    for (const message of early.splice(0)) tell(message);
  });
}

/** How long after a commit the next one is taken to be near. */
const IDLE_AFTER_MS = 50;

if (parentPort) serve(parentPort, workerData as WriterOptions);
