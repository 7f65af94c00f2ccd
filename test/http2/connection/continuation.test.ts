import { describe, expect, test } from 'vitest';
import { ErrorCode } from '../../../src/http2/errors.ts';
import { Flag, Type } from '../../../src/http2/wire/frames.ts';
import { mirror, ponder, serving } from '../echo.ts';
import { RawClient } from '../raw-client.ts';
import {
  blockOf,
  continuation,
  data,
  END,
  fragmented,
  frame,
  headers,
  hpack,
  ping,
  priority,
  request,
  reset,
  settings,
  windowUpdate,
} from '../wire.ts';

const { PROTOCOL_ERROR, ENHANCE_YOUR_CALM } = ErrorCode;

const fieldsOf = async (client: RawClient, id: number): Promise<string[]> =>
  (JSON.parse((await client.answered(id)).body.toString()) as { list: string[] }).list;

/** A header section that is begun, and not ended. */
const begun = (id: number, part: Uint8Array = blockOf(request()).subarray(0, 9)): Buffer =>
  frame(Type.HEADERS, Flag.END_STREAM, id, part);

describe('RFC 9113 6.10: a header block in several frames', () => {
  test('wherever it is cut', async () => {
    await using served = await serving({ serve: mirror });
    using client = await RawClient.connect(served.port);
    const block = blockOf(request('/cut', [['name', 'value']]));
    let id = 1;
    for (let at = 0; at <= block.length; at += 1, id += 2)
      client.send(begun(id, block.subarray(0, at)), continuation(id, block.subarray(at), true));
    for (let each = 1; each < id; each += 2)
      expect(await fieldsOf(client, each)).toEqual(request('/cut', [['name', 'value']]).flat());
  });

  test('of eight more, the last empty, as one with entries of the table', async () => {
    await using served = await serving({ serve: mirror });
    using client = await RawClient.connect(served.port);
    const block = Buffer.concat([
      blockOf(request()),
      hpack.added('name', 'v'.repeat(300)),
      hpack.indexed(62),
    ]);
    const part = Math.ceil(block.length / 8);
    client.send(begun(1, block.subarray(0, part)));
    for (let at = 1; at < 8; at += 1)
      client.send(continuation(1, block.subarray(at * part, (at + 1) * part)));
    client.send(
      continuation(1, Buffer.alloc(0), true),
      headers(3, Buffer.concat([blockOf(request()), hpack.indexed(62)]), END),
    );
    const named = ['name', 'v'.repeat(300)];
    expect(await fieldsOf(client, 1)).toEqual([...request().flat(), ...named, ...named]);
    expect(await fieldsOf(client, 3)).toEqual([...request().flat(), ...named]);
  });

  test('END_STREAM is what HEADERS said: the request has come to its end', async () => {
    await using served = await serving({ serve: mirror });
    using client = await RawClient.connect(served.port);
    client.send(fragmented(1, request(), 10, END), fragmented(3, request(), 10));
    await fieldsOf(client, 1);
    await client.settled();
    expect(client.answer(3).isOver).toBe(false);
    client.send(data(3, '', END));
    await fieldsOf(client, 3);
  });

  test('trailers too', async () => {
    await using served = await serving({ serve: mirror });
    using client = await RawClient.connect(served.port);
    client.send(headers(1, request()), data(1, 'x'), fragmented(1, [['a', 'b']], 2, END));
    await fieldsOf(client, 1);
  });

  test.each([
    ['DATA on its stream', data(1, 'x')],
    ['HEADERS of another', headers(3, request(), END)],
    ['HEADERS of its stream', headers(1, request(), END)],
    ['CONTINUATION of another', continuation(3, Buffer.alloc(0), true)],
    ['CONTINUATION of no stream', continuation(0, Buffer.alloc(0), true)],
    ['PING', ping()],
    ['SETTINGS', settings()],
    ['PRIORITY', priority(1)],
    ['RST_STREAM', reset(1)],
    ['WINDOW_UPDATE', windowUpdate(0, 1)],
    ['a frame of an unknown type', frame(0xee, 0, 1)],
  ])('%s between its parts ends the connection', async (_what, bytes) => {
    await using served = await serving();
    using client = await RawClient.connect(served.port);
    client.send(begun(1), bytes);
    expect(await client.ended()).toBe(PROTOCOL_ERROR);
    expect(served.streams).toHaveLength(0);
  });

  test.each([
    ['without HEADERS', continuation(1, blockOf(request()), true)],
    [
      'after a header section that was whole',
      Buffer.concat([headers(1, request()), continuation(1, Buffer.alloc(0), true)]),
    ],
    [
      'after the last of its parts',
      Buffer.concat([fragmented(1, request(), 20), continuation(1, Buffer.alloc(0), true)]),
    ],
    ['on no stream', continuation(0, Buffer.alloc(0), true)],
  ])('CONTINUATION %s ends the connection', async (_what, bytes) => {
    await using served = await serving({ serve: ponder });
    using client = await RawClient.connect(served.port);
    client.send(bytes);
    expect(await client.ended()).toBe(PROTOCOL_ERROR);
  });

  test('more frames than are taken, or more bytes, end the connection, and hold nothing', async () => {
    await using served = await serving({ bounds: { continuations: 3, headerBlockBytes: 1_000 } });
    using many = await RawClient.connect(served.port);
    many.send(begun(1), ...Array.from({ length: 4 }, () => continuation(1, Buffer.alloc(1))));
    expect(await many.ended()).toBe(ENHANCE_YOUR_CALM);
    using long = await RawClient.connect(served.port);
    long.send(begun(1, Buffer.alloc(500)), continuation(1, Buffer.alloc(501)));
    expect(await long.ended()).toBe(ENHANCE_YOUR_CALM);
    // They keep their half open, and are closed for it.
    await served.quiet();
    expect(served.budget.held).toBe(0);
  });

  test('one that is left open when its client goes holds nothing', async () => {
    await using served = await serving();
    using client = await RawClient.connect(served.port);
    client.send(begun(1, Buffer.alloc(10_000)), continuation(1, Buffer.alloc(10_000)));
    await client.until(() => client.acknowledged > 0, 'SETTINGS to be acknowledged');
    client.socket.end();
    await served.quiet();
    expect(served.budget.most).toBeGreaterThanOrEqual(20_000);
    expect(served.budget.held).toBe(0);
  });
});
