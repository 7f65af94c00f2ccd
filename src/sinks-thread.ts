import { subscribe } from 'node:diagnostics_channel';
import { type MessagePort, parentPort, workerData } from 'node:worker_threads';
import { Backlog } from './audit/sinks/backlog.ts';
import { FileDelivery } from './audit/sinks/file.ts';
import { type Format, formats } from './audit/sinks/formats.ts';
import { HttpDelivery } from './audit/sinks/http.ts';
import type { SinkSettings } from './audit/sinks/settings.ts';
import { type Delivery, Sink } from './audit/sinks/sink.ts';
import { SyslogDelivery } from './audit/sinks/syslog.ts';
import type { FromSinks, SinksOptions } from './audit/sinks/thread.ts';
import { faultChannel, type StoreFault } from './storage/faults.ts';
import { openReader } from './storage/reader.ts';
import { Writer } from './storage/writer.ts';

const TELL_MS = 1_000;

/** The composition root of the thread that sends records to sinks. It reads the store, and writes how far it is. */
async function serve(main: MessagePort, options: SinksOptions): Promise<void> {
  const faults: StoreFault[] = [];
  subscribe(faultChannel.name, (message) => faults.push(message as StoreFault));
  const reader = openReader(options.folder);
  const writer = Writer.over(options.writer, options.writerPulse);
  const stopping = new AbortController();
  const sinks = options.sinks.map((settings) => {
    const { name } = settings;
    const keep = (cursors: Parameters<Backlog['moved']>[0]) =>
      writer.run('putCursors', { sink: name, cursors });
    return new Sink(
      name,
      new Backlog(reader, settings),
      deliveryOf(settings, formats[settings.format]),
      keep,
    );
  });
  const tell = (): void =>
    main.postMessage({
      states: sinks.map(({ state }) => state),
      faults: faults.splice(0),
    } satisfies FromSinks);
  const telling = setInterval(tell, TELL_MS);
  main.once('message', () => stopping.abort());
  await Promise.all(sinks.map((sink) => sink.run(stopping.signal)));
  clearInterval(telling);
  tell();
  await writer[Symbol.asyncDispose]();
  reader.close();
  main.close();
}

function deliveryOf({ to }: SinkSettings, format: Format): Delivery {
  switch (to.kind) {
    case 'http':
      return new HttpDelivery(to, format);
    case 'file':
      return new FileDelivery(to, format);
    case 'syslog':
      return new SyslogDelivery(to, format);
  }
}

if (parentPort) await serve(parentPort, workerData as SinksOptions);
