import { type MessagePort, parentPort, workerData } from 'node:worker_threads';
import { systemClock } from './effects.ts';
import { Decider } from './server/offload/decider.ts';
import { assembleDeciding } from './server/offload/deciding.ts';
import { Progress } from './server/offload/progress.ts';
import type { ThreadOptions, ToThread } from './server/offload/protocol.ts';
import type { TenantNo } from './storage/rows.ts';
import { Pulse } from './storage/watch/pulse.ts';

/**
 * The composition root of a decision thread: evaluates policies and makes records, while another thread speaks the
 * protocols. It decides what main has admitted, and hears from main all it knows of tenants; it has no credentials, no
 * keys and no network.
 */
function serve(main: MessagePort, options: ThreadOptions): void {
  const pulse = new Pulse(options.pulse);
  pulse.keep();
  const deciding = assembleDeciding(options, ADMITTING, (tenant, code, at, place) =>
    decider.failed({ tenant, code, at, place }),
  );
  const decider = new Decider({
    decisions: deciding.decisions,
    main,
    progress: new Progress(options.progress),
    waiting: () => deciding.writer.waiting,
    clock: systemClock,
  });
  const close = async (): Promise<void> => {
    await deciding[Symbol.asyncDispose]();
    main.close();
  };
  main.on('message', (message: ToThread) => {
    pulse.beat();
    if (message === 'close') void close();
    else if ('asks' in message) decider.ask(message.asks);
    else if ('caller' in message) decider.name(message);
    else if ('of' in message) deciding.reached(message.of, message.version);
    else if ('until' in message) decider.limit(message.slot, message.until);
    else if ('changed' in message) deciding.changed(message.changed);
    else {
      deciding.learn(message);
      decider.learn(message.tenant);
    }
  });
  main.postMessage('ready');
}

/** Main has counted it already. */
const ADMITTED = { no: 0 as TenantNo, usual: 0, dearest: 0 };
const ADMITTING = { enter: () => ADMITTED, leave: () => undefined, spent: () => undefined };

if (parentPort) serve(parentPort, workerData as ThreadOptions);
