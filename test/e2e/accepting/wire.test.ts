import http2 from 'node:http2';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { bearer } from '../server.ts';
import { type Both, bothStarted, checkOf } from './alike.ts';
import { SECRET } from './started.ts';

/** What a thread answers to requests as they stand on the wire, and what main passes back through it, is as main's own. */

let both: Both;
beforeAll(async () => {
  both = await bothStarted();
});
afterAll(() => both[Symbol.asyncDispose]());

const message = checkOf('two');
const framed = (length = message.length, flag = 0): Buffer => {
  const head = Buffer.alloc(5);
  head.writeUInt8(flag);
  head.writeUInt32BE(length, 1);
  return Buffer.concat([head, message]);
};
const json = JSON.stringify({
  tenant: 'two',
  subject: { type: 'user', id: 'u' },
  action: { name: 'read' },
  resource: { type: 'thing', id: 't' },
});

interface Asked {
  readonly headers?: http2.OutgoingHttpHeaders;
  readonly body?: string | Buffer;
  /** Whether its end is never sent. */
  readonly stalls?: boolean;
}

interface Answered {
  readonly headers: Record<string, unknown>;
  readonly trailers: Record<string, unknown>;
  readonly bytes: number;
  readonly text: string;
  readonly reset: number;
}

/** What is unlike for each answer. */
const plain = (headers: http2.IncomingHttpHeaders): Record<string, unknown> => ({
  ...headers,
  date: undefined,
});

const OWN = /"(?:decisionId|recordIndex)":"[^"]*"|\b\d{4}-\d\d-\d\dT[\d:.]+Z/g;

function answered(session: http2.ClientHttp2Session, { headers, body, stalls }: Asked): Promise<Answered> {
  const stream = session.request(
    {
      ':method': 'POST',
      ':path': '/mandate.v1.DecisionService/Check',
      'content-type': 'application/grpc',
      te: 'trailers',
      authorization: bearer(SECRET),
      ...headers,
    },
    { endStream: false },
  );
  let [head, trailers]: http2.IncomingHttpHeaders[] = [{}, {}];
  const parts: Buffer[] = [];
  stream.on('response', (received) => (head = received));
  stream.on('trailers', (received) => (trailers = received));
  stream.on('data', (part: Buffer) => parts.push(part));
  stream.on('error', () => undefined);
  if (body !== undefined) stream.write(body);
  if (!stalls) stream.end();
  return new Promise((resolve) =>
    stream.on('close', () => {
      const bytes = Buffer.concat(parts);
      const isText = /json|text/.test(String(head?.['content-type']));
      resolve({
        headers: plain(head ?? {}),
        trailers: plain(trailers ?? {}),
        // Ids and indexes are in it.
        bytes: isText ? 0 : bytes.length,
        text: isText ? bytes.toString().replace(OWN, '') : '',
        reset: stream.rstCode ?? 0,
      });
    }),
  );
}

/** Each asks on a connection of its own, three times: the thread knows the caller by then. */
async function alike(asked: Asked): Promise<Answered[]> {
  const [threads, main] = await Promise.all(
    [both.threads, both.main].map(async ({ served }) => {
      const session = http2.connect(served.data);
      session.on('error', () => undefined);
      const all: Answered[] = [];
      for (let time = 0; time < (asked.stalls ? 1 : 3); time += 1) all.push(await answered(session, asked));
      session.destroy();
      return all;
    }),
  );
  const without = (answer: Answered) => ({
    ...answer,
    headers: { ...answer.headers, 'content-length': undefined },
    bytes: Math.min(1, answer.bytes),
  });
  expect(threads?.map(without)).toEqual(main?.map(without));
  return threads ?? [];
}

