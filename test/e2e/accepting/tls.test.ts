import { copyFile, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import tls from 'node:tls';
import type { Worker } from 'node:worker_threads';
import { credentials } from '@grpc/grpc-js';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Authority, type Pair } from '../authority.ts';
import { failure, Grpc } from '../grpc.ts';
import { eventually } from '../server.ts';
import { ALLOW, allSay, ask, caller, type Started, saidTo, started, user } from './started.ts';

/** TLS with client certificates, where threads accept the connections. */

const SPIFFE = 'spiffe://two.example/pep';

let folder: string;
let authority: Authority;
let client: Pair;
let stranger: Pair;
let served: { cert: string; key: string };
let fresh: Started;
const workers: Worker[] = [];
const watch = (worker: Worker): void => {
  if (worker.threadName === 'mandate-accepting') workers.push(worker);
};

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'mandate-accepting-tls-'));
  authority = await Authority.create(folder, 'ours');
  const first = await authority.issue('first', { 'IP.1': '127.0.0.1' });
  client = await authority.issue('client', { 'URI.1': SPIFFE });
  stranger = await authority.issue('stranger', { 'URI.1': `${SPIFFE}/other` });
  served = { cert: path.join(folder, 'served.crt'), key: path.join(folder, 'served.key') };
  await copyFile(first.cert, served.cert);
  await copyFile(first.key, served.key);
  process.on('worker', watch);
  const principals = [user, { ...caller, credentials: [{ id: 'svid', spiffe_id: SPIFFE }] }];
  fresh = await started(
    { dev: false, tls: { ...served, client_ca: authority.ca.cert } },
    [{ id: 'two', rego: ALLOW, manifest: { principals } }],
    0,
  );
});
afterAll(async () => {
  process.off('worker', watch);
  await fresh[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});

/** Each on a connection of its own, which shows that certificate. */
function certified(presented: Pair | undefined, count: number): Grpc[] & Disposable {
  const root = Buffer.from(authority.ca.pem.cert);
  const [key, cert] = [presented?.pem.key, presented?.pem.cert].map((pem) => (pem ? Buffer.from(pem) : null));
  const peps = Array.from(
    { length: count },
    () =>
      new Grpc(
        `127.0.0.1:${fresh.served.mandate.dataPort}`,
        undefined,
        credentials.createSsl(root, key, cert),
        { 'grpc.use_local_subchannel_pool': 1 },
      ),
  );
  return Object.assign(peps, {
    [Symbol.dispose]: () => {
      for (const pep of peps) pep[Symbol.dispose]();
    },
  });
}

/** The subject of the certificate that a new connection is shown. */
const shown = (): Promise<string> =>
  new Promise((resolve, reject) => {
    const options = { host: '127.0.0.1', port: fresh.served.mandate.dataPort, ca: authority.ca.pem.cert };
    const socket = tls.connect(options, () => {
      resolve(String(socket.getPeerCertificate().subject.CN));
      socket.destroy();
    });
    socket.on('error', reject);
  });

/** On so many connections that every thread has shown its own. */
const shownByAll = async (): Promise<string[]> => [
  ...new Set(await Promise.all(Array.from({ length: 12 }, shown))),
];

test('who is known by a certificate may check, decided by the threads; others may not', async () => {
  using peps = certified(client, 8);
  await allSay({ ...fresh, peps }, 'two', 'DECISION_ALLOW');
  for (const presented of [stranger, undefined]) {
    using others = certified(presented, 4);
    for (let round = 0; round < 3; round += 1)
      expect(await saidTo(others, 'two')).toEqual(others.map(() => 'unauthenticated'));
  }
  // Beside them nobody else is let in.
  await allSay({ ...fresh, peps }, 'two', 'DECISION_ALLOW');
});

test('a certificate of another authority is turned away', async () => {
  const theirs = await Authority.create(folder, 'theirs');
  using peps = certified(await theirs.issue('forged', { 'URI.1': SPIFFE }), 2);
  for (const pep of peps) expect(await failure(ask(pep, 'two'))).toMatchObject({ status: 14 });
});

test('renewed certificates are shown by every thread, and by main where it accepts for them', async () => {
  expect(await shownByAll()).toEqual(['first']);
  using peps = certified(client, 4);
  await allSay({ ...fresh, peps }, 'two', 'DECISION_ALLOW');
  const renewed = await authority.issue('renewed', { 'IP.1': '127.0.0.1' });
  await copyFile(renewed.cert, served.cert);
  await copyFile(renewed.key, served.key);
  await eventually(shownByAll, (names) => names.length === 1 && names[0] === 'renewed');
  // Connections that stand go on, and new ones are let in as before.
  await allSay({ ...fresh, peps }, 'two', 'DECISION_ALLOW');
  using more = certified(client, 4);
  await allSay({ ...fresh, peps: more }, 'two', 'DECISION_ALLOW');

  await Promise.all(workers.map((worker) => worker.terminate()));
  await eventually(
    () => shown().catch(() => ''),
    (name) => name !== '',
  );
  expect(await shown()).toBe('renewed');
  const { accepting } = fresh.served.mandate.services;
  await eventually(
    async () => accepting?.ready,
    (count) => count === 2,
  );
  expect(await shownByAll()).toEqual(['renewed']);
});
