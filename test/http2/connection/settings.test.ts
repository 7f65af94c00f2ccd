import { describe, expect, test } from 'vitest';
import { ErrorCode } from '../../../src/http2/errors.ts';
import { Flag, Type } from '../../../src/http2/wire/frames.ts';
import { answerAtOnce, head, serving } from '../echo.ts';
import { RawClient } from '../raw-client.ts';
import { END, frame, headers, request, settings, settingsAck, windowUpdate } from '../wire.ts';

const { PROTOCOL_ERROR, FRAME_SIZE_ERROR, FLOW_CONTROL_ERROR, SETTINGS_TIMEOUT } = ErrorCode;

describe('RFC 9113 6.5: SETTINGS', () => {
  test.each([
    ['6.5: on a stream', frame(Type.SETTINGS, 0, 1), PROTOCOL_ERROR],
    [
      '6.5: of a length that is no multiple of six',
      frame(Type.SETTINGS, 0, 0, Buffer.alloc(7)),
      FRAME_SIZE_ERROR,
    ],
    [
      '6.5: an acknowledgement with a payload',
      frame(Type.SETTINGS, Flag.ACK, 0, Buffer.alloc(6)),
      FRAME_SIZE_ERROR,
    ],
    ['6.5.2: ENABLE_PUSH of 2', settings(['ENABLE_PUSH', 2]), PROTOCOL_ERROR],
    ['6.5.2: a window of 2^31', settings(['INITIAL_WINDOW_SIZE', 2 ** 31]), FLOW_CONTROL_ERROR],
    ['6.5.2: frames of 16,383', settings(['MAX_FRAME_SIZE', 16_383]), PROTOCOL_ERROR],
    ['6.5.2: frames of 2^24', settings(['MAX_FRAME_SIZE', 2 ** 24]), PROTOCOL_ERROR],
    [
      '6.5.2: what is not allowed, though the next is',
      settings(['MAX_FRAME_SIZE', 0], ['MAX_FRAME_SIZE', 16_384]),
      PROTOCOL_ERROR,
    ],
  ])('RFC 9113 %s ends the connection', async (_what, bytes, code) => {
    await using served = await serving();
    using client = await RawClient.connect(served.port);
    client.send(bytes);
    expect(await client.ended()).toBe(code);
  });

  test('RFC 9113 6.5.3: an acknowledgement of what was not sent ends the connection', async () => {
    await using served = await serving();
    using client = await RawClient.connect(served.port);
    await client.settled();
    client.send(settingsAck());
    expect(await client.ended()).toBe(PROTOCOL_ERROR);
  });

  test('RFC 9113 6.5.3: each is acknowledged, empty ones and those of unknown settings too', async () => {
    await using served = await serving();
    using client = await RawClient.connect(served.port);
    const unknown = frame(Type.SETTINGS, 0, 0, Buffer.from('f00f00000001ffffffffffff', 'hex'));
    client.send(settings(), unknown, settings(['ENABLE_PUSH', 0], ['MAX_CONCURRENT_STREAMS', 0]));
    await client.settled();
    expect(client.acknowledged).toBe(4);
    client.send(headers(1, request(), END));
    expect((await client.answered(1)).status).toBe('200');
  });

  test('RFC 9113 6.5.3: they are taken in the order they come, the last one of a name counts', async () => {
    await using served = await serving({ serve: answerAtOnce(Buffer.alloc(100)) });
    using client = await RawClient.connect(served.port);
    client.send(settings(['INITIAL_WINDOW_SIZE', 2 ** 31 - 1], ['INITIAL_WINDOW_SIZE', 10]));
    client.send(headers(1, request(), END));
    await client.settled();
    expect(client.answer(1)).toMatchObject({ length: 10, isEnded: false });
    client.send(windowUpdate(1, 90));
    expect(await client.answered(1)).toMatchObject({ length: 100, isEnded: true });
  });

  test('RFC 9113 6.5.3: who never acknowledges ours is told SETTINGS_TIMEOUT', async () => {
    await using served = await serving({ bounds: { acknowledgementMs: 40 } });
    using client = await RawClient.connect(served.port, { acknowledges: false });
    expect(await client.ended()).toBe(SETTINGS_TIMEOUT);
  });

  test('RFC 9113 6.5.3: who acknowledges them in time goes on, also where they come again', async () => {
    let now = 0;
    await using served = await serving({ bounds: { acknowledgementMs: 30_000 }, now: () => now });
    using client = await RawClient.connect(served.port, { acknowledges: false });
    await client.settled();
    const [connection] = served.connections;
    // Always one more is on its way than has been acknowledged, each for less than the time there is.
    for (let turn = 0; turn < 10; turn += 1) {
      now += 20_000;
      connection?.widen({ streams: 100, streamWindow: 65_535, connectionWindow: 1024 * 1024 });
      client.send(settingsAck());
      await client.settled();
      connection?.sweep(now);
    }
    await client.settled();
    expect(client.goAway).toBe(undefined);
  });

  test('RFC 7541 4.2: a table that was small for a moment of one frame is empty, and answers say so', async () => {
    await using served = await serving({
      serve: answerAtOnce(
        undefined,
        head(200, ['content-type', 'application/grpc+proto'], ['grpc-status', '0']),
      ),
    });
    using client = await RawClient.connect(served.port);
    const blocks = async (...ids: number[]): Promise<Buffer[]> => {
      for (const id of ids) {
        client.send(headers(id, request(), END));
        await client.answered(id);
      }
      return client.frames.filter(({ type }) => type === Type.HEADERS).map(({ payload }) => payload);
    };
    expect((await blocks(1, 3)).map(({ length }) => length)[1]).toBe(3);
    client.send(settings(['HEADER_TABLE_SIZE', 0], ['HEADER_TABLE_SIZE', 4_096]));
    const [, , after, next] = await blocks(5, 7);
    // Section 6.3: a size of 0. The decoder of this client would not find what is not there any more.
    expect(after?.[0]).toBe(0x20);
    expect(next?.[0]).not.toBe(0x20);
    expect(client.answer(7).fields).toEqual(client.answer(1).fields);
  });

  test('RFC 9113 6.5.2: a window of the peer is told of before answers are cut by it', async () => {
    await using served = await serving({ serve: answerAtOnce(Buffer.alloc(100)) });
    using client = await RawClient.connect(served.port, { settings: [['INITIAL_WINDOW_SIZE', 0]] });
    client.send(headers(1, request(), END), settings(['INITIAL_WINDOW_SIZE', 60]));
    await client.settled();
    expect(client.answer(1).length).toBe(60);
    const types = client.frames
      .filter(({ id, type }) => id === 1 || type === Type.SETTINGS)
      .map(({ type }) => type);
    expect(types.slice(-2)).toEqual([Type.SETTINGS, Type.DATA]);
  });
});