describe('gRPC', () => {
  test('of a sound message', async () => {
    const [answer] = await alike({ body: framed() });
    expect(answer?.trailers).toMatchObject({ 'grpc-status': '0' });
  });

  test.each<[string, Asked, string | undefined]>([
    ['a deadline that cannot be read', { headers: { 'grpc-timeout': '5x' }, body: framed() }, undefined],
    ['a deadline that has passed', { headers: { 'grpc-timeout': '1n' }, body: framed() }, '4'],
    ['a frame that is longer than its body', { body: framed(message.length + 7) }, undefined],
    ['a frame that is shorter than its body', { body: framed(message.length - 3) }, undefined],
    ['a frame of more than a message may have', { body: framed(64 * 1024 * 1024) }, '3'],
    ['a frame that is compressed', { body: framed(message.length, 1) }, undefined],
    ['no frame', {}, undefined],
    ['two frames', { body: Buffer.concat([framed(), framed()]) }, undefined],
    ['a compression', { headers: { 'grpc-encoding': 'gzip' }, body: framed(message.length, 1) }, undefined],
    ['an unknown compression', { headers: { 'grpc-encoding': 'x' }, body: framed() }, undefined],
    ['another scheme', { headers: { authorization: 'Negotiate abc' }, body: framed() }, '16'],
    ['no scheme', { headers: { authorization: SECRET }, body: framed() }, '16'],
    ['a Basic credential', { headers: { authorization: 'Basic eDp5' }, body: framed() }, '16'],
    ['an unknown method', { headers: { ':path': '/mandate.v1.DecisionService/Nothing' } }, undefined],
    [
      'a content-length that is not its own',
      { headers: { 'content-length': '3' }, body: framed() },
      undefined,
    ],
  ])('with %s', async (_, asked, status) => {
    const answers = await alike(asked);
    for (const { headers, trailers } of answers)
      if (status !== undefined) expect(trailers['grpc-status'] ?? headers['grpc-status']).toBe(status);
  });

  test('of what is sent and not ended is given up', async () => {
    const [[part], [none]] = await Promise.all([
      alike({ body: framed().subarray(0, 20), stalls: true }),
      alike({ stalls: true }),
    ]);
    for (const answer of [part, none])
      expect(answer?.trailers['grpc-status'] ?? answer?.headers['grpc-status'] ?? answer?.reset).not.toBe(
        '0',
      );
  });
});

describe('other requests, which main serves', () => {
  const by = { 'content-type': 'application/json', te: undefined };
  test.each<[string, Asked]>([
    ['a check in JSON', { headers: by, body: json }],
    ['one that is not JSON', { headers: by, body: '{' }],
    ['one of another type', { headers: { ...by, 'content-type': 'text/plain' }, body: json }],
    ['one by a wrong credential', { headers: { ...by, authorization: bearer('wrong') }, body: json }],
    [
      'one by nobody, of another host',
      { headers: { ...by, authorization: undefined, ':authority': 'x.example' } },
    ],
    ['health', { headers: { ...by, ':method': 'GET', ':path': '/livez' } }],
    ['readiness, in words', { headers: { ...by, ':method': 'GET', ':path': '/readyz?verbose' } }],
    ['a HEAD', { headers: { ...by, ':method': 'HEAD', ':path': '/livez' } }],
    ['nothing there', { headers: { ...by, ':method': 'GET', ':path': '/nothing' } }],
    [
      'a page of a form',
      { headers: { ...by, 'content-type': 'application/x-www-form-urlencoded' }, body: 'a=b' },
    ],
    ['gRPC-web', { headers: { ...by, 'content-type': 'application/grpc-web+proto' }, body: framed() }],
    [
      'reflection',
      {
        headers: { ':path': '/grpc.reflection.v1.ServerReflection/ServerReflectionInfo' },
        body: Buffer.from([0, 0, 0, 0, 2, 0x3a, 0]),
      },
    ],
  ])('%s', async (_, asked) => {
    const [first] = await alike(asked);
    expect(first?.headers[':status']).toBeDefined();
  });
});
