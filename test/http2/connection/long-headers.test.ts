import { describe, expect, test } from 'vitest';
import { BOUNDS } from '../../../src/http2/bounds/limits.ts';
import { ErrorCode } from '../../../src/http2/errors.ts';
import { mirror, serving } from '../echo.ts';
import { RawClient } from '../raw-client.ts';
import { blockOf, data, END, type FieldList, fragmented, headers, hpack, request } from '../wire.ts';

const sizeOf = (fields: FieldList): number =>
  fields.reduce((sum, [name, value]) => sum + name.length + value.length + 32, 0);

/** A request whose header section counts for so much. */
const ofSize = (size: number): FieldList =>
  request('/', [['x', 'v'.repeat(size - sizeOf(request('/', [['x', '']])))]]);

describe('RFC 9113 10.5.1: a header section longer than is taken', () => {
  test('to the byte: the limit is taken, a byte more is told 431', async () => {
    await using served = await serving({ serve: mirror, bounds: { headerListBytes: 1_000 } });
    using client = await RawClient.connect(served.port);
    client.send(headers(1, ofSize(1_000), END), headers(3, ofSize(1_001), END), headers(5, request(), END));
    expect((await client.answered(1)).status).toBe('200');
    expect((await client.answered(3)).status).toBe('431');
    expect((await client.answered(5)).status).toBe('200');
    expect(served.open).toBe(0);
  });

  test('what is handed to `tooLong` is not whole, and within the limit', async () => {
    await using served = await serving({ serve: mirror, bounds: { headerListBytes: 1_000 } });
    using client = await RawClient.connect(served.port);
    client.send(
      headers(
        1,
        request('/', [
          ['a', 'b'],
          ['x', 'v'.repeat(5_000)],
          ['c', 'd'],
        ]),
        END,
      ),
    );
    await client.answered(1);
    const fields = served.streams[0]?.fields;
    expect(fields?.list).toEqual([...request('/').flat(), 'a', 'b']);
    expect(fields?.isWhole).toBe(false);
  });

  test('with a body: it is answered, the body goes for nothing', async () => {
    await using served = await serving({ serve: mirror, bounds: { headerListBytes: 1_000 } });
    using client = await RawClient.connect(served.port);
    client.send(headers(1, ofSize(3_000)), data(1, Buffer.alloc(16_000)), data(1, '', END));
    expect((await client.answered(1)).status).toBe('431');
    await client.settled();
  });

  test('the bounds that are set by default, in CONTINUATION frames', async () => {
    await using served = await serving({ serve: mirror });
    using client = await RawClient.connect(served.port);
    client.send(fragmented(1, ofSize(BOUNDS.headerListBytes), 16_384, END));
    client.send(fragmented(3, ofSize(BOUNDS.headerListBytes + 1), 16_384, END));
    client.send(fragmented(5, ofSize(BOUNDS.headerBlockBytes - 10), 16_384, END));
    expect((await client.answered(1)).status).toBe('200');
    expect((await client.answered(3)).status).toBe('431');
    expect((await client.answered(5)).status).toBe('431');
    // Beyond that nothing is decoded, and a table that missed a block is of no use.
    client.send(fragmented(7, ofSize(BOUNDS.headerBlockBytes + 1_000), 16_384, END));
    expect(await client.ended()).toBe(ErrorCode.ENHANCE_YOUR_CALM);
  });

  test('one that is malformed too is told 431 or given up, and reaches nobody', async () => {
    await using served = await serving({ serve: mirror, bounds: { headerListBytes: 500 } });
    using client = await RawClient.connect(served.port);
    client.send(headers(1, [...request(), ['Bad', 'x'], ['x', 'v'.repeat(1_000)]], END));
    const answer = await client.answered(1);
    expect(answer.status === '431' || answer.reset === ErrorCode.PROTOCOL_ERROR).toBe(true);
  });

  test('what it puts in the table is there for the next, beyond the limit too', async () => {
    await using served = await serving({ serve: mirror, bounds: { headerListBytes: 500 } });
    using client = await RawClient.connect(served.port);
    const added = ['a', 'b', 'c'].map((name) => hpack.added(name, name.repeat(300)));
    client.send(headers(1, Buffer.concat([blockOf(request()), ...added]), END));
    expect((await client.answered(1)).status).toBe('431');
    client.send(headers(3, Buffer.concat([blockOf(request('/', [])), hpack.plain(62, 'of c')]), END));
    const { list } = JSON.parse((await client.answered(3)).body.toString()) as { list: string[] };
    expect(list.slice(-2)).toEqual(['c', 'of c']);
  });

  test('a handler that does not answer it leaves the stream open and the connection usable', async () => {
    await using served = await serving({
      serve: mirror,
      bounds: { headerListBytes: 500 },
      tooLong: (stream) => stream.reset(ErrorCode.REFUSED_STREAM),
    });
    using client = await RawClient.connect(served.port);
    client.send(headers(1, ofSize(1_000)), headers(3, request(), END));
    expect(await client.answered(1)).toMatchObject({ reset: ErrorCode.REFUSED_STREAM });
    expect((await client.answered(3)).status).toBe('200');
  });
});
