import { describe, expect, test } from 'vitest';
import { ErrorCode } from '../../../src/http2/errors.ts';
import { Flag, Type } from '../../../src/http2/wire/frames.ts';
import { serving } from '../echo.ts';
import { RawClient } from '../raw-client.ts';
import { data, END, frame, headers, literals, request, uint32 } from '../wire.ts';

const { FRAME_SIZE_ERROR, PROTOCOL_ERROR } = ErrorCode;

describe('RFC 9113 4.2: the size of frames', () => {
  test('16,384 bytes are taken', async () => {
    await using served = await serving();
    using client = await RawClient.connect(served.port);
    client.send(headers(1, request()), data(1, Buffer.alloc(16_384), END));
    expect((await client.answered(1)).length).toBe(16_384);
    // Of a header section too.
    const short = literals(request('/', [['x', '']])).length;
    // The length of a value of 16 KiB takes two bytes more.
    const block = literals(request('/', [['x', 'v'.repeat(16_384 - short - 2)]]));
    expect(block).toHaveLength(16_384);
    client.send(headers(3, block, END));
    expect((await client.answered(3)).status).toBe('200');
  });

  test.each([...Object.entries(Type), ['a type that is not known', 0xbf] as const])(
    '16,385 bytes of %s are too many, before they have come',
    async (_name, type) => {
      await using served = await serving();
      using client = await RawClient.connect(served.port);
      client.send(headers(1, request()), frame(type, 0, 1, Buffer.alloc(0), 16_385));
      expect(await client.ended()).toBe(FRAME_SIZE_ERROR);
    },
  );

  test('so is the largest length there is, cut where its header ends or within it', async () => {
    await using served = await serving();
    for (const cut of [1, 3, 5, 9]) {
      using client = await RawClient.connect(served.port);
      const bytes = frame(Type.DATA, 0, 1, Buffer.alloc(0), 2 ** 24 - 1);
      client.send(bytes.subarray(0, cut));
      await new Promise((resolve) => setTimeout(resolve, 5));
      client.send(bytes.subarray(cut));
      expect(await client.ended()).toBe(FRAME_SIZE_ERROR);
    }
  });
});

describe('RFC 9113 6: frames of another length than they have', () => {
  const four = Buffer.alloc(4);
  test.each([
    ['6.4: RST_STREAM of 3', frame(Type.RST_STREAM, 0, 1, Buffer.alloc(3)), FRAME_SIZE_ERROR],
    ['6.4: RST_STREAM of 5', frame(Type.RST_STREAM, 0, 1, Buffer.alloc(5)), FRAME_SIZE_ERROR],
    ['6.4: RST_STREAM of no stream', frame(Type.RST_STREAM, 0, 0, four), PROTOCOL_ERROR],
    ['6.7: PING of 7', frame(Type.PING, 0, 0, Buffer.alloc(7)), FRAME_SIZE_ERROR],
    ['6.7: PING of 9', frame(Type.PING, 0, 0, Buffer.alloc(9)), FRAME_SIZE_ERROR],
    ['6.7: an answer to PING of 0', frame(Type.PING, Flag.ACK, 0), FRAME_SIZE_ERROR],
    ['6.7: PING on a stream', frame(Type.PING, 0, 1, Buffer.alloc(8)), PROTOCOL_ERROR],
    ['6.8: GOAWAY of 7', frame(Type.GOAWAY, 0, 0, Buffer.alloc(7)), FRAME_SIZE_ERROR],
    ['6.8: GOAWAY on a stream', frame(Type.GOAWAY, 0, 1, Buffer.alloc(8)), PROTOCOL_ERROR],
    ['6.9: WINDOW_UPDATE of 3', frame(Type.WINDOW_UPDATE, 0, 0, Buffer.alloc(3)), FRAME_SIZE_ERROR],
    ['6.9: WINDOW_UPDATE of 5', frame(Type.WINDOW_UPDATE, 0, 1, Buffer.alloc(5)), FRAME_SIZE_ERROR],
    ['6.9: WINDOW_UPDATE of nothing for all streams', frame(Type.WINDOW_UPDATE, 0, 0, four), PROTOCOL_ERROR],
    ['6.3: PRIORITY of 4', frame(Type.PRIORITY, 0, 1, four), FRAME_SIZE_ERROR],
    ['6.3: PRIORITY of no stream', frame(Type.PRIORITY, 0, 0, Buffer.alloc(5)), PROTOCOL_ERROR],
    ['6.6: PUSH_PROMISE', frame(Type.PUSH_PROMISE, Flag.END_HEADERS, 1, four), PROTOCOL_ERROR],
    ['6.1: DATA of no stream', frame(Type.DATA, 0, 0, four), PROTOCOL_ERROR],
    ['6.2: HEADERS of no stream', headers(0, request(), END), PROTOCOL_ERROR],
    ['5.1.1: HEADERS of an even stream', headers(2, request(), END), PROTOCOL_ERROR],
    [
      '6.2: HEADERS with less than a priority',
      frame(Type.HEADERS, Flag.END_HEADERS | Flag.PRIORITY, 3, four),
      FRAME_SIZE_ERROR,
    ],
  ])('RFC 9113 %s', async (_what, bytes, code) => {
    await using served = await serving();
    using client = await RawClient.connect(served.port);
    client.send(headers(1, request()), bytes);
    expect(await client.ended()).toBe(code);
    expect(client.goAway?.lastId).toBe(1);
  });
});

describe('RFC 9113 4.1: what is to be left', () => {
  test('frames of unknown types, flags that mean nothing, and the reserved bit', async () => {
    await using served = await serving();
    using client = await RawClient.connect(served.port);
    const unknown = [10, 12, 0xff].map((type) => frame(type, 0xff, 5, Buffer.alloc(3_000)));
    client.send(...unknown, frame(0xfe, 0, 0));
    const block = literals(request());
    const head = frame(Type.HEADERS, Flag.END_HEADERS | 0x40 | 0x80 | 0x02 | 0x10, 0x80000001, block);
    client.send(head, frame(Type.DATA, Flag.END_STREAM | 0xf6, 0x80000001, Buffer.from('left')));
    expect((await client.answered(1)).body.toString()).toBe('left');
    client.send(frame(Type.WINDOW_UPDATE, 0xff, 0x80000000, uint32(0x80000001)));
    client.send(frame(Type.GOAWAY, 0, 0x80000000, Buffer.alloc(20)));
    expect(await client.ended()).not.toBe(PROTOCOL_ERROR);
  });
});
