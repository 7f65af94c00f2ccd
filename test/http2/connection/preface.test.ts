import { describe, expect, test } from 'vitest';
import { ErrorCode } from '../../../src/http2/errors.ts';
import { PREFACE, Type } from '../../../src/http2/wire/frames.ts';
import { serving } from '../echo.ts';
import { RawClient } from '../raw-client.ts';
import { data, END, frame, greeting, headers, ping, request, settings, settingsAck } from '../wire.ts';

describe('RFC 9113 3.4: the connection preface', () => {
  test('the server begins with SETTINGS of its limits, unasked', async () => {
    await using served = await serving({
      limits: { streams: 7, streamWindow: 1_234, connectionWindow: 100_000 },
      bounds: { headerListBytes: 9_999 },
    });
    using client = await RawClient.connect(served.port, { settings: false });
    await client.until(() => client.frames.length >= 2, 'SETTINGS and WINDOW_UPDATE');
    const [first, second] = client.frames;
    expect(first).toMatchObject({ type: Type.SETTINGS, flags: 0, id: 0 });
    expect(first?.payload.toString('hex')).toBe('0003000000070004000004d200060000270f');
    expect(second).toMatchObject({ type: Type.WINDOW_UPDATE, id: 0 });
    expect(second?.payload.readUInt32BE()).toBe(100_000 - 65_535);
  });

  test('a request that comes along with it is answered', async () => {
    await using served = await serving();
    using client = await RawClient.connect(served.port, { settings: false });
    client.send(greeting(), headers(1, request()), data(1, 'at once', END));
    expect((await client.answered(1)).body.toString()).toBe('at once');
  });

  test('byte by byte, and only then is anything answered', async () => {
    await using served = await serving();
    using client = await RawClient.connect(served.port, { settings: false, acknowledges: false });
    for (const byte of greeting()) {
      expect(client.acknowledged).toBe(0);
      client.send(Buffer.of(byte));
      await new Promise((resolve) => setImmediate(resolve));
    }
    await client.settled();
    expect(client.acknowledged).toBe(1);
  });

  test.each([
    ['HTTP/1.1', Buffer.from('GET / HTTP/1.1\r\nhost: a\r\n\r\n')],
    ['nothing that is like it', Buffer.alloc(24)],
    ['its last byte another', Buffer.concat([PREFACE.subarray(0, 23), Buffer.of(0x20)])],
    ['frames without it', settings()],
  ])('a connection that begins with %s is ended', async (_what, bytes) => {
    await using served = await serving();
    using client = await RawClient.connect(served.port, { settings: false });
    client.send(bytes);
    expect(await client.ended()).toBe(ErrorCode.PROTOCOL_ERROR);
    expect(served.ends).toMatchObject([{ code: ErrorCode.PROTOCOL_ERROR }]);
  });

  test.each([
    ['HEADERS', headers(1, request(), END)],
    ['PING', ping()],
    ['an acknowledgement of SETTINGS', settingsAck()],
    ['a frame of an unknown type', frame(0x7f, 0, 0)],
    ['PRIORITY', frame(Type.PRIORITY, 0, 1, Buffer.alloc(5))],
  ])('%s before SETTINGS ends it', async (_what, bytes) => {
    await using served = await serving();
    using client = await RawClient.connect(served.port, { settings: false });
    client.send(PREFACE, bytes);
    expect(await client.ended()).toBe(ErrorCode.PROTOCOL_ERROR);
    expect(served.streams).toHaveLength(0);
  });

  test('a second preface is no frame', async () => {
    await using served = await serving();
    using client = await RawClient.connect(served.port);
    client.send(PREFACE);
    // Its first three bytes are a length.
    expect(await client.ended()).toBe(ErrorCode.FRAME_SIZE_ERROR);
  });
});
