import { describe, expect, test } from 'vitest';
import { ErrorCode } from '../../../src/http2/errors.ts';
import { Type } from '../../../src/http2/wire/frames.ts';
import { answerAtOnce, head, OK, type Serve, serving } from '../echo.ts';
import { RawClient } from '../raw-client.ts';
import { counted, data, END, headers, request, reset, windowUpdate } from '../wire.ts';

/** Answers that are out before their request is. */

const { NO_ERROR } = ErrorCode;
const typesOn = (client: RawClient, id: number): number[] =>
  client.frames.filter((frame) => frame.id === id).map(({ type }) => type);

describe('RFC 9113 8.1: an answer before the request has come to its end', () => {
  test.each<[string, Serve, number[]]>([
    ['without a body', answerAtOnce(), [Type.HEADERS]],
    ['with one', answerAtOnce(Buffer.from('no')), [Type.HEADERS, Type.DATA]],
    [
      'with trailers',
      (stream) => stream.answer(OK, Buffer.from('no'), head(200, ['a', 'b'])),
      [Type.HEADERS, Type.DATA, Type.HEADERS],
    ],
    [
      'in parts',
      (stream) => {
        stream.respond(OK);
        stream.write(Buffer.from('n'));
        stream.write(Buffer.from('o'));
        stream.end();
      },
      [Type.HEADERS, Type.DATA, Type.DATA, Type.DATA],
    ],
  ])('%s: whole, and then RST_STREAM of NO_ERROR', async (_what, serve, types) => {
    await using served = await serving({ serve });
    using client = await RawClient.connect(served.port);
    client.send(headers(1, request()), data(1, 'x'));
    await client.until(() => client.answer(1).reset !== undefined, 'RST_STREAM');
    expect(client.answer(1)).toMatchObject({ isEnded: true, reset: NO_ERROR });
    expect(typesOn(client, 1)).toEqual([...types, Type.RST_STREAM]);
    await client.settled();
    expect(served.open).toBe(0);
  });

  test('outside of the turn in which anything was read too', async () => {
    await using served = await serving({
      serve: (stream) => void setTimeout(() => stream.answer(OK, Buffer.from('late')), 5),
    });
    using client = await RawClient.connect(served.port);
    client.send(headers(1, request()));
    await client.until(() => client.answer(1).reset !== undefined, 'RST_STREAM');
    expect(client.answer(1)).toMatchObject({ isEnded: true, reset: NO_ERROR });
    expect(client.answer(1).body.toString()).toBe('late');
  });

  test('without RST_STREAM if the end of the request came in the same turn', async () => {
    await using served = await serving({ serve: answerAtOnce(Buffer.from('yes')) });
    using client = await RawClient.connect(served.port);
    client.send(headers(1, request()), data(1, 'x'), data(1, 'y', END));
    await client.answered(1);
    await client.settled();
    expect(client.answer(1)).toMatchObject({ isEnded: true, reset: undefined });
  });

  test('not before an answer that waits for its window is out', async () => {
    await using served = await serving({ serve: answerAtOnce(counted(1_000)) });
    using client = await RawClient.connect(served.port, { settings: [['INITIAL_WINDOW_SIZE', 10]] });
    client.send(headers(1, request()));
    await client.settled();
    expect(client.answer(1)).toMatchObject({ length: 10, reset: undefined });
    // What still comes of the request is read by nobody, and does not stop others.
    client.send(data(1, Buffer.alloc(10_000)), windowUpdate(1, 990));
    await client.until(() => client.answer(1).reset !== undefined, 'RST_STREAM');
    expect(client.answer(1)).toMatchObject({ isEnded: true, reset: NO_ERROR });
    expect(client.answer(1).body).toEqual(counted(1_000));
  });

  test('what comes after it goes for nothing, as much as it is, and costs no window', async () => {
    await using served = await serving({
      serve: answerAtOnce(Buffer.from('enough')),
      limits: { connectionWindow: 65_535 },
    });
    using client = await RawClient.connect(served.port);
    client.send(headers(1, request()));
    await client.until(() => client.answer(1).reset !== undefined, 'RST_STREAM');
    for (let at = 0; at < 30; at += 1) {
      client.send(data(1, Buffer.alloc(16_384)));
      await client.settled();
    }
    client.send(data(1, '', END));
    await client.settled();
    client.send(headers(3, request(), END));
    expect((await client.answered(3)).body.toString()).toBe('enough');
    expect(client.goAway).toBe(undefined);
  });

  test('a thousand of them are no fault of the client', async () => {
    await using served = await serving({ serve: answerAtOnce(Buffer.from('no')) });
    using client = await RawClient.connect(served.port);
    for (let at = 0; at < 3_000; at += 1) {
      client.send(headers(2 * at + 1, request()), data(2 * at + 1, 'x'));
      if (at % 50 === 49) await client.settled();
    }
    await client.answered(5_999);
    expect(client.goAway).toBe(undefined);
    expect(served.open).toBe(0);
  });

  test('given up by the client after it: all is over, once', async () => {
    await using served = await serving({ serve: answerAtOnce(Buffer.from('no')) });
    using client = await RawClient.connect(served.port);
    client.send(headers(1, request()), reset(1));
    await client.settled();
    expect(client.answer(1).isEnded).toBe(true);
    expect(served.open).toBe(0);
  });
});
