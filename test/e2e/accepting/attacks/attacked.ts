import { once } from 'node:events';
import net from 'node:net';
import { Worker } from 'node:worker_threads';
import type { Overrides } from '../../../../src/config.ts';
import { type Served, serve } from '../../../containment/tenants.ts';
import { sha256 } from '../../server.ts';

/** A server all of whose connections are taken by threads, with two tenants that have a caller each and nobody without one. */

export const secrets = {
  one: 'accepting-test-caller-of-one-secret-01',
  two: 'accepting-test-caller-of-two-secret-02',
} as const;

const caller = (id: string, secret: string): object => ({
  class: 'service',
  id,
  credentials: [{ secret_sha256: sha256(secret) }],
});

export const attacked = (overrides: Overrides = {}): Promise<Served> =>
  serve(
    (['one', 'two'] as const).map((id) => ({
      id,
      rego: 'package authz\n\nallow := true\n',
      manifest: {
        roles: { reader: { scopes: [] } },
        principals: [{ class: 'user', id: 'u', roles: ['reader'] }, caller(`of-${id}`, secrets[id])],
      },
    })),
    { dev: false, accept_threads: 2, accept_from: 'start', ...overrides },
  );

export const acceptingOf = ({ mandate }: Served) => {
  const { accepting } = mandate.services;
  if (!accepting) throw new Error('there are no threads that accept connections');
  return accepting;
};

export async function connected(url: string): Promise<net.Socket> {
  const socket = net.connect({ host: '127.0.0.1', port: Number(new URL(url).port) });
  socket.on('error', () => undefined);
  await once(socket, 'connect');
  return socket;
}

/**
 * Sends bytes on connections of their own while main, which is this thread, does nothing at all: so what it hears of comes
 * all at once. `ends`: the connections end before main goes on. Resolves with what each was answered.
 */
export async function whileMainStands(
  url: string,
  requests: readonly (string | { readonly text: string; readonly from: string })[],
  ends = false,
): Promise<readonly string[]> {
  const sent = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT));
  const worker = new Worker(SENDER, {
    eval: true,
    workerData: { sent, port: Number(new URL(url).port), requests, ends },
  });
  const answered = once(worker, 'message');
  await once(worker, 'online');
  if (Atomics.wait(sent, 0, 0, 60_000) === 'timed-out') throw new Error('nobody sent anything');
  const [texts] = (await answered) as [readonly string[]];
  return texts;
}

/** Each connection has some time to be read, and its end some more to be seen. */
const SENDER = `
const { parentPort, workerData: { sent, port, requests, ends } } = require('node:worker_threads');
const net = require('node:net');
const later = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const sockets = requests.map((request) => {
  const { text, from } = typeof request === 'string' ? { text: request, from: '127.0.0.1' } : request;
  const socket = net.connect({ port, host: '127.0.0.1', localAddress: from });
  socket.on('error', () => undefined);
  socket.write(text);
  return socket;
});
const answers = sockets.map((socket) => new Promise((resolve) => {
  let text = '';
  socket.on('data', (chunk) => (text += chunk)).once('close', () => resolve(text));
}));
later(600).then(async () => {
  if (ends) for (const socket of sockets) socket.destroy();
  if (ends) await later(200);
  Atomics.store(sent, 0, 1);
  Atomics.notify(sent, 0);
  parentPort.postMessage(await Promise.all(answers));
});
`;

/** Does something, and answers the threads that accept connections which began meanwhile. */
export async function watched<T>(begin: () => Promise<T>): Promise<{ value: T; threads: readonly Worker[] }> {
  const threads: Worker[] = [];
  const watch = (worker: Worker): void => {
    if (worker.threadName === 'mandate-accepting') threads.push(worker);
  };
  process.on('worker', watch);
  try {
    return { value: await begin(), threads };
  } finally {
    process.off('worker', watch);
  }
}
