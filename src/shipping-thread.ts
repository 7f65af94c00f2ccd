import { subscribe } from 'node:diagnostics_channel';
import { type MessagePort, parentPort, workerData } from 'node:worker_threads';
import { systemMonotonic } from './effects.ts';
import { Load } from './fleet/shipping/load.ts';
import { receivingAt } from './fleet/shipping/remote.ts';
import { Shipper } from './fleet/shipping/shipper.ts';
import { cursorOf, type FromShipping, type ShippingOptions } from './fleet/shipping/thread.ts';
import { Unshipped } from './fleet/shipping/unshipped.ts';
import { faultChannel, type StoreFault } from './storage/faults.ts';
import { openReader } from './storage/reader.ts';
import { Writer } from './storage/writer.ts';

const TELL_MS = 1_000;

/** The composition root of the thread that sends logs to authorities. It reads the store, and writes how far it is. */
async function serve(main: MessagePort, options: ShippingOptions): Promise<void> {
  const faults: StoreFault[] = [];
  subscribe(faultChannel.name, (message) => faults.push(message as StoreFault));
  const reader = openReader(options.folder);
  const writer = Writer.over(options.writer, options.writerPulse);
  const load = new Load(options.load);
  const stopping = new AbortController();
  using stack = new DisposableStack();
  const shippers = options.places.map((place) => {
    const receiving = stack.use(receivingAt({ ...place, url: new URL(place.url) }));
    const sink = cursorOf(place.url);
    return new Shipper({
      address: place.url,
      unshipped: new Unshipped(reader, sink),
      ship: (outgoing, signal) => receiving.ship(outgoing, signal),
      keep: (cursors) => writer.run('putCursors', { sink, cursors }),
      isFull: () => load.isFull,
      monotonic: systemMonotonic,
    });
  });
  const tell = (): void =>
    main.postMessage({
      states: shippers.map(({ state }) => state),
      faults: faults.splice(0),
    } satisfies FromShipping);
  const telling = setInterval(tell, TELL_MS);
  main.once('message', () => stopping.abort());
  await Promise.all(shippers.map((shipper) => shipper.run(stopping.signal)));
  clearInterval(telling);
  tell();
  await writer[Symbol.asyncDispose]();
  reader.close();
  main.close();
}

if (parentPort) await serve(parentPort, workerData as ShippingOptions);
