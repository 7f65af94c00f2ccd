import { describe, expect, test } from 'vitest';
import { ErrorCode } from '../../../src/http2/errors.ts';
import { Type } from '../../../src/http2/wire/frames.ts';
import { mirror, ponder, type Serve, serving } from '../echo.ts';
import { RawClient } from '../raw-client.ts';
import { data, END, headers, request, reset } from '../wire.ts';

/** What the server lets a client send. */

const { FLOW_CONTROL_ERROR, PROTOCOL_ERROR } = ErrorCode;

/** Reads nothing, ever. */
const closedEars: Serve = (stream) => {
  stream.receive({ data: () => undefined, end: () => undefined, closed: () => stream.settle() });
  stream.pause();
};

/** How much the server has opened a window by. */
const opened = (client: RawClient, id: number): number =>
  client.frames
    .filter((frame) => frame.type === Type.WINDOW_UPDATE && frame.id === id)
    .reduce((sum, { payload }) => sum + payload.readUInt32BE(), 0);

/** Sends what all streams together may have on their way once more, and hears that the window is as wide as ever. */
async function uploads(client: RawClient, id: number, bytes: number): Promise<void> {
  client.send(headers(id, request('/upload')));
  for (let at = 0; at < bytes; at += 10_000) {
    client.send(data(id, Buffer.alloc(Math.min(10_000, bytes - at))));
    await client.settled();
  }
  client.send(data(id, '', END));
  expect(JSON.parse((await client.answered(id)).body.toString())).toMatchObject({ length: bytes });
}

describe('RFC 9113 6.9: what a client may send', () => {
  test('is what was said, to the last byte, on a stream', async () => {
    await using served = await serving({ serve: closedEars, limits: { streamWindow: 1_000 } });
    using client = await RawClient.connect(served.port);
    client.send(headers(1, request()), data(1, Buffer.alloc(1_000)), headers(3, request()));
    await client.settled();
    expect(client.answer(1).reset).toBe(undefined);
    client.send(data(1, 'x'), data(3, 'x'));
    await client.settled();
    expect(client.answer(1).reset).toBe(FLOW_CONTROL_ERROR);
    expect(client.answer(3).reset).toBe(undefined);
  });

  test('is what was said, to the last byte, on all streams together', async () => {
    await using served = await serving({
      serve: closedEars,
      limits: { streamWindow: 20_000, connectionWindow: 65_535 },
    });
    using client = await RawClient.connect(served.port);
    for (let id = 1; id <= 5; id += 2) client.send(headers(id, request()), data(id, Buffer.alloc(16_384)));
    client.send(headers(7, request()), data(7, Buffer.alloc(16_383)));
    await client.settled();
    expect(client.goAway).toBe(undefined);
    client.send(data(7, 'x'));
    expect(await client.ended()).toBe(FLOW_CONTROL_ERROR);
  });

  test('grows by what is read, in steps of half a window, and by nothing while it is not read', async () => {
    const readers: (() => void)[] = [];
    const serve: Serve = (stream) => {
      stream.receive({ data: () => undefined, end: () => undefined, closed: () => stream.settle() });
      stream.pause();
      readers.push(() => stream.resume());
    };
    await using served = await serving({ serve, limits: { streamWindow: 10_000, connectionWindow: 65_535 } });
    using client = await RawClient.connect(served.port);
    client.send(headers(1, request()), data(1, Buffer.alloc(10_000)));
    await client.settled();
    expect(opened(client, 1)).toBe(0);
    readers[0]?.();
    await client.settled();
    expect(opened(client, 1)).toBe(10_000);
    client.send(data(1, Buffer.alloc(4_999)));
    await client.settled();
    expect(opened(client, 1)).toBe(10_000);
    client.send(data(1, Buffer.alloc(1)));
    await client.settled();
    expect(opened(client, 1)).toBe(15_000);
  });

  test.each([1, 2, 3, 100])('a window of %i is enough', async (streamWindow) => {
    await using served = await serving({ serve: mirror, limits: { streamWindow } });
    using client = await RawClient.connect(served.port);
    client.send(headers(1, request()));
    let sent = 0;
    while (sent < 300) {
      await client.until(() => opened(client, 1) + streamWindow > sent, 'the window to open');
      const more = Math.min(300, opened(client, 1) + streamWindow) - sent;
      client.send(data(1, Buffer.alloc(more)));
      sent += more;
    }
    client.send(data(1, '', END));
    expect(JSON.parse((await client.answered(1)).body.toString())).toMatchObject({ length: 300 });
  });

  test('grows by more room for the whole connection, on streams that are open too', async () => {
    await using served = await serving({ serve: closedEars, limits: { streamWindow: 100 } });
    using client = await RawClient.connect(served.port);
    client.send(headers(1, request()), data(1, Buffer.alloc(100)));
    await client.settled();
    const before = opened(client, 0);
    served.connections[0]?.widen({ streams: 100, streamWindow: 1_000, connectionWindow: 2 * 1024 * 1024 });
    await client.settled();
    expect(opened(client, 0) - before).toBe(1024 * 1024);
    expect(client.count(Type.SETTINGS)).toBe(3);
    client.send(data(1, Buffer.alloc(900)), headers(3, request()), data(3, Buffer.alloc(1_000)));
    await client.settled();
    expect([client.answer(1).reset, client.answer(3).reset]).toEqual([undefined, undefined]);
    client.send(data(1, 'x'), data(3, 'x'));
    await client.settled();
    expect([client.answer(1).reset, client.answer(3).reset]).toEqual([
      FLOW_CONTROL_ERROR,
      FLOW_CONTROL_ERROR,
    ]);
  });
});

