import { describe, expect, test } from 'vitest';
import { ErrorCode } from '../../../src/http2/errors.ts';
import { Type } from '../../../src/http2/wire/frames.ts';
import { answerAtOnce, eventually, head, OK, type Serve, serving, turns } from '../echo.ts';
import { RawClient } from '../raw-client.ts';
import { counted, END, headers, request, settings, windowUpdate } from '../wire.ts';

/** What a client lets the server send. */

const MAX = 2 ** 31 - 1;
/** Answers with as many bytes as the path says. */
const serve: Serve = (stream) =>
  stream.answer(OK, counted(Number(stream.line.path.slice(1))), head(200, ['grpc-status', '0']));
const ask = (id: number, length: number): Buffer => headers(id, request(`/${length}`), END);
const lengths = (client: RawClient): number[] =>
  client.frames.filter(({ type }) => type === Type.DATA).map(({ payload }) => payload.length);

describe('RFC 9113 6.9.1: windows of answers', () => {
  test('65,535 bytes on a stream and on all, no more until they are opened', async () => {
    await using served = await serving({ serve });
    using client = await RawClient.connect(served.port);
    client.send(ask(1, 60_000), ask(3, 60_000));
    await client.settled();
    expect(client.answer(1).length + client.answer(3).length).toBe(65_535);
    client.send(windowUpdate(1, 100_000), windowUpdate(3, 100_000));
    await client.settled();
    expect(client.answer(1).length + client.answer(3).length).toBe(65_535);
    client.send(windowUpdate(0, 54_465));
    for (const id of [1, 3]) expect((await client.answered(id)).body).toEqual(counted(60_000));
    expect(client.answer(3).trailers).toEqual([
      [':status', '200'],
      ['grpc-status', '0'],
    ]);
  });

  test('trailers and an empty end need no window', async () => {
    await using served = await serving({ serve });
    using client = await RawClient.connect(served.port, { settings: [['INITIAL_WINDOW_SIZE', 0]] });
    client.send(ask(1, 0));
    expect(await client.answered(1)).toMatchObject({ isEnded: true, length: 0 });
  });

  test('a window that is opened by one byte at a time', async () => {
    await using served = await serving({ serve });
    using client = await RawClient.connect(served.port, { settings: [['INITIAL_WINDOW_SIZE', 0]] });
    client.send(ask(1, 200));
    for (let at = 1; at <= 200; at += 1) {
      client.send(windowUpdate(1, 1));
      await client.settled();
      expect(client.answer(1).length).toBe(at);
    }
    expect((await client.answered(1)).body).toEqual(counted(200));
  });

  test('no frame is longer than the client takes', async () => {
    await using served = await serving({ serve });
    using client = await RawClient.connect(served.port, { settings: [['INITIAL_WINDOW_SIZE', MAX]] });
    client.send(windowUpdate(0, 2 ** 30), ask(1, 300_000));
    expect((await client.answered(1)).body).toEqual(counted(300_000));
    expect(Math.max(...lengths(client))).toBe(16_384);
    client.send(settings(['MAX_FRAME_SIZE', 100_000]), ask(3, 300_000));
    expect((await client.answered(3)).body).toEqual(counted(300_000));
    expect(Math.max(...lengths(client))).toBeLessThanOrEqual(100_000);
  });

  test.each([MAX, MAX - 65_534])('a window of all beyond 2^31-1 ends the connection: by %i', async (more) => {
    await using served = await serving({ serve });
    using client = await RawClient.connect(served.port);
    client.send(windowUpdate(0, more));
    expect(await client.ended()).toBe(ErrorCode.FLOW_CONTROL_ERROR);
  });

  test('a window of 2^31-1 is not beyond, for all and for one', async () => {
    await using served = await serving({ serve });
    using client = await RawClient.connect(served.port);
    client.send(ask(1, 70_000), windowUpdate(0, MAX - 65_535 + 65_535), windowUpdate(1, MAX));
    expect((await client.answered(1)).length).toBe(70_000);
  });

  test('a window of a stream beyond 2^31-1 ends the stream alone', async () => {
    await using served = await serving({ serve });
    using client = await RawClient.connect(served.port, { settings: [['INITIAL_WINDOW_SIZE', 1]] });
    client.send(ask(1, 10), windowUpdate(1, MAX), windowUpdate(1, MAX), ask(3, 1));
    expect(await client.answered(1)).toMatchObject({ length: 10 });
    client.send(
      settings(['INITIAL_WINDOW_SIZE', 0]),
      ask(5, 10),
      windowUpdate(5, MAX - 5),
      windowUpdate(5, MAX),
    );
    await client.settled();
    client.send(settings(['INITIAL_WINDOW_SIZE', 0]), ask(7, 10), ask(9, 0));
    client.send(windowUpdate(7, 1), windowUpdate(7, MAX), windowUpdate(7, MAX));
    await client.settled();
    expect((await client.answered(9)).isEnded).toBe(true);
  });

  test('WINDOW_UPDATE of nothing ends its stream alone (RFC 9113 6.9)', async () => {
    await using served = await serving({ serve });
    using client = await RawClient.connect(served.port, { settings: [['INITIAL_WINDOW_SIZE', 5]] });
    client.send(ask(1, 10), windowUpdate(1, 0), ask(3, 5));
    expect(await client.answered(1)).toMatchObject({ length: 5, reset: ErrorCode.PROTOCOL_ERROR });
    expect((await client.answered(3)).length).toBe(5);
  });
});

