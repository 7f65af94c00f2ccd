import { subscribe } from 'node:diagnostics_channel';
import { type MessagePort, parentPort, workerData } from 'node:worker_threads';
import { shipmentIn } from './audit/receiving/message.ts';
import type {
  Answered,
  Asked,
  FromReceiving,
  ReceivingOptions,
  ReceivingState,
} from './audit/receiving/protocol.ts';
import { type LogNews, Receiver, receivedChannel } from './audit/receiving/receiver.ts';
import { roomFor } from './audit/receiving/room.ts';
import { systemMonotonic, systemRandom } from './effects.ts';
import { toThread } from './errors.ts';
import { faultChannel, type StoreFault } from './storage/faults.ts';
import { recordStore } from './storage/log/records.ts';
import { LogTrees } from './storage/log/tree.ts';
import { openReader } from './storage/reader.ts';
import { receivedStore } from './storage/received/store.ts';
import { Pulse } from './storage/watch/pulse.ts';
import { commitChannel, Writer } from './storage/writer.ts';

const TELL_MS = 1_000;

/**
 * The composition root of the thread that verifies other servers' logs and keeps them. Who sends them main has settled; it
 * has no credentials, no keys and no network.
 */
function serve(main: MessagePort, options: ReceivingOptions): void {
  const [faults, news, commits]: [StoreFault[], LogNews[], number[]] = [[], [], []];
  subscribe(faultChannel.name, (message) => faults.push(message as StoreFault));
  subscribe(receivedChannel.name, (message) => news.push(message as LogNews));
  subscribe(commitChannel.name, (message) => commits.push((message as { entries: number }).entries));
  const { folder, node, maxBytes, asks } = options;
  const reader = openReader(folder);
  const writer = Writer.over(options.writer, options.writerPulse);
  new Pulse(options.pulse).keep();
  let now = 0;
  const receiver = new Receiver({
    store: receivedStore(reader),
    records: recordStore(reader),
    trees: new LogTrees(reader),
    writer,
    full: roomFor(reader, folder, maxBytes),
    node,
    // Main's.
    clock: () => now,
    monotonic: systemMonotonic,
    random: systemRandom,
  });
  const answer = (no: number, kept: Answered['kept']): void =>
    asks.postMessage({
      no,
      kept,
      news: news.splice(0),
      commits: commits.splice(0),
    } satisfies FromReceiving);
  const take = async ({ owner, operator, message }: Asked): Promise<number> =>
    receiver.take(owner, operator, shipmentIn(owner, message));
  asks.on('message', (asked: Asked) => {
    const { no } = asked;
    now = asked.now;
    take(asked).then(
      (kept) => answer(no, kept),
      (error: unknown) => answer(no, toThread(error)),
    );
  });
  const tell = (): void =>
    main.postMessage({ states: receiver.problems(), faults: faults.splice(0) } satisfies ReceivingState);
  const telling = setInterval(tell, TELL_MS);
  const close = async (): Promise<void> => {
    clearInterval(telling);
    await writer[Symbol.asyncDispose]();
    tell();
    asks.close();
    reader.close();
    main.close();
  };
  main.once('message', () => void close());
  asks.postMessage('ready' satisfies FromReceiving);
}

if (parentPort) serve(parentPort, workerData as ReceivingOptions);
