import { describe, expect, test } from 'vitest';
import { ErrorCode } from '../../../src/http2/errors.ts';
import { mirror, ponder, type Serve, serving } from '../echo.ts';
import { RawClient } from '../raw-client.ts';
import { data, END, headers, request, reset, windowUpdate } from '../wire.ts';
import { bystander, flood } from './bystander.ts';

/** Streams that are given up cost their client nothing: how many of them it may have without an answer is bounded. */

const { ENHANCE_YOUR_CALM } = ErrorCode;
/** No time passes, so that nothing is allowed for it. */
const now = (): number => 0;
/** What is allowed at once, and some. */
const MOST = 1_100;

const idOf = (at: number): number => 2 * at + 1;
const serve: Serve = (stream, connection) =>
  (stream.line.path === '/bystander' ? mirror : ponder)(stream, connection);

describe('CVE-2023-44487, rapid reset', () => {
  test('a client that begins streams and gives them up is told to be calm', async () => {
    await using served = await serving({ serve, now });
    using client = await RawClient.connect(served.port);
    await flood(client, 10_000, (at) => Buffer.concat([headers(idOf(at), request(), END), reset(idOf(at))]));
    expect(await client.ended()).toBe(ENHANCE_YOUR_CALM);
    expect(served.streams.length).toBeLessThanOrEqual(MOST);
    expect(served.open).toBe(0);
    expect(await bystander(served.port)).toBe('200');
  });

  test('in one piece, so that all of them are read in one turn', async () => {
    await using served = await serving({ serve, now });
    using client = await RawClient.connect(served.port);
    const all = Array.from({ length: 5_000 }, (_, at) => [
      headers(idOf(at), request(), END),
      reset(idOf(at)),
    ]);
    client.send(...all.flat());
    expect(await client.ended()).toBe(ENHANCE_YOUR_CALM);
    expect(served.streams.length).toBeLessThanOrEqual(MOST);
  });

  test('handlers that work on are not more than streams at once, however many are given up', async () => {
    const stubborn: Serve = (stream, connection) => {
      if (stream.line.path === '/bystander') mirror(stream, connection);
      else stream.receive({ data: () => undefined, end: () => undefined, closed: () => undefined });
    };
    await using served = await serving({ serve: stubborn, now, limits: { streams: 20 }, leavesOpen: true });
    using client = await RawClient.connect(served.port);
    await flood(client, 10_000, (at) => Buffer.concat([headers(idOf(at), request(), END), reset(idOf(at))]));
    expect(await client.ended()).toBe(ENHANCE_YOUR_CALM);
    expect(served.streams).toHaveLength(20);
    expect(await bystander(served.port)).toBe('200');
  });

  test('who is answered now and then may give up some', async () => {
    await using served = await serving({ now, serve: mirror });
    using client = await RawClient.connect(served.port, { takes: 30_000 });
    for (let at = 0; at < 1_500; at += 1) {
      const id = 4 * at + 1;
      client.send(headers(id, request()), reset(id), headers(id + 2, request(), END));
      if (at % 50 === 49) await client.answered(id + 2);
    }
    await client.settled();
    expect(client.goAway).toBe(undefined);
  });
});

/** Each makes the server give up a stream that it has begun to work on. */
const provocations: readonly (readonly [string, (id: number) => Uint8Array[]])[] = [
  ['a window that opens by nothing', (id) => [headers(id, request(), END), windowUpdate(id, 0)]],
  ['a window beyond 2^31-1', (id) => [headers(id, request(), END), windowUpdate(id, 2 ** 31 - 1)]],
  ['DATA after the end', (id) => [headers(id, request(), END), data(id, 'x')]],
  ['DATA of nothing after the end', (id) => [headers(id, request(), END), data(id, '', END)]],
  ['HEADERS after the end', (id) => [headers(id, request(), END), headers(id, [['a', 'b']], END)]],
  ['trailers that do not end it', (id) => [headers(id, request()), headers(id, [['a', 'b']])]],
  ['trailers that are malformed', (id) => [headers(id, request()), headers(id, [[':path', '/']], END)]],
  [
    'less than its content-length',
    (id) => [headers(id, request('/', [['content-length', '9']])), data(id, 'x', END)],
  ],
  ['nothing of its content-length', (id) => [headers(id, request('/', [['content-length', '9']]), END)]],
  [
    'more than its content-length',
    (id) => [headers(id, request('/', [['content-length', '0']])), data(id, 'x')],
  ],
  ['more than its window', (id) => [headers(id, request()), data(id, Buffer.alloc(101))]],
];

describe('CVE-2025-8671, MadeYouReset', () => {
  test.each(provocations)('%s: who provokes it again and again is told to be calm', async (_what, bytes) => {
    await using served = await serving({ serve, now, limits: { streamWindow: 100 } });
    using client = await RawClient.connect(served.port);
    await flood(client, 4_000, (at) => Buffer.concat(bytes(idOf(at))));
    expect(await client.ended()).toBe(ENHANCE_YOUR_CALM);
    expect(served.streams.length).toBeLessThanOrEqual(MOST);
    expect(served.open).toBe(0);
    expect(await bystander(served.port)).toBe('200');
  });

  const refused: readonly (readonly [string, (id: number) => Uint8Array[]])[] = [
    ['malformed', (id) => [headers(id, [], END)]],
    ['over the limit of streams', (id) => [headers(id, request(), END)]],
    ['and then sent more of', (id) => [headers(id, request()), data(id, 'x')]],
  ];
  test.each(refused)('requests that are refused before anybody works on them: %s', async (_what, bytes) => {
    await using served = await serving({ serve, now, limits: { streams: 1 } });
    using client = await RawClient.connect(served.port);
    client.send(headers(1, request()));
    await flood(client, 4_000, (at) => Buffer.concat(bytes(idOf(at + 1))));
    expect(await client.ended()).toBe(ENHANCE_YOUR_CALM);
    expect(served.streams).toHaveLength(1);
    expect(await bystander(served.port)).toBe('200');
  });
});
