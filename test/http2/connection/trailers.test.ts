import { describe, expect, test } from 'vitest';
import { ErrorCode } from '../../../src/http2/errors.ts';
import { mirror, ponder, serving } from '../echo.ts';
import { RawClient } from '../raw-client.ts';
import { data, END, type FieldList, headers, hpack, literals, request } from '../wire.ts';

const { PROTOCOL_ERROR } = ErrorCode;

describe('RFC 9113 8.1: trailers', () => {
  test('end a request, with a body or without, and are no fields of it', async () => {
    await using served = await serving({ serve: mirror });
    using client = await RawClient.connect(served.port);
    client.send(headers(1, request()), data(1, 'body'), headers(1, [['late', 'x']], END));
    client.send(headers(3, request()), headers(3, [['late', 'x']], END));
    for (const [id, length] of [
      [1, 4],
      [3, 0],
    ] as const)
      expect(JSON.parse((await client.answered(id)).body.toString())).toEqual({
        list: request().flat(),
        length,
      });
  });

  test('without a field are trailers too', async () => {
    await using served = await serving({ serve: mirror });
    using client = await RawClient.connect(served.port);
    client.send(headers(1, request()), headers(1, [], END));
    expect((await client.answered(1)).status).toBe('200');
  });

  test.each<[string, FieldList]>([
    ['a pseudo-header field', [[':path', '/other']]],
    ['one of answers', [[':status', '200']]],
    ['a connection-specific field', [['transfer-encoding', 'chunked']]],
    ['a name with capitals', [['Late', 'x']]],
    ['a new line in a value', [['late', 'a\nb']]],
  ])('with %s are malformed: the request never comes to its end', async (_what, fields) => {
    await using served = await serving({ serve: mirror });
    using client = await RawClient.connect(served.port);
    client.send(headers(1, request()), data(1, 'x'), headers(1, fields, END), headers(3, request(), END));
    expect(await client.answered(1)).toMatchObject({ reset: PROTOCOL_ERROR, status: undefined });
    expect((await client.answered(3)).status).toBe('200');
    expect(served.streams[0]).toMatchObject({ isComplete: false, isClosed: true });
  });

  test('that do not end the stream are malformed', async () => {
    await using served = await serving({ serve: mirror });
    using client = await RawClient.connect(served.port);
    client.send(headers(1, request()), headers(1, [['late', 'x']]), data(1, 'x', END));
    expect(await client.answered(1)).toMatchObject({ reset: PROTOCOL_ERROR, status: undefined });
    await client.settled();
  });

  test('longer than is taken are malformed, and the connection goes on in step', async () => {
    await using served = await serving({ serve: mirror, bounds: { headerListBytes: 500 } });
    using client = await RawClient.connect(served.port);
    client.send(headers(1, request()), headers(1, [['late', 'x'.repeat(500)]], END));
    expect(await client.answered(1)).toMatchObject({ reset: PROTOCOL_ERROR });
    client.send(headers(3, request(), END));
    expect((await client.answered(3)).status).toBe('200');
  });

  test('of a stream that nobody answered are read by nobody', async () => {
    await using served = await serving({ serve: ponder });
    using client = await RawClient.connect(served.port);
    client.send(headers(1, request()), headers(1, [['late', 'x']], END));
    await client.settled();
    expect(served.streams[0]?.isComplete).toBe(true);
    expect(served.streams[0]?.fields.list).not.toContain('late');
  });

  test('go through the decoder like all others: what they put in the table is there', async () => {
    await using served = await serving({ serve: mirror });
    using client = await RawClient.connect(served.port);
    client.send(headers(1, request()), headers(1, hpack.added('late', 'x'), END));
    client.send(headers(3, Buffer.concat([literals(request()), hpack.indexed(62)]), END));
    const { list } = JSON.parse((await client.answered(3)).body.toString()) as { list: string[] };
    expect(list.slice(-2)).toEqual(['late', 'x']);
  });
});