describe('RFC 9113 6.9.2: SETTINGS move the windows of all streams', () => {
  test('one that becomes negative is to be opened beyond nothing before anything goes', async () => {
    await using served = await serving({ serve });
    using client = await RawClient.connect(served.port, { settings: [['INITIAL_WINDOW_SIZE', 100]] });
    client.send(ask(1, 150));
    await client.settled();
    expect(client.answer(1).length).toBe(100);
    client.send(settings(['INITIAL_WINDOW_SIZE', 10]));
    await client.settled();
    // It is 90 below nothing now.
    for (const [more, length] of [
      [89, 100],
      [1, 100],
      [1, 101],
      [20, 121],
    ] as const) {
      client.send(windowUpdate(1, more));
      await client.settled();
      expect(client.answer(1).length).toBe(length);
    }
    client.send(settings(['INITIAL_WINDOW_SIZE', 39]));
    expect((await client.answered(1)).body).toEqual(counted(150));
  });

  test('one that becomes larger than 2^31-1 ends the connection', async () => {
    await using served = await serving({ serve });
    using client = await RawClient.connect(served.port, { settings: [['INITIAL_WINDOW_SIZE', 10]] });
    client.send(ask(1, 100_000), windowUpdate(1, MAX - 10 + 10), settings(['INITIAL_WINDOW_SIZE', 65_600]));
    client.send(settings(['INITIAL_WINDOW_SIZE', MAX]));
    expect(await client.ended()).toBe(ErrorCode.FLOW_CONTROL_ERROR);
  });

  test('the window of all is not moved by SETTINGS', async () => {
    await using served = await serving({ serve });
    using client = await RawClient.connect(served.port, { settings: [['INITIAL_WINDOW_SIZE', MAX]] });
    client.send(ask(1, 100_000));
    await client.settled();
    expect(client.answer(1).length).toBe(65_535);
    client.send(settings(['INITIAL_WINDOW_SIZE', 0]), windowUpdate(0, 34_465));
    await client.settled();
    expect(client.answer(1).length).toBe(65_535);
  });
});

