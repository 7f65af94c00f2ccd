import { readdirSync } from 'node:fs';
import http2 from 'node:http2';
import net from 'node:net';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { asks, type Served, serve } from '../containment/tenants.ts';
import { check } from '../e2e/requests.ts';
import { admin, data, type Good } from './goods.ts';

/** Seeded, so that a failure comes again: mulberry32. */
function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

const SEED = 20_261_121;
const REQUESTS = 10_000;
const random = seeded(SEED);
const pick = <T>(items: readonly T[]): T => items[Math.floor(random() * items.length)] as T;
const upTo = (max: number): number => Math.floor(random() * max);

let served: Served;

beforeAll(async () => {
  served = await serve([
    { id: 'calm', rego: 'package authz\n\nallow := true\n', manifest: { entrypoints: ['authz/allow'] } },
  ]);
});

afterAll(async () => {
  await served[Symbol.asyncDispose]();
});

const mutations: readonly ((body: Buffer) => Buffer)[] = [
  (body) => body,
  (body) => body.subarray(0, upTo(body.length)),
  (body) => Buffer.concat([body, Buffer.alloc(upTo(64), 0xff)]),
  (body) => {
    const copy = Buffer.from(body);
    for (let count = 0; count < 4; count += 1) copy[upTo(copy.length)] = upTo(256);
    return copy;
  },
  // A length far beyond what follows.
  (body) => Buffer.concat([Buffer.from([0, 0x7f, 0xff, 0xff, 0xff]), body]),
  // Compressed, or claiming to be.
  (body) => Buffer.concat([Buffer.from([1]), body.subarray(1)]),
  (body) => gzipSync(body),
  // Not UTF-8.
  (body) => Buffer.from(body.toString('latin1').replace('read', '\xff\xfe\xc0\x80'), 'latin1'),
  (body) =>
    Buffer.from(body.toString('latin1').replace('"read"', '1e999').replace('"u"', '-1e-999'), 'latin1'),
  // Half a character, and two ids that a double takes for one.
  (body) => Buffer.from(body.toString('latin1').replaceAll('"read"', '"\\ud800"'), 'latin1'),
  (body) => Buffer.from(body.toString('latin1').replaceAll('1.5', '9007199254740993'), 'latin1'),
  (body) => Buffer.from(body.toString('latin1').replace('{', '{"__proto__":{"admin":true},'), 'latin1'),
  (body) => Buffer.from(`${'['.repeat(upTo(5_000))}${body.toString('latin1')}`, 'latin1'),
  () => Buffer.alloc(upTo(2_000), upTo(256)),
  () => Buffer.alloc(0),
];

const oddHeaders: readonly http2.OutgoingHttpHeaders[] = [
  {},
  { 'content-type': 'application/grpc; charset=\u00ff' },
  { 'grpc-encoding': 'gzip' },
  { 'grpc-encoding': 'zip-bomb' },
  { 'content-encoding': 'gzip' },
  { 'grpc-timeout': '1n' },
  { 'grpc-timeout': '99999999999H' },
  { 'connect-timeout-ms': '-1' },
  { 'connect-protocol-version': '9' },
  { authorization: 'Bearer' },
  { authorization: 'Basic !!!' },
  { authorization: `Bearer ${'x'.repeat(8_000)}` },
  { 'x-request-id': 'r'.repeat(4_000) },
  { traceparent: '00-zz-zz-zz' },
  { ':method': 'DELETE' },
];

test(`${REQUESTS} broken requests: no crash, no hang, no leak`, { timeout: 240_000 }, async () => {
  await burst(1_000);
  const before = usage();
  await burst(REQUESTS);
  await halfOpen(50);
  expect((await check(served.data, asks('calm'))).body.decision).toBe('DECISION_ALLOW');
  const after = usage();
  // Descriptors of closed connections may take a moment; a leak would be one a request.
  expect(after.descriptors - before.descriptors).toBeLessThan(100);
  expect(after.heap - before.heap).toBeLessThan(100 * 1024 * 1024);
});

/** What is garbage is no leak, and how much of it lies about differs from run to run. */
setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

function usage(): { heap: number; descriptors: number } {
  collect();
  const descriptors = process.platform === 'linux' ? readdirSync('/proc/self/fd').length : 0;
  return { heap: process.memoryUsage().heapUsed, descriptors };
}

async function burst(count: number): Promise<void> {
  let left = count;
  const lane = async (_: unknown, at: number): Promise<void> => {
    // A quarter goes to the admin plane.
    const [url, goods] = at % 4 === 0 ? [served.admin, admin] : [served.data, data];
    while (left > 0) {
      const session = http2.connect(url);
      session.on('error', () => session.destroy());
      for (let sent = 0; sent < 100 && left > 0 && !session.destroyed; sent += 1) {
        left -= 1;
        await once(session, pick(goods));
      }
      session.destroy();
    }
  };
  await Promise.all(Array.from({ length: 8 }).map(lane));
}

/** One request; resolves when it ended somehow. A hang fails by the bound. */
function once(session: http2.ClientHttp2Session, [path, type, good, endless]: Good): Promise<void> {
  const body = pick(mutations)(good);
  return new Promise((resolve, reject) => {
    const bound = setTimeout(
      () => reject(new Error(`no end: ${path} ${type} ${body.subarray(0, 80).toString('hex')}`)),
      20_000,
    );
    const done = (): void => {
      clearTimeout(bound);
      resolve();
    };
    let stream: http2.ClientHttp2Stream;
    try {
      stream = session.request({
        ':method': 'POST',
        ':path': path,
        'content-type': type,
        te: 'trailers',
        ...pick(oddHeaders),
      });
    } catch {
      // Node's own client refuses some of the headers.
      return done();
    }
    stream.on('error', () => undefined);
    stream.on('close', done);
    // A tail of a log in which nothing happens says nothing at all.
    if (endless) setTimeout(() => stream.close(8), 50);
    stream.resume();
    if (random() < 0.05) {
      stream.write(body.subarray(0, upTo(body.length + 1)), () => stream.close(pick([0, 8, 2])));
      return;
    }
    stream.end(body);
  });
}

/** Connections that say half of something and go. */
async function halfOpen(count: number): Promise<void> {
  const port = Number(new URL(served.data).port);
  const openings = [
    'PRI * HT',
    'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00',
    'GET / HT',
    '\x16\x03\x01\x02\x00',
    '\x00',
    'POST /x HTTP/1.1\r\nContent-Length: 99\r\n\r\n{',
  ];
  await Promise.all(
    Array.from(
      { length: count },
      () =>
        new Promise<void>((resolve) => {
          const socket = net.connect(port, '127.0.0.1', () => {
            socket.write(pick(openings), 'latin1', () => socket.destroy());
          });
          socket.on('error', () => undefined);
          socket.on('close', () => resolve());
        }),
    ),
  );
}
