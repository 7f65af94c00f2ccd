import { describe, expect, test } from 'vitest';
import { ErrorCode } from '../../../src/http2/errors.ts';
import { answerAtOnce, echo, ponder, type Serve, serving } from '../echo.ts';
import { RawClient } from '../raw-client.ts';
import { data, END, headers, priority, request, reset, windowUpdate } from '../wire.ts';

const { PROTOCOL_ERROR, STREAM_CLOSED, CANCEL, NO_ERROR } = ErrorCode;

/** Answers `/now`, never `/never`, and echoes all others. */
const serve: Serve = (stream, connection) => {
  if (stream.line.path === '/now') answerAtOnce(Buffer.from('now'))(stream, connection);
  else if (stream.line.path === '/never') ponder(stream, connection);
  else echo(stream, connection);
};

const start = async (port: number): Promise<RawClient> => {
  const client = await RawClient.connect(port);
  await client.settled();
  return client;
};

describe('RFC 9113 5.1: an idle stream', () => {
  test.each([
    ['DATA', data(7, 'x')],
    ['DATA of nothing', data(7, '', END)],
    ['RST_STREAM', reset(7)],
    ['WINDOW_UPDATE', windowUpdate(7, 1)],
    // Its number is less than the last, but it is one that only a server could have begun (section 5.1.1).
    ['DATA on an even one', data(2, 'x')],
    ['RST_STREAM of an even one', reset(2)],
    ['WINDOW_UPDATE of an even one', windowUpdate(2, 1)],
  ])('%s ends the connection', async (_what, bytes) => {
    await using served = await serving({ serve });
    using client = await start(served.port);
    client.send(headers(5, request('/never')), bytes);
    expect(await client.ended()).toBe(PROTOCOL_ERROR);
    expect(client.goAway?.lastId).toBe(5);
  });

  test('PRIORITY of it is taken, and it can be begun', async () => {
    await using served = await serving({ serve });
    using client = await start(served.port);
    client.send(priority(3), priority(9, 3), priority(4), headers(3, request('/now'), END));
    expect((await client.answered(3)).status).toBe('200');
  });
});

describe('RFC 9113 5.1.1: numbers of streams', () => {
  test('some may be left out, up to the last there is', async () => {
    await using served = await serving({ serve });
    using client = await start(served.port);
    for (const id of [1, 3, 101, 2 ** 30 + 1, 2 ** 31 - 1]) {
      client.send(headers(id, request('/now'), END));
      expect((await client.answered(id)).body.toString()).toBe('now');
    }
  });

  test.each([3, 1])('one that is less than one before ends the connection: %i after 5', async (id) => {
    await using served = await serving({ serve });
    using client = await start(served.port);
    client.send(headers(5, request('/never'), END), headers(id, request('/now'), END));
    expect(await client.ended()).toBe(PROTOCOL_ERROR);
  });

  test('one that was left out is closed: DATA on it is answered so, and the connection goes on', async () => {
    await using served = await serving({ serve });
    using client = await start(served.port);
    client.send(headers(5, request('/never')), data(3, 'x'), windowUpdate(1, 1), reset(1));
    expect(await client.answered(3)).toMatchObject({ reset: STREAM_CLOSED });
    await client.settled();
  });
});

describe('RFC 9113 5.1: half-closed (remote)', () => {
  test('DATA is answered by STREAM_CLOSED, and others are served', async () => {
    await using served = await serving({ serve });
    using client = await start(served.port);
    client.send(headers(1, request('/never'), END), data(1, 'x'), headers(3, request('/now'), END));
    expect(await client.answered(1)).toMatchObject({ reset: STREAM_CLOSED });
    expect((await client.answered(3)).status).toBe('200');
    expect(served.streams[0]).toMatchObject({ isClosed: true, resetCode: STREAM_CLOSED });
  });

  test('another header section is answered by STREAM_CLOSED', async () => {
    await using served = await serving({ serve });
    using client = await start(served.port);
    client.send(headers(1, request('/never')), data(1, 'x', END), headers(1, [['a', 'b']], END));
    expect(await client.answered(1)).toMatchObject({ reset: STREAM_CLOSED });
    await client.settled();
  });

  test('WINDOW_UPDATE, PRIORITY and RST_STREAM are taken', async () => {
    await using served = await serving({ serve });
    using client = await start(served.port);
    client.send(headers(1, request('/never'), END), windowUpdate(1, 5), priority(1, 3), reset(1, CANCEL));
    await client.settled();
    expect(served.streams[0]).toMatchObject({ isClosed: true, resetCode: CANCEL });
    expect(served.open).toBe(0);
  });
});

describe('RFC 9113 5.1: closed', () => {
  test('by its end: HEADERS end the connection, DATA does at least the stream', async () => {
    await using served = await serving({ serve });
    using client = await start(served.port);
    client.send(headers(1, request('/now'), END));
    await client.answered(1);
    client.send(data(1, 'x'));
    await client.settled();
    expect(client.answer(1).reset).toBe(STREAM_CLOSED);
    using other = await start(served.port);
    other.send(headers(1, request('/now'), END));
    await other.answered(1);
    other.send(headers(1, request('/now'), END));
    expect(await other.ended()).toBe(STREAM_CLOSED);
  });

  test('by RST_STREAM of the client: HEADERS end the connection, DATA is answered so once', async () => {
    await using served = await serving({ serve });
    using client = await start(served.port);
    client.send(headers(1, request('/never')), reset(1), data(1, 'x'), data(1, 'y'), data(1, 'z', END));
    await client.settled();
    expect(client.answer(1).reset).toBe(STREAM_CLOSED);
    using other = await start(served.port);
    other.send(headers(1, request('/never')), reset(1), headers(1, [['a', 'b']], END));
    expect(await other.ended()).toBe(STREAM_CLOSED);
  });

  test('by RST_STREAM of the server: what was on its way goes for nothing', async () => {
    await using served = await serving({ serve });
    using client = await start(served.port);
    // The answer is out before the request is: the rest is not wanted.
    client.send(headers(1, request('/now')));
    expect(await client.answered(1)).toMatchObject({ isEnded: true });
    await client.until(() => client.answer(1).reset !== undefined, 'RST_STREAM');
    expect(client.answer(1).reset).toBe(NO_ERROR);
    client.send(data(1, 'x'), windowUpdate(1, 1), headers(1, [['a', 'b']], END), priority(1), reset(1));
    client.send(windowUpdate(1, 2 ** 31 - 1), windowUpdate(1, 0));
    await client.settled();
    expect(client.goAway).toBe(undefined);
  });
});
