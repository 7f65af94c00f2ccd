import { describe, expect, test } from 'vitest';
import { ErrorCode } from '../../../src/http2/errors.ts';
import { Type } from '../../../src/http2/wire/frames.ts';
import { answerAtOnce, mirror, ponder, type Serve, serving } from '../echo.ts';
import { RawClient } from '../raw-client.ts';
import {
  counted,
  data,
  END,
  goAway,
  headers,
  hpack,
  literals,
  request,
  reset,
  windowUpdate,
} from '../wire.ts';

const { NO_ERROR } = ErrorCode;
const LAST = 2 ** 31 - 1;
const body = counted(100_000);

const serve: Serve = (stream, connection) => {
  if (stream.line.path === '/never') ponder(stream, connection);
  else if (stream.line.path === '/large') answerAtOnce(body)(stream, connection);
  else mirror(stream, connection);
};

const goAways = (client: RawClient): number[] =>
  client.frames.filter(({ type }) => type === Type.GOAWAY).map(({ payload }) => payload.readUInt32BE());

describe('RFC 9113 6.8: the server goes away', () => {
  test('in two steps: what is on its way is taken, what runs comes to its end, then it closes', async () => {
    await using served = await serving({ serve });
    using client = await RawClient.connect(served.port, { settings: [['INITIAL_WINDOW_SIZE', 10_000]] });
    client.send(headers(1, request('/large'), END), headers(3, request()));
    await client.settled();
    served.server.goAway(false);
    await client.until(() => client.goAway !== undefined, 'GOAWAY');
    client.send(headers(5, request()), data(5, 'on its way', END));
    await client.answered(5);
    served.server.goAway(true);
    await client.until(() => goAways(client).length === 2, 'the last GOAWAY');
    expect(goAways(client)).toEqual([LAST, 5]);
    expect(client.goAway?.code).toBe(NO_ERROR);
    client.send(data(3, 'the rest', END));
    expect(JSON.parse((await client.answered(3)).body.toString())).toMatchObject({ length: 8 });
    expect(client.hasEnded).toBe(false);
    client.send(windowUpdate(0, 100_000), windowUpdate(1, 100_000));
    expect((await client.answered(1)).body.equals(body)).toBe(true);
    await client.closed();
    expect(served.ends).toEqual([]);
  });

  test('at once where nothing runs', async () => {
    await using served = await serving({ serve });
    using client = await RawClient.connect(served.port);
    client.send(headers(1, request(), END));
    await client.answered(1);
    served.server.goAway(true);
    expect(await client.ended()).toBe(NO_ERROR);
    expect(client.goAway?.lastId).toBe(1);
    await client.closed();
  });

  test('after the last is given up, by either side', async () => {
    await using served = await serving({ serve });
    using client = await RawClient.connect(served.port);
    client.send(headers(1, request('/never')), headers(3, request('/never')));
    await client.settled();
    served.server.goAway(true);
    client.send(reset(1));
    await client.settled();
    expect(client.hasEnded).toBe(false);
    served.streams[1]?.reset(ErrorCode.CANCEL);
    expect(await client.ended()).toBe(NO_ERROR);
    expect(client.answer(3).reset).toBe(ErrorCode.CANCEL);
  });

  test('after the last handler came to its end, though nobody asks any more', async () => {
    await using served = await serving({
      serve: (stream) =>
        stream.receive({ data: () => undefined, end: () => undefined, closed: () => undefined }),
    });
    using client = await RawClient.connect(served.port);
    client.send(headers(1, request()));
    await client.settled();
    served.server.goAway(true);
    client.send(reset(1));
    await client.settled();
    expect(client.hasEnded).toBe(false);
    served.streams[0]?.settle();
    expect(await client.ended()).toBe(NO_ERROR);
  });

  test.each<[string, Buffer[]]>([
    ['alone', [headers(5, request(), END)]],
    ['with a body', [headers(5, request()), data(5, 'x'), data(5, 'y', END)]],
    ['with a body and trailers', [headers(5, request()), data(5, 'x'), headers(5, [['a', 'b']], END)]],
    ['that is given up', [headers(5, request()), reset(5)]],
    ['whose window is opened', [headers(5, request(), END), windowUpdate(5, 10)]],
    ['malformed', [headers(5, [], END)]],
  ])(
    'streams that begin after the last one go for nothing, and what runs goes on: %s',
    async (_what, bytes) => {
      await using served = await serving({ serve });
      using client = await RawClient.connect(served.port);
      client.send(headers(1, request()), headers(3, request()));
      await client.settled();
      served.server.goAway(true);
      client.send(...bytes);
      await client.settled();
      expect(served.streams).toHaveLength(2);
      client.send(data(1, 'one', END), ...bytes.slice(1), data(3, 'two', END));
      for (const id of [1, 3])
        expect(JSON.parse((await client.answered(id)).body.toString())).toMatchObject({ length: 3 });
      expect(await client.ended()).toBe(NO_ERROR);
      expect(client.goAway?.lastId).toBe(3);
    },
  );

  test('their header blocks and bodies are counted all the same: the table and the window', async () => {
    await using served = await serving({ serve, limits: { connectionWindow: 65_535 } });
    using client = await RawClient.connect(served.port);
    client.send(headers(1, request()));
    await client.settled();
    served.server.goAway(true);
    const added = Buffer.concat([literals(request()), hpack.added('late', 'x')]);
    client.send(headers(3, added), headers(1, hpack.indexed(62), END));
    await client.answered(1);
    expect(await client.ended()).toBe(NO_ERROR);
  });

  test('it says so once more, and nothing more, if it is told again', async () => {
    await using served = await serving({ serve });
    using client = await RawClient.connect(served.port);
    client.send(headers(1, request('/never')));
    await client.settled();
    for (let turn = 0; turn < 5; turn += 1) served.server.goAway(true);
    served.server.goAway(false);
    await client.settled();
    expect(goAways(client)).toEqual([1]);
  });

  test('an answer goes out whole before the connection is closed, in the turn in which it is told', async () => {
    await using served = await serving({
      serve: (stream, connection) => {
        connection.goAway(true);
        answerAtOnce(Buffer.from('last'))(stream, connection);
      },
    });
    using client = await RawClient.connect(served.port);
    client.send(headers(1, request(), END), headers(3, request(), END), Buffer.alloc(100));
    expect((await client.answered(1)).body.toString()).toBe('last');
    await client.closed();
    expect(served.streams).toHaveLength(1);
  });
});

describe('RFC 9113 6.8: the client goes away', () => {
  test('what runs is answered, then the connection is closed', async () => {
    await using served = await serving({ serve });
    using client = await RawClient.connect(served.port);
    client.send(headers(1, request()), goAway(0));
    await client.settled();
    client.send(data(1, 'rest', END));
    expect((await client.answered(1)).status).toBe('200');
    await client.closed();
    expect(served.ends).toEqual([]);
  });

  test('at once where nothing runs, also for an error of the server that it sees', async () => {
    await using served = await serving({ serve });
    using client = await RawClient.connect(served.port);
    client.send(goAway(0, ErrorCode.INTERNAL_ERROR));
    await client.closed();
    await served.quiet();
  });

  test('a request that it sends after it is served, or it is told that it was not taken', async () => {
    await using served = await serving({ serve });
    using client = await RawClient.connect(served.port);
    client.send(headers(1, request()), goAway(0), headers(3, request()), data(3, 'x', END));
    await client.settled();
    client.send(data(1, 'rest', END));
    expect((await client.answered(1)).status).toBe('200');
    if (!client.answer(3).isOver) {
      await client.ended();
      expect(client.goAway).toMatchObject({ lastId: 1, code: NO_ERROR });
    }
  });
});