describe('answers that take more than one turn', () => {
  test('go on by themselves while the windows are open, wherever the first frames fall in what is written', async () => {
    // Before the body comes some more, so that each frame header is once where a buffer of 64 KiB ends.
    const start = 65_536 - 3 * (9 + 16_384);
    const serve: Serve = (stream) => {
      const before = Number(stream.line.path.slice(1));
      stream.respond(OK);
      stream.write(Buffer.alloc(before));
      stream.write(counted(200_000));
      stream.end();
    };
    await using served = await serving({ serve });
    using client = await RawClient.connect(served.port, { settings: [['INITIAL_WINDOW_SIZE', MAX]] });
    client.send(windowUpdate(0, 2 ** 30));
    await client.settled();
    for (let id = 1, before = start - 40; before < start; id += 2, before += 1) {
      client.send(headers(id, request(`/${before}`), END));
      expect((await client.answered(id)).length).toBe(before + 200_000);
    }
  });

  test('do so on a socket with room for all of it', async () => {
    await using served = await serving({
      serve: answerAtOnce(counted(400_000)),
      socket: { highWaterMark: 1024 * 1024 },
    });
    using client = await RawClient.connect(served.port, { settings: [['INITIAL_WINDOW_SIZE', MAX]] });
    client.send(windowUpdate(0, 2 ** 30), headers(1, request(), END));
    expect((await client.answered(1)).body).toEqual(counted(400_000));
  });

  test('go on after they could, beside one whose own window is closed', async () => {
    const writers: ((bytes: Uint8Array) => boolean)[] = [];
    let isFull = false;
    const serve: Serve = (stream) => {
      writers.push((bytes) => stream.write(bytes));
      stream.respond(OK);
      stream.receive({
        data: () => undefined,
        end: () => undefined,
        closed: () => stream.settle(),
        drained() {
          stream.write(counted(1_000_000));
          stream.end();
        },
      });
    };
    await using served = await serving({ serve });
    using client = await RawClient.connect(served.port, { settings: [['INITIAL_WINDOW_SIZE', 0]] });
    client.send(windowUpdate(0, 2 ** 30), headers(1, request(), END), windowUpdate(1, 2 ** 30));
    client.send(headers(3, request(), END));
    await client.settled();
    client.socket.pause();
    const [one, two] = writers;
    let before = 0;
    while (!isFull) {
      before += 10_000;
      isFull = !one?.(Buffer.alloc(10_000));
      if (before % 1_000_000 === 0) await turns(1);
    }
    // It waits for its own window, and is looked at whenever the socket takes more.
    expect(two?.(Buffer.alloc(10))).toBe(false);
    client.socket.resume();
    expect((await client.answered(1)).length).toBe(before + 1_000_000);
    client.send(windowUpdate(3, 2 ** 30));
    expect((await client.answered(3)).length).toBe(1_000_010);
  });

  test('go on when the window of all opens, beside one whose own window is closed', async () => {
    const serve: Serve = (stream) => {
      stream.respond(OK);
      stream.receive({ data: () => undefined, end: () => undefined, closed: () => stream.settle() });
      if (stream.line.path === '/large') {
        stream.write(counted(1_000_000));
        stream.end();
      } else stream.write(Buffer.alloc(10));
    };
    await using served = await serving({ serve });
    using client = await RawClient.connect(served.port, { settings: [['INITIAL_WINDOW_SIZE', 0]] });
    client.send(headers(1, request('/large'), END), windowUpdate(1, 2 ** 30));
    // It has had more than its turn, alone, and waits for the window of all.
    for (const more of [0, 100_000]) {
      if (more > 0) client.send(windowUpdate(0, more));
      await client.until(() => client.answer(1).length === 65_535 + more, 'what the window has room for');
    }
    client.send(headers(3, request('/other'), END));
    await client.settled();
    client.send(windowUpdate(0, 2 ** 30));
    expect((await client.answered(1)).body).toEqual(counted(1_000_000));
  });

  test('share the window of all: a small one does not wait for the end of a large one', async () => {
    await using served = await serving({ serve });
    using client = await RawClient.connect(served.port, { settings: [['INITIAL_WINDOW_SIZE', MAX]] });
    client.send(ask(1, 2_000_000), ask(3, 20_000));
    for (let turn = 0; turn < 8; turn += 1) {
      await client.settled();
      client.send(windowUpdate(0, 16_384));
    }
    await client.settled();
    expect(client.answer(3)).toMatchObject({ length: 20_000, isEnded: true });
    expect(client.answer(1).length).toBeGreaterThan(65_535);
  });

  test('are cut into turns for a client that takes frames of 16 MB too: others do not wait for such a one', async () => {
    await using served = await serving({ serve });
    using client = await RawClient.connect(served.port, {
      settings: [
        ['INITIAL_WINDOW_SIZE', MAX],
        ['MAX_FRAME_SIZE', 2 ** 24 - 1],
      ],
    });
    await client.settled();
    client.socket.pause();
    client.send(windowUpdate(0, 2 ** 30), ask(1, 16_000_000));
    await eventually(() => served.streams.length === 1, 'the large one to be asked for');
    client.send(ask(3, 1_000));
    await eventually(() => served.streams.length === 2, 'the small one to be asked for');
    client.socket.resume();
    for (const id of [1, 3]) expect((await client.answered(id)).isEnded).toBe(true);
    const last = (id: number): number => client.frames.findLastIndex((frame) => frame.id === id);
    expect(last(3)).toBeLessThan(last(1));
    // What is copied for a socket that takes nothing is a small part of it.
    expect(served.budget.most).toBeLessThan(18_000_000);
  });

  test('RFC 9113 6.9: an honest client that opens both windows for each frame that it read gets 64 MB', async () => {
    await using served = await serving({ serve: answerAtOnce(Buffer.alloc(64_000_000)) });
    using client = await RawClient.connect(served.port, { takes: 1 });
    client.send(headers(1, request(), END));
    expect(await client.answered(1)).toMatchObject({ isEnded: true, length: 64_000_000 });
    expect(client.goAway).toBe(undefined);
  });
});
