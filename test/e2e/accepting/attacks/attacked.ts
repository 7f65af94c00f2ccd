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
 * Sends bytes on connections of their own and ends these, while main, which is this thread, does nothing at all: so what it
 * hears of comes all at once. Resolves once the other side has had its time.
 */
export async function whileMainStands(url: string, requests: readonly string[]): Promise<void> {
  const done = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT));
  const worker = new Worker(SENDER, {
    eval: true,
    workerData: { done, port: Number(new URL(url).port), requests },
  });
  const ended = once(worker, 'exit');
  await once(worker, 'online');
  if (Atomics.wait(done, 0, 0, 60_000) === 'timed-out') throw new Error('nobody sent anything');
  await ended;
}

/** Each connection has some time to be read, and its end some more to be seen. */
const SENDER = `
const { workerData: { done, port, requests } } = require('node:worker_threads');
const net = require('node:net');
const later = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
Promise.all(requests.map(async (text) => {
  const socket = net.connect(port, '127.0.0.1');
  socket.on('error', () => undefined);
  await new Promise((resolve) => socket.write(text, resolve));
  await later(400);
  socket.destroy();
  await later(200);
})).then(() => {
  Atomics.store(done, 0, 1);
  Atomics.notify(done, 0);
});
`;
