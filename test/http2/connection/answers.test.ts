import { describe, expect, test } from 'vitest';
import { ErrorCode } from '../../../src/http2/errors.ts';
import { HeaderBlock } from '../../../src/http2/hpack/encoder.ts';
import { Flag, Type } from '../../../src/http2/wire/frames.ts';
import { head, OK, type Serve, serving } from '../echo.ts';
import { RawClient } from '../raw-client.ts';
import { END, headers, ping, request, settings } from '../wire.ts';

const ask = (id: number): Buffer => headers(id, request(), END);
const headersOf = (client: RawClient, id: number) =>
  client.frames
    .filter((frame) => frame.id === id && (frame.type === Type.HEADERS || frame.type === Type.CONTINUATION))
    .map(({ type, flags, payload }) => [type, flags, payload.length]);

describe('RFC 9113 6.10: answers with long header sections', () => {
  const long = (length: number): HeaderBlock => head(200, ['long', 'v'.repeat(length)]);

  test('are sent in CONTINUATION frames, none longer than the client takes', async () => {
    await using served = await serving({
      serve: (stream) => stream.answer(long(50_000), Buffer.from('x'), long(40_000)),
    });
    using client = await RawClient.connect(served.port);
    client.send(ask(1), ping(), ask(3));
    for (const id of [1, 3]) {
      const answer = await client.answered(id);
      expect(answer.field('long')).toHaveLength(50_000);
      expect(answer.trailers.at(-1)?.[1]).toHaveLength(40_000);
      expect(answer.body.toString()).toBe('x');
    }
    const frames = headersOf(client, 1);
    expect(frames.map(([type]) => type)).toEqual([1, 9, 9, 9, 1, 9, 9]);
    expect(frames.map(([, flags]) => flags)).toEqual([
      0,
      0,
      0,
      Flag.END_HEADERS,
      Flag.END_STREAM,
      0,
      Flag.END_HEADERS,
    ]);
    expect(Math.max(...frames.map(([, , length]) => length as number))).toBe(16_384);
  });

  test('whose block fills its frames exactly have no empty one', async () => {
    let length = 0;
    await using served = await serving({ serve: (stream) => stream.answer(long(length)) });
    using client = await RawClient.connect(served.port);
    for (const [at, size] of [16_383, 16_384, 16_385, 32_768, 32_769].entries()) {
      // `:status`, the name and its length, the length of the value.
      length = size - 7 - (size < 17_000 ? 3 : 4);
      client.send(ask(2 * at + 1));
      expect((await client.answered(2 * at + 1)).field('long')).toHaveLength(length);
      const parts = headersOf(client, 2 * at + 1).map(([, , length]) => length as number);
      expect(parts.reduce((sum, part) => sum + part, 0)).toBe(size);
      expect(parts).toHaveLength(Math.ceil(size / 16_384));
    }
  });

  test('in frames of 16,384 also for a client that takes longer ones', async () => {
    await using served = await serving({ serve: (stream) => stream.answer(long(60_000)) });
    using client = await RawClient.connect(served.port);
    client.send(settings(['MAX_FRAME_SIZE', 100_000]), ask(1));
    expect((await client.answered(1)).field('long')).toHaveLength(60_000);
    expect(headersOf(client, 1)).toHaveLength(4);
  });
});

describe('RFC 9113 8.1: the parts of an answer', () => {
  const none = new HeaderBlock([]);

  test('trailers without a field end it', async () => {
    const serve: Serve = (stream, { output }) => {
      // A server that never comes to the end of them would never come to the end of this test.
      const frame = output.frame.bind(output);
      let frames = 0;
      output.frame = (...args) => {
        frames += 1;
        if (frames > 100) throw new Error('frames without end');
        frame(...args);
      };
      stream.answer(OK, Buffer.from('x'), none);
    };
    await using served = await serving({ serve });
    using client = await RawClient.connect(served.port);
    client.send(ask(1));
    const answer = await client.answered(1);
    expect(answer).toMatchObject({ isEnded: true, trailers: [] });
    expect(answer.body.toString()).toBe('x');
  });

  const parts: readonly (readonly [string, Serve, body: string, trailers: number])[] = [
    ['the head alone', (stream) => stream.answer(OK), '', 0],
    ['an empty body', (stream) => stream.answer(OK, Buffer.alloc(0)), '', 0],
    ['trailers and no body', (stream) => stream.answer(OK, undefined, head(200, ['a', 'b'])), '', 2],
    [
      'in steps, with empty parts',
      (stream) => {
        stream.respond(OK);
        for (const part of ['', 'a', '', 'b', '']) expect(stream.write(Buffer.from(part))).toBe(true);
        stream.end();
      },
      'ab',
      0,
    ],
    [
      'the second head is none, and nothing comes after the end',
      (stream) => {
        stream.respond(OK);
        stream.respond(head(500));
        stream.write(Buffer.from('a'));
        stream.answer(head(500), Buffer.from('b'));
        stream.end(head(200, ['a', 'b']));
        expect(stream.write(Buffer.from('c'))).toBe(false);
        stream.end();
        stream.respond(head(500));
        stream.answer(head(500));
      },
      'a',
      2,
    ],
  ];
  test.each(parts)('%s', async (_what, serve, body, trailers) => {
    await using served = await serving({ serve });
    using client = await RawClient.connect(served.port);
    client.send(ask(1), headers(3, request()));
    const answer = await client.answered(1);
    expect(answer).toMatchObject({ status: '200', isEnded: true, reset: undefined });
    expect(answer.body.toString()).toBe(body);
    expect(answer.trailers).toHaveLength(trailers);
    await client.settled();
    expect(served.open).toBe(0);
  });

  test('given up after its head: the client hears which code', async () => {
    const serve: Serve = (stream) => {
      stream.respond(OK);
      stream.write(Buffer.from('half'));
      stream.reset(ErrorCode.REFUSED_STREAM);
      expect(stream.isClosed).toBe(true);
    };
    await using served = await serving({ serve });
    using client = await RawClient.connect(served.port);
    client.send(ask(1));
    const answer = await client.answered(1);
    expect(answer).toMatchObject({ isEnded: false, reset: ErrorCode.REFUSED_STREAM });
    expect(answer.body.toString()).toBe('half');
  });
});