describe('RFC 9113 6.9: the window of all streams is whole again', () => {
  const limits = { streamWindow: 65_535, connectionWindow: 65_535, streams: 100 };
  const serve: Serve = (stream, connection) =>
    (stream.line.path === '/upload' ? mirror : stream.line.path === '/never' ? ponder : closedEars)(
      stream,
      connection,
    );
  /** Each costs 10,000 bytes of the window for ever, if they are not given back: eight are more than there is. */
  const body = Buffer.alloc(10_000);
  const faults: readonly (readonly [string, (id: number) => Buffer[]])[] = [
    ['given up by the client, unread', (id) => [headers(id, request()), data(id, body), reset(id)]],
    ['that were given up already', (id) => [headers(id, request()), reset(id), data(id, body)]],
    ['over, of which more comes', (id) => [headers(id, request('/never'), END), data(id, body)]],
    [
      'of more than their content-length',
      (id) => [headers(id, request('/never', [['content-length', '9999']])), data(id, body)],
    ],
    [
      'of less than their content-length',
      (id) => [headers(id, request('/never', [['content-length', '10001']])), data(id, body, END)],
    ],
    ['malformed', (id) => [headers(id, [...request(), ['Bad', '']]), data(id, body)]],
    [
      'with padding that nobody reads',
      (id) => [
        headers(id, request()),
        ...Array.from({ length: 40 }, () => data(id, 'x', { pad: 249 })),
        reset(id),
      ],
    ],
  ];
  test.each(faults)('after streams %s', async (_what, bytes) => {
    await using served = await serving({ serve, limits });
    using client = await RawClient.connect(served.port);
    for (let id = 1; id < 1 + 2 * 8; id += 2) {
      client.send(...bytes(id));
      await client.settled();
    }
    await uploads(client, 101, 60_000);
  });

  test('after streams that sent more than their own window', async () => {
    await using served = await serving({ serve, limits: { ...limits, streamWindow: 9_000 } });
    using client = await RawClient.connect(served.port);
    for (let id = 1; id < 1 + 2 * 8; id += 2) {
      client.send(headers(id, request()), data(id, body));
      await client.settled();
      expect(client.answer(id).reset).toBe(FLOW_CONTROL_ERROR);
    }
    client.send(headers(101, request('/upload')));
    for (let at = 0; at < 8; at += 1) {
      client.send(data(101, Buffer.alloc(8_000)));
      await client.settled();
    }
    client.send(data(101, '', END));
    expect(JSON.parse((await client.answered(101)).body.toString())).toMatchObject({ length: 64_000 });
  });

  test('after streams that were too much for what may be held', async () => {
    await using served = await serving({ serve, limits, bounds: { unsentBytes: 9_000 } });
    using client = await RawClient.connect(served.port);
    for (let id = 1; id < 1 + 2 * 8; id += 2) {
      client.send(headers(id, request()), data(id, body));
      await client.settled();
      expect(client.answer(id).reset).toBe(ErrorCode.ENHANCE_YOUR_CALM);
    }
    await uploads(client, 101, 60_000);
  });

  test('after streams over the limit, and whose handler threw', async () => {
    const serve: Serve = (stream, connection) => {
      if (stream.line.path === '/upload') return mirror(stream, connection);
      stream.receive({
        data() {
          throw new Error('of the handler');
        },
        end: () => undefined,
        closed: () => undefined,
      });
    };
    await using served = await serving({ serve, limits });
    using client = await RawClient.connect(served.port);
    for (let id = 1; id < 1 + 2 * 8; id += 2) {
      client.send(headers(id, request()), data(id, body));
      await client.settled();
      expect(client.answer(id).reset).toBe(ErrorCode.INTERNAL_ERROR);
    }
    expect(served.failures.splice(0)).toHaveLength(8);
    await uploads(client, 101, 60_000);
  });

  test('and what was refused for its length is refused as malformed', async () => {
    await using served = await serving({ serve, limits });
    using client = await RawClient.connect(served.port);
    client.send(headers(1, request('/never', [['content-length', '1']])), data(1, 'xx'));
    expect(await client.answered(1)).toMatchObject({ reset: PROTOCOL_ERROR });
  });
});
