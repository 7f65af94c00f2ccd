import { describe, expect, test } from 'vitest';
import { ErrorCode } from '../../../src/http2/errors.ts';
import { answerAtOnce, echo, eventually, head, OK, type Serve, serving, turns } from '../echo.ts';
import { RawClient } from '../raw-client.ts';
import { counted, END, headers, ping, request, settings, windowUpdate } from '../wire.ts';
import { bystander, flood } from './bystander.ts';

/** Clients that never read their socket: what waits for them is bounded, and so is for how long. */

const MB = 1024 * 1024;
const body = counted(MB);
const bounds = { unreadMs: 80, frameMs: 5_000 };
/** What the kernel takes for a client that does not read is not ours to hold. */
const serve: Serve = (stream, connection) => {
  if (stream.line.path === '/bystander') echo(stream, connection);
  else answerAtOnce(body)(stream, connection);
};

const wide = { settings: [['INITIAL_WINDOW_SIZE', 2 ** 31 - 1]] as ['INITIAL_WINDOW_SIZE', number][] };

async function deaf(port: number): Promise<RawClient> {
  const client = await RawClient.connect(port, wide);
  await client.settled();
  client.socket.pause();
  client.send(windowUpdate(0, 2 ** 30));
  return client;
}

describe('a client that does not read', () => {
  test('answers: they wait within the bounds, then the connection is ended, and all is given back', async () => {
    await using served = await serving({ serve, bounds: { ...bounds, unsentBytes: 40 * MB } });
    using client = await deaf(served.port);
    for (let at = 0; at < 30; at += 1) client.send(headers(2 * at + 1, request(), END));
    await eventually(() => served.budget.held > MB, 'answers to wait');
    expect(await bystander(served.port)).toBe('200');
    await served.quiet();
    expect(served.budget.most).toBeLessThanOrEqual(44 * MB);
    expect(served.budget.held).toBe(0);
    expect(served.ends).toMatchObject([{ code: ErrorCode.ENHANCE_YOUR_CALM }]);
    expect(served.streams.every(({ isClosed }) => isClosed)).toBe(true);
  });

  test('more answers than may wait: those beyond are given up', async () => {
    await using served = await serving({ serve, bounds: { ...bounds, unsentBytes: 6 * MB } });
    using client = await deaf(served.port);
    for (let at = 0; at < 60; at += 1) client.send(headers(2 * at + 1, request(), END));
    await served.quiet();
    expect(served.budget.most).toBeLessThanOrEqual(7 * MB);
    expect(await bystander(served.port)).toBe('200');
  });

  test('answers to PING and SETTINGS', async () => {
    await using served = await serving({ serve, bounds });
    using client = await deaf(served.port);
    client.send(headers(1, request(), END));
    await flood(client, 20_000, (at) => (at % 10 === 0 ? settings() : ping()));
    await served.quiet();
    expect(served.ends).toMatchObject([{ code: ErrorCode.ENHANCE_YOUR_CALM }]);
    expect(await bystander(served.port)).toBe('200');
  });

  test('answers of which there are many, without a body but with long heads: no more is read of it meanwhile', async () => {
    const long = head(200, ['long', 'v'.repeat(60_000)]);
    const serve: Serve = (stream, connection) =>
      stream.line.path === '/bystander' ? echo(stream, connection) : stream.answer(long);
    await using served = await serving({
      serve,
      bounds: { ...bounds, unreadMs: 400 },
      limits: { streams: 5_000 },
    });
    using client = await deaf(served.port);
    let sent = 0;
    await flood(client, 60_000, (at) => {
      sent = at;
      return headers(2 * at + 1, request(), END);
    });
    expect(await bystander(served.port)).toBe('200');
    // 3.6 GB if all were read. A piece that is read at once holds some 1,500 of them.
    expect(served.streams.length).toBeLessThan(4_500);
    expect(sent).toBeGreaterThan(1_000);
    expect(served.budget.most).toBeLessThan(256 * MB);
    await served.quiet();
    expect(served.budget.held).toBe(0);
  });

  test('and goes on to send is not read any more, and is no better off for it', async () => {
    await using served = await serving({ serve, bounds });
    using client = await deaf(served.port);
    client.send(...Array.from({ length: 40 }, (_, at) => headers(2 * at + 1, request(), END)));
    await flood(client, 100_000, () => ping());
    await served.quiet();
    expect(served.budget.held).toBe(0);
  });

  test('the last word: it is not waited for longer than for anything else', async () => {
    await using served = await serving({ serve, bounds: { ...bounds, lingerMs: 40 } });
    using client = await deaf(served.port);
    client.send(...Array.from({ length: 40 }, (_, at) => headers(2 * at + 1, request(), END)));
    await eventually(() => served.streams.length > 0, 'requests to be read');
    client.send(ping().fill(0xff, 0, 3));
    await served.quiet();
  });
});

