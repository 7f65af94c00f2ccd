import { describe, expect, test } from 'vitest';
import { ErrorCode } from '../../../src/http2/errors.ts';
import { Flag, Type } from '../../../src/http2/wire/frames.ts';
import { mirror, serving } from '../echo.ts';
import { RawClient } from '../raw-client.ts';
import { data, END, frame, headers, literals, ping, request, uint32 } from '../wire.ts';

const padded = (bytes: Uint8Array, pad: number): Buffer =>
  Buffer.concat([Buffer.of(pad), bytes, Buffer.alloc(pad)]);

describe('RFC 9113 6.1: padding of DATA', () => {
  test.each([0, 1, 100, 255])('of %i bytes is taken off', async (pad) => {
    await using served = await serving();
    using client = await RawClient.connect(served.port);
    client.send(headers(1, request()), data(1, 'body', { pad }), data(1, '', { pad, end: true }));
    expect((await client.answered(1)).body.toString()).toBe('body');
  });

  test('is no body: it counts for no content-length', async () => {
    await using served = await serving({ serve: mirror });
    using client = await RawClient.connect(served.port);
    client.send(
      headers(1, request('/', [['content-length', '4']])),
      data(1, 'body', { pad: 200, end: true }),
    );
    expect(JSON.parse((await client.answered(1)).body.toString())).toMatchObject({ length: 4 });
  });

  test('counts for both windows, and is given back: far more of it than they are', async () => {
    await using served = await serving({ limits: { streamWindow: 4_096, connectionWindow: 65_535 } });
    using client = await RawClient.connect(served.port);
    client.send(headers(1, request()));
    let [stream, connection] = [4_096, 65_535];
    const seen = { frames: 0 };
    for (let sent = 0; sent < 1_000; sent += 1) {
      await client.until(() => {
        for (; seen.frames < client.frames.length; seen.frames += 1) {
          const each = client.frames[seen.frames];
          if (each?.type !== Type.WINDOW_UPDATE) continue;
          if (each.id === 0) connection += each.payload.readUInt32BE();
          else stream += each.payload.readUInt32BE();
        }
        return stream >= 257 && connection >= 257;
      }, 'the windows to open');
      client.send(data(1, 'x', { pad: 255 }));
      stream -= 257;
      connection -= 257;
    }
    client.send(data(1, '', END));
    expect((await client.answered(1)).length).toBe(1_000);
  });

  test.each([
    ['as long as the frame', frame(Type.DATA, Flag.PADDED, 1, Buffer.of(1))],
    ['longer than the frame', frame(Type.DATA, Flag.PADDED, 1, Buffer.of(255, 0, 0))],
    ['of which there is not even the length', frame(Type.DATA, Flag.PADDED, 1)],
  ])('%s ends the connection', async (_what, bytes) => {
    await using served = await serving();
    using client = await RawClient.connect(served.port);
    // What follows in the same piece must not be taken for padding.
    client.send(headers(1, request()), bytes, ...Array.from({ length: 30 }, () => ping()));
    expect(await client.ended()).toBe(ErrorCode.PROTOCOL_ERROR);
  });
});

describe('RFC 9113 6.2: padding and priority of HEADERS', () => {
  const block = literals(request());
  const flags = Flag.END_HEADERS | Flag.END_STREAM;
  const weight = Buffer.concat([uint32(0x80000000 | 7), Buffer.of(200)]);

  test.each([
    ['padding', Flag.PADDED, padded(block, 99)],
    ['padding of nothing', Flag.PADDED, padded(block, 0)],
    ['a priority', Flag.PRIORITY, Buffer.concat([weight, block])],
    ['both', Flag.PADDED | Flag.PRIORITY, padded(Buffer.concat([weight, block]), 255)],
  ])('%s is taken off', async (_what, more, payload) => {
    await using served = await serving({ serve: mirror });
    using client = await RawClient.connect(served.port);
    client.send(frame(Type.HEADERS, flags | more, 1, payload));
    expect(JSON.parse((await client.answered(1)).body.toString()).list).toEqual(request().flat());
  });

  test('padding before CONTINUATION is no part of the block', async () => {
    await using served = await serving({ serve: mirror });
    using client = await RawClient.connect(served.port);
    client.send(
      frame(Type.HEADERS, Flag.END_STREAM | Flag.PADDED, 1, padded(block.subarray(0, 5), 30)),
      frame(Type.CONTINUATION, Flag.END_HEADERS | Flag.PADDED, 1, block.subarray(5)),
    );
    expect(JSON.parse((await client.answered(1)).body.toString()).list).toEqual(request().flat());
  });

  test.each([
    ['as long as the frame', Flag.PADDED, Buffer.of(1)],
    [
      'longer than what is left behind a priority',
      Flag.PADDED | Flag.PRIORITY,
      padded(weight, 0).fill(1, 0, 1),
    ],
    ['without a length', Flag.PADDED, Buffer.alloc(0)],
  ])('padding %s ends the connection', async (_what, more, payload) => {
    await using served = await serving();
    using client = await RawClient.connect(served.port);
    client.send(frame(Type.HEADERS, flags | more, 1, payload), ...Array.from({ length: 30 }, () => ping()));
    expect([ErrorCode.PROTOCOL_ERROR, ErrorCode.FRAME_SIZE_ERROR]).toContain(await client.ended());
  });
});
