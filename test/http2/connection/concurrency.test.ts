import { describe, expect, test } from 'vitest';
import { ErrorCode } from '../../../src/http2/errors.ts';
import type { ServerStream } from '../../../src/http2/server-stream.ts';
import { answerAtOnce, OK, ponder, type Serve, serving } from '../echo.ts';
import { RawClient } from '../raw-client.ts';
import { counted, data, END, headers, request, reset, windowUpdate } from '../wire.ts';

const { REFUSED_STREAM } = ErrorCode;
const limits = { streams: 3 };
const ask = (id: number, path = '/echo'): Buffer => headers(id, request(path), END);

/** Works on whatever becomes of the stream; the test settles it. */
const stubborn: Serve = (stream) =>
  stream.receive({ data: () => undefined, end: () => undefined, closed: () => undefined });

describe('RFC 9113 5.1.2: streams at once', () => {
  test('one more than allowed is refused, and may be asked again when one is over', async () => {
    await using served = await serving({ serve: ponder, limits });
    using client = await RawClient.connect(served.port);
    client.send(ask(1), headers(3, request()), ask(5), ask(7), headers(9, request()), data(9, 'x', END));
    for (const id of [7, 9]) expect(await client.answered(id)).toMatchObject({ reset: REFUSED_STREAM });
    expect(served.streams).toHaveLength(3);
    served.streams[0]?.answer(OK);
    client.send(ask(11), ask(13));
    expect(await client.answered(13)).toMatchObject({ reset: REFUSED_STREAM });
    await client.settled();
    expect(client.answer(11).isOver).toBe(false);
    expect(served.connections[0]?.open).toBe(3);
  });

  test('those count that were given up, and whose handler works on', async () => {
    await using served = await serving({ serve: stubborn, limits });
    using client = await RawClient.connect(served.port);
    for (let id = 1; id <= 5; id += 2) client.send(ask(id), reset(id));
    client.send(ask(7));
    expect(await client.answered(7)).toMatchObject({ reset: REFUSED_STREAM });
    served.streams[1]?.settle();
    served.streams[1]?.settle();
    served.streams[1]?.reset(ErrorCode.CANCEL);
    client.send(ask(9), ask(11));
    expect(await client.answered(11)).toMatchObject({ reset: REFUSED_STREAM });
    await client.settled();
    expect(client.answer(9).isOver).toBe(false);
    expect(served.connections[0]?.open).toBe(3);
    for (const stream of served.streams) stream.settle();
    expect(served.connections[0]?.open).toBe(1);
    client.send(reset(9));
    await client.settled();
    expect(served.connections[0]?.open).toBe(0);
  });

  test('those count whose answer waits for the client, though their handler is done', async () => {
    await using served = await serving({ serve: answerAtOnce(counted(100)), limits });
    using client = await RawClient.connect(served.port, { settings: [['INITIAL_WINDOW_SIZE', 0]] });
    client.send(ask(1), ask(3), ask(5), ask(7));
    expect(await client.answered(7)).toMatchObject({ reset: REFUSED_STREAM });
    client.send(windowUpdate(3, 100), ask(9), ask(11));
    expect((await client.answered(3)).length).toBe(100);
    expect(await client.answered(11)).toMatchObject({ reset: REFUSED_STREAM });
    client.send(reset(1), reset(5), reset(9));
    await client.settled();
    expect(served.connections[0]?.open).toBe(0);
  });

  test('those do not count that were refused or malformed', async () => {
    await using served = await serving({ serve: ponder, limits: { streams: 1 } });
    using client = await RawClient.connect(served.port);
    for (let id = 1; id < 41; id += 2) client.send(headers(id, [], END));
    client.send(ask(41));
    await client.settled();
    for (let id = 43; id < 83; id += 2) client.send(ask(id));
    await client.answered(81);
    expect(client.answer(41).isOver).toBe(false);
    expect(served.connections[0]?.open).toBe(1);
  });

  test('more is allowed from the moment it is told of', async () => {
    await using served = await serving({ serve: ponder, limits: { streams: 1 } });
    using client = await RawClient.connect(served.port);
    client.send(ask(1), ask(3));
    expect(await client.answered(3)).toMatchObject({ reset: REFUSED_STREAM });
    served.connections[0]?.widen({ streams: 2, streamWindow: 65_535, connectionWindow: 65_535 });
    client.send(ask(5), ask(7));
    expect(await client.answered(7)).toMatchObject({ reset: REFUSED_STREAM });
    expect(client.answer(5).isOver).toBe(false);
  });

  test('the count is right after all the ways in which a stream and its handler come to an end', async () => {
    const ways: readonly ((stream: ServerStream) => void)[] = [
      (stream) => stream.answer(OK),
      (stream) => stream.answer(OK, Buffer.alloc(10)),
      (stream) => stream.reset(ErrorCode.CANCEL),
      (stream) => {
        stream.respond(OK);
        stream.end();
        stream.settle();
      },
      (stream) => {
        stream.settle();
        stream.answer(OK);
        stream.reset(ErrorCode.CANCEL);
      },
      (stream) => {
        stream.settle();
        throw new Error('after it was settled');
      },
      (stream) => {
        stream.answer(OK);
        throw new Error('after it was answered');
      },
      () => {
        throw new Error('before anything');
      },
      (stream) =>
        stream.receive({
          data: () => stream.settle(),
          end: () => stream.end(),
          closed: () => stream.settle(),
        }),
      (stream) =>
        stream.receive({ data: () => stream.end(), end: () => stream.reset(2), closed: () => stream.end() }),
      (stream) =>
        stream.receive({
          data: () => stream.reset(8),
          end: () => stream.answer(OK),
          closed: () => stream.reset(2),
        }),
    ];
    const clientWays: readonly ((id: number) => Buffer[])[] = [
      (id) => [ask(id)],
      (id) => [headers(id, request()), data(id, 'x', END)],
      (id) => [headers(id, request()), data(id, 'x'), reset(id)],
      (id) => [ask(id), reset(id)],
      (id) => [headers(id, request()), reset(id), data(id, 'x', END)],
      (id) => [ask(id), data(id, 'late')],
      (id) => [headers(id, request(), END), windowUpdate(id, 0)],
      (id) => [headers(id, request('/', [['content-length', '5']]), END), reset(id)],
      (id) => [headers(id, request('/', [['content-length', '5']])), data(id, 'too much'), reset(id)],
      (id) => [headers(id, request()), headers(id, [[':bad', '']], END), reset(id)],
    ];
    let way = 0;
    await using served = await serving({
      serve: (stream, connection) => {
        ways[way % ways.length]?.(stream);
        expect(connection.open).toBeGreaterThanOrEqual(0);
      },
      limits: { streams: 100 },
    });
    using client = await RawClient.connect(served.port);
    let id = 1;
    for (way = 0; way < ways.length; way += 1)
      for (const bytes of clientWays) {
        client.send(...bytes(id), reset(id));
        await client.settled();
        // Whoever has not settled by now has not been told that it may.
        served.streams.at(-1)?.settle();
        expect([way, clientWays.indexOf(bytes), served.connections[0]?.open]).toEqual([
          way,
          clientWays.indexOf(bytes),
          0,
        ]);
        id += 2;
      }
    expect(new Set(served.failures.splice(0).map(String)).size).toBe(3);
  });
});
