import { once } from 'node:events';
import http2 from 'node:http2';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Served } from '../../../containment/tenants.ts';
import { acceptingOf, attacked, connected, secrets, watched } from './attacked.ts';

/** Requests at the edge of what HTTP is: a thread passes each on so that main answers what it would answer itself. */

let [threads, main]: (Served | undefined)[] = [];
let ended = 0;
beforeAll(async () => {
  const begun = await watched(() => attacked());
  threads = begun.value;
  for (const thread of begun.threads) thread.once('exit', () => (ended += 1));
  main = await attacked({ accept_threads: 0 });
});
afterAll(async () => {
  await Promise.all([threads, main].flatMap((each) => each?.[Symbol.asyncDispose]() ?? []));
});

const both = async <T>(ask: (url: string) => Promise<T>): Promise<[T, T]> =>
  Promise.all([ask(threads?.data ?? ''), ask(main?.data ?? '')]);

/** The whole answer to bytes, but for the time and the server's own address. */
async function answerTo(url: string, bytes: string): Promise<string> {
  const socket = await connected(url);
  socket.write(bytes, 'latin1');
  const late = setTimeout(() => socket.destroy(), 5_000);
  let text = '';
  for await (const chunk of socket) text += String(chunk);
  clearTimeout(late);
  return text.replace(/^date: .*$/gim, '').replaceAll(new URL(url).host, 'host');
}

const AUTHORIZED = `authorization: Bearer ${secrets.one}`;
const BODY = '{"subject":{"type":"user","id":"u"},"action":{"name":"read"},"resource":{"type":"t","id":"t"}}';
const EVALUATE =
  'POST /t/one/access/v1/evaluation HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-type: application/json';
const LENGTH = `content-length: ${BODY.length}`;
const CHUNKED = `transfer-encoding: chunked\r\n\r\n${BODY.length.toString(16)}\r\n${BODY}\r\n0\r\nauthorization: Bearer x\r\nx-late: y\r\n\r\n`;

const odd: Readonly<Record<string, string>> = {
  'no path': 'OPTIONS * HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n',
  'two slashes': 'GET //readyz HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n',
  'a broken address': 'GET http://[::1/x HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n',
  'a whole address': 'GET http://b/readyz HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n',
  'no host': 'GET /readyz HTTP/1.1\r\nconnection: close\r\n\r\n',
  'two hosts': 'GET /readyz HTTP/1.1\r\nhost: a\r\nhost: b\r\nconnection: close\r\n\r\n',
  'HTTP/1.0': 'GET /readyz HTTP/1.0\r\n\r\n',
  'an unknown method': 'TRACE /readyz HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n',
  CONNECT: 'CONNECT a:80 HTTP/1.1\r\nhost: a\r\n\r\n',
  HEAD: 'HEAD /readyz HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n',
  'a protocol to change to':
    'GET /readyz HTTP/1.1\r\nhost: a\r\nconnection: close, upgrade\r\nupgrade: h2c\r\n\r\n',
  'names of a prototype': `${EVALUATE}\r\n${AUTHORIZED}\r\n__proto__: x\r\nconstructor: y\r\ntoString: z\r\n${LENGTH}\r\n\r\n${BODY}`,
  'two credentials, the good one last': `${EVALUATE}\r\nauthorization: Bearer x\r\n${AUTHORIZED}\r\n${LENGTH}\r\n\r\n${BODY}`,
  'two credentials, the good one first': `${EVALUATE}\r\n${AUTHORIZED}\r\nauthorization: Bearer x\r\n${LENGTH}\r\n\r\n${BODY}`,
  'two lengths': `${EVALUATE}\r\n${AUTHORIZED}\r\n${LENGTH}\r\ncontent-length: 1\r\n\r\n${BODY}`,
  'a length and chunks': `${EVALUATE}\r\n${AUTHORIZED}\r\n${LENGTH}\r\n${CHUNKED}`,
  'chunks, and trailers with a credential': `${EVALUATE}\r\n${AUTHORIZED}\r\n${CHUNKED}`,
  'a credential in trailers alone': `${EVALUATE}\r\n${CHUNKED}`,
  'an id of bytes': `${EVALUATE}\r\n${AUTHORIZED}\r\nx-request-id: \x80\xff\xe9\r\n${LENGTH}\r\n\r\n${BODY}`,
  'cookies, many': `${EVALUATE}\r\n${AUTHORIZED}\r\ncookie: a=1\r\ncookie: b=2\r\nset-cookie: a\r\nset-cookie: b\r\n${LENGTH}\r\n\r\n${BODY}`,
  'a body that is waited for': `${EVALUATE}\r\n${AUTHORIZED}\r\nexpect: 100-continue\r\n${LENGTH}\r\n\r\n${BODY}`,
  'another expectation': `${EVALUATE}\r\n${AUTHORIZED}\r\nexpect: nonsense\r\n${LENGTH}\r\n\r\n${BODY}`,
  'a body that is not wanted': `GET /readyz HTTP/1.1\r\nhost: a\r\nconnection: close\r\n${LENGTH}\r\n\r\n${BODY}`,
  'what was passed on before': `${EVALUATE}\r\n${AUTHORIZED}\r\nmandate-passed-on: 1\r\n${LENGTH}\r\n\r\n${BODY}`,
};

test.each(Object.entries(odd))('over HTTP/1.1: %s', async (_, bytes) => {
  const [passed, direct] = await both((url) => answerTo(url, bytes));
  expect(normal(passed)).toBe(normal(direct));
});

/** What differs from one decision to the next. */
const normal = (text: string): string =>
  text
    .replace(/"(decision_id|record_index|policy_revision|cost|state_version)":("[^"]*"|\d+)/g, '"$1":0')
    .replace(/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f-]+/g, 'id');

test.each([
  ['HEAD', { ':method': 'HEAD', ':path': '/readyz' }],
  ['a path that is none', { ':path': '//' }],
  ['names of a prototype', { ':path': '/readyz', constructor: 'x', 'to-string': 'y' }],
  ['bytes', { ':path': '/readyz', 'x-request-id': '\x80\xff' }],
])('over HTTP/2: %s', async (_, headers) => {
  const ask = async (url: string): Promise<unknown> => {
    const session = http2.connect(url);
    session.on('error', () => undefined);
    const stream = session.request(headers);
    const [answer] = (await once(stream, 'response')) as [http2.IncomingHttpHeaders];
    let text = '';
    for await (const chunk of stream) text += String(chunk);
    session.destroy();
    return { ...answer, date: undefined, text };
  };
  const [passed, direct] = await both(ask);
  expect(passed).toEqual(direct);
});

test('none of it has ended a thread', () => {
  expect([ended, threads && acceptingOf(threads).ready]).toEqual([0, 2]);
});
