import { type MessagePort, parentPort, workerData } from 'node:worker_threads';
import { Decisions } from './decision/decisions.ts';
import { metersMet } from './decision/metering/met.ts';
import { Recorder } from './decision/recorder.ts';
import type { CheckRequest } from './decision/request.ts';
import { vouchedPrincipal } from './delegation/vouched.ts';
import { systemClock, systemRandom } from './effects.ts';
import { ServiceError } from './errors.ts';
import type { PrincipalRef } from './ids.ts';
import type { Bundle } from './policy/bundle.ts';
import { Policies } from './policy/policies.ts';
import { Decider } from './server/offload/decider.ts';
import { Progress } from './server/offload/progress.ts';
import type { ThreadOptions, ToThread } from './server/offload/protocol.ts';
import { killStore } from './storage/granting/ends.ts';
import { grantStore } from './storage/grants.ts';
import { principalStore } from './storage/principals/store.ts';
import { openReader } from './storage/reader.ts';
import { Pulse } from './storage/watch/pulse.ts';
import { Writer } from './storage/writer.ts';
import { factSource } from './tenancy/facts.ts';
import { Kills } from './tenancy/kills.ts';
import type { Tenant } from './tenancy/tenants.ts';

/** What is counted is decided by main, and never here by mistake. */
function countNothing({ manifest }: Tenant, { action }: CheckRequest): undefined {
  if (metersMet(manifest, action.name))
    throw new ServiceError('internal', 'what meters count is decided by main');
}

/**
 * The composition root of a decision thread: evaluates policies and makes records, while the main thread speaks the
 * protocols. It decides what main has admitted, and hears from main all it knows of tenants; it has no credentials, no
 * keys and no network.
 */
function serve(main: MessagePort, options: ThreadOptions): void {
  const reader = openReader(options.folder);
  const writer = Writer.over(options.writer, options.writerPulse);
  // Facts are looked up in a view that lasts for a turn; what ended must be seen at once.
  const latest = openReader(options.folder);
  const grants = grantStore(latest, () => writer.ends);
  const pulse = new Pulse(options.pulse);
  pulse.keep();
  const facts = factSource(principalStore(reader));
  const kills = new Kills(killStore(reader), () => writer.ends);
  const policies = new Policies({
    clock: systemClock,
    fuel: options.fuel,
    memoryMib: options.memoryMib,
    maxInstances: options.maxInstances,
    onFailure: (tenant, code, at, place) => decider.failed({ tenant, code, at, place }),
  });
  const admission = { enter: () => ADMITTED, leave: () => undefined, spent: () => undefined };
  /** By the number of the tenant. */
  const versions: number[] = [];
  const policyOf = (tenant: Tenant, subject?: PrincipalRef) => policies.of(tenant, subject);
  const decisions = new Decisions({
    policyOf,
    // Nothing is waited for before it is decided.
    current: (tenant) => tenant,
    facts,
    kills,
    resolveToken: (tenant, token, now) => vouchedPrincipal(grants, tenant, token, now),
    meters: { look: countNothing },
    approvals: {
      present: () => Promise.reject(new ServiceError('internal', 'approvals are looked at by main')),
    },
    admission,
    writer,
    recorder: new Recorder({ policyOf, keys: undefined, admission, random: systemRandom }),
    clock: systemClock,
    versionOf: (no) => versions[no] ?? 0,
    random: systemRandom,
  });
  const decider = new Decider({
    decisions,
    main,
    progress: new Progress(options.progress),
    waiting: () => writer.waiting,
    clock: systemClock,
  });
  const close = async (): Promise<void> => {
    await writer[Symbol.asyncDispose]();
    reader.close();
    latest.close();
    main.close();
  };
  main.on('message', (message: ToThread) => {
    pulse.beat();
    if (message === 'close') void close();
    else if ('asks' in message) decider.ask(message.asks);
    else if ('caller' in message) decider.name(message);
    else if ('of' in message) versions[message.of] = message.version;
    else if ('until' in message) decider.limit(message.slot, message.until);
    else if ('changed' in message) {
      facts.changed(message.changed);
      kills.changed(message.changed);
    } else {
      const { tenant, bundle, staged } = message;
      policies.activate(tenant, owned(bundle));
      policies.stage(tenant, staged && { ...staged, bundle: owned(staged.bundle) });
      decider.learn(tenant);
    }
  });
  main.postMessage('ready');
}

const owned = (bundle: Bundle): Bundle => ({ ...bundle, wasm: Uint8Array.from(bundle.wasm) });

/** Main has counted it already. */
const ADMITTED = { open: 0, left: 0, refilledAt: 0, usual: 0, dearest: 0 };

if (parentPort) serve(parentPort, workerData as ThreadOptions);