describe('a client that reads slowly', () => {
  test('is waited for as long as it reads at all, however long it takes', async () => {
    let now = 1_000;
    await using served = await serving({ serve: answerAtOnce(counted(200_000)), now: () => now });
    using client = await RawClient.connect(served.port, { settings: [['INITIAL_WINDOW_SIZE', 16_384]] });
    client.send(headers(1, request(), END));
    await client.settled();
    // Ten seconds for each step: three of them are what it may take nothing for.
    while (!client.answer(1).isOver && now < 400_000) {
      now += 10_000;
      served.connections[0]?.sweep(now);
      client.send(windowUpdate(1, 16_384), windowUpdate(0, 16_384));
      await client.settled();
    }
    expect(client.answer(1)).toMatchObject({ isEnded: true, length: 200_000, reset: undefined });
  });

  test('from the socket too: what waits there for it is taken bit by bit', async () => {
    let now = 1_000;
    const long = head(200, ['long', 'v'.repeat(16_000)]);
    await using served = await serving({
      serve: (stream) => stream.answer(long),
      limits: { streams: 5_000 },
      now: () => now,
    });
    using client = await deaf(served.port);
    const all = Array.from({ length: 1_200 }, (_, at) => headers(2 * at + 1, request(), END));
    client.send(...all);
    await eventually(() => served.sockets[0]?.isPaused() === true, 'the socket to be paused');
    // A hundred kilobytes a second; the kernel tells of room in large steps.
    while (!client.answer(2_399).isOver && !client.isClosed && now < 10_000_000) {
      now += 20_000;
      served.connections[0]?.sweep(now);
      const before = client.bytesRead;
      client.socket.resume();
      await client.until(
        () => client.bytesRead > before + 2 * MB || client.isClosed || client.answer(2_399).isOver,
        'some to be read',
      );
      client.socket.pause();
      await turns(10);
    }
    expect(served.ends).toEqual([]);
  });

  test('and sends requests meanwhile is not told that it is slow to send: it is we who do not read', async () => {
    let now = 1_000;
    const long = head(200, ['long', 'v'.repeat(60_000)]);
    await using served = await serving({
      serve: (stream) => stream.answer(long),
      limits: { streams: 5_000 },
      bounds: { frameMs: 10_000, unreadMs: 1_000_000, acknowledgementMs: 10_000_000 },
      now: () => now,
    });
    using client = await deaf(served.port);
    const some = Array.from({ length: 700 }, (_, at) => headers(2 * at + 1, request(), END));
    // A frame that is cut, and whose rest lies in the socket.
    const last = headers(2_001, request(), END);
    client.send(...some, last.subarray(0, 12));
    await eventually(() => served.sockets[0]?.isPaused() === true, 'the socket to be paused');
    client.send(last.subarray(12));
    await turns(20);
    now += 30_000;
    served.connections[0]?.sweep(now);
    client.socket.resume();
    expect((await client.answered(2_001)).status).toBe('200');
    expect(served.ends).toEqual([]);
  });

  test('an answer over a window of a byte a time comes whole', async () => {
    await using served = await serving({ serve: (stream) => stream.answer(OK, counted(600)) });
    using client = await RawClient.connect(served.port, { settings: [['INITIAL_WINDOW_SIZE', 1]], takes: 1 });
    client.send(headers(1, request(), END));
    expect((await client.answered(1)).body).toEqual(counted(600));
  });
});
