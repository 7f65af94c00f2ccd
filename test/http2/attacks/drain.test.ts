import { describe, expect, test } from 'vitest';
import { ErrorCode } from '../../../src/http2/errors.ts';
import { echo, ponder, type Serve, serving } from '../echo.ts';
import { RawClient } from '../raw-client.ts';
import { data, END, goAway, headers, ping, request, reset } from '../wire.ts';
import { flood } from './bystander.ts';

/** Clients that do not want a server to go away. */

const { ENHANCE_YOUR_CALM, NO_ERROR } = ErrorCode;
const now = (): number => 0;
const serve: Serve = (stream, connection) =>
  (stream.line.path === '/never' ? ponder : echo)(stream, connection);

describe('a server that goes away', () => {
  test.each<[string, (at: number) => Uint8Array]>([
    ['streams that begin', (at) => headers(2 * at + 101, request(), END)],
    [
      'streams that begin and are given up',
      (at) => Buffer.concat([headers(2 * at + 101, request()), reset(2 * at + 101)]),
    ],
    [
      'streams that begin with a body',
      (at) => Buffer.concat([headers(2 * at + 101, request()), data(2 * at + 101, '', END)]),
    ],
    ['PING', () => ping()],
    ['trailers of streams that were not taken', () => headers(101, [], END)],
    ['RST_STREAM of streams that were not taken', () => reset(101)],
  ])('is not kept busy by %s', async (_what, bytes) => {
    await using served = await serving({ serve, now });
    using client = await RawClient.connect(served.port);
    client.send(headers(1, request('/never')));
    await client.settled();
    served.server.goAway(true);
    client.send(headers(101, request()));
    await flood(client, 20_000, bytes);
    expect(await client.ended()).toBe(ENHANCE_YOUR_CALM);
    expect(served.streams).toHaveLength(1);
    expect(client.frames.length).toBeLessThan(1_100);
  });

  test('between its two steps takes streams as before, and no more at once', async () => {
    await using served = await serving({ serve, now, limits: { streams: 10 } });
    using client = await RawClient.connect(served.port);
    served.server.goAway(false);
    for (let at = 0; at < 30; at += 1) client.send(headers(2 * at + 1, request('/never'), END));
    await client.settled();
    expect(served.open).toBe(10);
    served.server.goAway(true);
    for (let at = 0; at < 10; at += 1) client.send(reset(2 * at + 1));
    expect(await client.ended()).toBe(NO_ERROR);
    expect(client.goAway?.lastId).toBe(59);
  });

  test('ends with its last request, though its client says goodbye again and again', async () => {
    await using served = await serving({ serve, now });
    using client = await RawClient.connect(served.port);
    client.send(headers(1, request('/never')));
    await client.settled();
    served.server.goAway(true);
    client.send(...Array.from({ length: 50 }, () => goAway()));
    await client.settled();
    client.send(reset(1));
    expect(await client.ended()).toBe(NO_ERROR);
  });

  test('can be closed for good while clients hold it up: nothing is left', async () => {
    await using served = await serving({ serve });
    using client = await RawClient.connect(served.port);
    for (let at = 0; at < 20; at += 1) client.send(headers(2 * at + 1, request()), data(2 * at + 1, 'x'));
    await client.settled();
    served.server.goAway(false);
    served.server.goAway(true);
    await client.settled();
    served.server[Symbol.dispose]();
    await client.closed();
    await served.quiet();
    expect(served.open).toBe(0);
    expect(served.budget.held).toBe(0);
  });
});
