import { subscribe } from 'node:diagnostics_channel';
import { isMainThread, receiveMessageOnPort, workerData } from 'node:worker_threads';
import { Admission } from './decision/admission.ts';
import { SharedCounts } from './decision/ledger.ts';
import { systemClock } from './effects.ts';
import { toThread } from './errors.ts';
import { DecisionService } from './gen/mandate/v1/decision_pb.ts';
import { Backlog, MOST_WAITING } from './server/accepting/backlog.ts';
import { Calls } from './server/accepting/calls.ts';
import { PassedExchanges } from './server/accepting/exchanges.ts';
import {
  type AcceptingOptions,
  type ErrorTold,
  type FromAccepting,
  type ListenAt,
  Signal,
  type ToAccepting,
} from './server/accepting/protocol.ts';
import { errorChannel, toServiceError } from './server/errors.ts';
import { Gate } from './server/gate.ts';
import { ROUND_MS, Uploads } from './server/intake/uploads.ts';
import { Listener } from './server/listener.ts';
import { assembleDeciding } from './server/offload/deciding.ts';
import type { Learnt } from './server/offload/protocol.ts';
import { Report } from './server/offload/report.ts';
import { hotHandler } from './server/server.ts';
import { transportChannel } from './server/transport/transport.ts';
import { Pulse } from './storage/watch/pulse.ts';

/**
 * The composition root of a thread that accepts connections of the data plane: it speaks the protocols, decides the checks
 * of callers and tenants that main has told it of, and passes everything else on to main. Of keys it has
 * that of TLS alone; credentials are seen by it and known by main.
 */
function serve(options: AcceptingOptions): void {
  const { main, bounds, guardHost, passesOn } = options;
  const post = (message: FromAccepting, transfer: ArrayBuffer[] = []): void =>
    main.postMessage(message, transfer);
  const backlog = new Backlog(options.backlog);
  const pulse = new Pulse(options.pulse);
  pulse.keep();
  const stopping = new AbortController();
  const admission = new Admission(systemClock, options.maxOpen, new SharedCounts(bounds.ledger));
  const deciding = assembleDeciding(options, admission, (tenant, code, at, place) => {
    if (!isRelayed) report.failed({ tenant, code, at, place });
  });
  /** A failure that another thread has told of already. */
  let isRelayed = false;

  let [isDue, doubted] = [false, false];
  const errors: ErrorTold[] = [];
  const tell = (): void => {
    isDue = false;
    // Where main is behind, those it has not heard of yet are told of later.
    const told = backlog.waiting < MOST_WAITING.anybody.all ? errors.splice(0) : [];
    if (told.length > 0) backlog.send(told.length, { all: Number.POSITIVE_INFINITY });
    post({ told: report.take(), errors: told, doubted });
    doubted = false;
  };
  const due = (): void => {
    if (!isDue) setImmediate(tell);
    isDue = true;
  };
  const report = new Report({
    noOf: (tenant) => calls.noOf(tenant),
    waiting: () => deciding.writer.waiting,
    due,
  });
  subscribe(errorChannel.name, (message) => {
    const { error, where } = message as { error: unknown; where: string };
    const told = toThread(error);
    doubted ||= told.code === 'audit_unavailable';
    // Each refusal is one, and strangers are refused as often as they like.
    if (errors.length < MOST_ERRORS) errors.push({ error: told, where });
    due();
  });
  subscribe(transportChannel.name, (message) =>
    post({ ended: message as { code: string; reason: string; address: string } }),
  );

  const signal = new Signal(options.signal);
  let caughtUp = signal.count;
  const catchUp = (): void => {
    const count = signal.count;
    if (count === caughtUp) return;
    // What was told before it was raised is there.
    for (let next = receiveMessageOnPort(main); next; next = receiveMessageOnPort(main))
      hear(next.message as ToAccepting);
    caughtUp = count;
  };
  const calls = new Calls({ deciding, admission, post, backlog, catchUp });
  const exchanges = new PassedExchanges(post, backlog);
  const uploads = new Uploads(ROUND_MS, bounds.uploads);
  // Who is greeted is for main to say; what is passed on, main's own gate lets in.
  const gate = new Gate(() => undefined, bounds.anteroom);
  let base = '';
  const hot = new Map(
    Object.entries(calls.methods()).map(([name, method]) => [`/${DecisionService.typeName}/${name}`, method]),
  );
  const listener = new Listener(
    {
      request: (exchange) => exchanges.pass(exchange, calls.peerOf(exchange.peer).id),
      stream: hotHandler(
        { hot, guardHost, passesOn, base: () => base, stopping: stopping.signal },
        { uploads, gate },
      ),
      gone: (peer) => calls.gone(peer),
    },
    { connections: options.connections, shared: { connections: bounds.connections, held: bounds.held } },
  );

  const listen = async ({ listen: where, base: called }: ListenAt): Promise<void> => {
    base = called;
    try {
      post({ listening: await listener.listen(where) });
    } catch (error) {
      post({ failed: toThread(error) });
    }
  };
  const drain = async (graceMs: number): Promise<void> => {
    stopping.abort();
    await listener.drain(graceMs);
    await deciding[Symbol.asyncDispose]();
    tell();
    main.close();
  };
  /** What cannot be taken here is decided by main. */
  const learn = (learnt: Learnt): void => {
    try {
      calls.learn(learnt);
    } catch (error) {
      calls.forget(learnt.tenant.id, true);
      toServiceError(error, 'accepting thread');
    }
  };
  const hear = (message: ToAccepting): void => {
    if ('answers' in message) calls.answers(message.answers, message.errors);
    else if ('does' in message) exchanges.do(message.exchange, message.does);
    else if ('ticket' in message) calls.ticket(message.ticket, message.of, message.authorization);
    else if ('vouch' in message) calls.vouch(message.vouch);
    else if ('greeted' in message) calls.greeted(message.greeted, message.refused);
    else if ('welcome' in message) calls.welcome(message.welcome);
    else if ('version' in message) deciding.reached(message.of, message.version);
    else if ('changed' in message) calls.changed(message.changed);
    else if ('forget' in message) calls.forget(message.forget, message.isRetired);
    else if ('bundle' in message) learn(message);
    else if ('failure' in message) {
      const { tenant, code, at, place } = message.failure;
      isRelayed = true;
      deciding.policies.health.failed(tenant, code, at, place);
      isRelayed = false;
    } else if ('listen' in message) void listen(message);
    else if ('certificates' in message) listener.renewCertificates(message.certificates);
    else if ('shed' in message) listener.shed();
    else void drain(message.drain);
  };
  main.on('message', (message: ToAccepting) => {
    pulse.beat();
    hear(message);
  });
  post('ready');
}

/** How many errors are kept for main to hear of. */
const MOST_ERRORS = 1_000;

if (!isMainThread) serve(workerData as AcceptingOptions);
