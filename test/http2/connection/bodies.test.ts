import { describe, expect, test } from 'vitest';
import { Type } from '../../../src/http2/wire/frames.ts';
import { eventually, OK, type Serve, serving, turns } from '../echo.ts';
import { RawClient } from '../raw-client.ts';
import { upload } from '../upload.ts';
import { counted, data, END, headers, request, windowUpdate } from '../wire.ts';

const MB = 1024 * 1024;

describe('RFC 9113 5.2: five megabytes both ways at once, intact', () => {
  test.each([
    ['frames of 16,384', 16_384, 65_535],
    ['frames of an odd length', 9_973, 65_535],
    ['a client with small windows', 16_384, 8_191],
    ['a client with large windows', 16_384, 16 * MB],
  ])('%s', async (_what, each, window) => {
    await using served = await serving();
    using client = await RawClient.connect(served.port, {
      settings: [['INITIAL_WINDOW_SIZE', window]],
      takes: Math.min(window, 65_535) / 2,
    });
    if (window > 65_535) client.send(windowUpdate(0, window));
    const body = counted(5 * MB);
    client.send(headers(1, request()));
    await upload(client, new Map([[1, body]]), each);
    const answer = await client.answered(1);
    expect(answer.length).toBe(body.length);
    expect(answer.body.equals(body)).toBe(true);
    expect(served.budget.most).toBeLessThan(2 * MB);
  });

  test('on eight streams, each with its own', async () => {
    await using served = await serving();
    using client = await RawClient.connect(served.port, { takes: 32_768 });
    const ids = [1, 3, 5, 7, 9, 11, 13, 15];
    for (const id of ids) client.send(headers(id, request()));
    await upload(client, new Map(ids.map((id) => [id, counted(600_000, id * 1_000_000)])), 6_000);
    for (const id of ids) {
      const answer = await client.answered(id);
      expect([id, answer.body.equals(counted(600_000, id * 1_000_000))]).toEqual([id, true]);
    }
  });
});

/** Writes `count` chunks as fast as it may; `state` tells how far it is. */
function pouring(chunk: Buffer, count: number) {
  const state = { written: 0, isWaiting: false, drained: 0 };
  const serve: Serve = (stream) => {
    stream.respond(OK);
    const pour = (): void => {
      state.isWaiting = false;
      while (state.written < count) {
        state.written += 1;
        if (stream.write(chunk)) continue;
        state.isWaiting = true;
        return;
      }
      stream.end();
    };
    stream.receive({
      data: () => undefined,
      end: pour,
      closed: () => stream.settle(),
      drained() {
        state.drained += 1;
        pour();
      },
    });
  };
  return { state, serve };
}

describe('back-pressure: `write` answers false, and `drained` comes once there is room', () => {
  test('by a window of the stream: not before it is all sent', async () => {
    const { state, serve } = pouring(Buffer.alloc(100), 3);
    await using served = await serving({ serve });
    using client = await RawClient.connect(served.port, { settings: [['INITIAL_WINDOW_SIZE', 150]] });
    client.send(headers(1, request(), END));
    await client.settled();
    expect(state).toEqual({ written: 2, isWaiting: true, drained: 0 });
    client.send(windowUpdate(1, 49));
    await client.settled();
    expect(state).toEqual({ written: 2, isWaiting: true, drained: 0 });
    client.send(windowUpdate(1, 1));
    await client.settled();
    expect(state).toEqual({ written: 3, isWaiting: true, drained: 1 });
    client.send(windowUpdate(1, 100));
    expect((await client.answered(1)).length).toBe(300);
  });

  test('by the window of all', async () => {
    const { state, serve } = pouring(Buffer.alloc(10_000), 20);
    await using served = await serving({ serve });
    using client = await RawClient.connect(served.port, { settings: [['INITIAL_WINDOW_SIZE', MB]] });
    client.send(headers(1, request(), END));
    await client.settled();
    expect(state).toMatchObject({ written: 7, isWaiting: true });
    client.send(windowUpdate(0, MB));
    expect((await client.answered(1)).length).toBe(200_000);
  });

  test.each([1_000, 16_384, 65_536, 100_000, 128 * 1024, MB])(
    'by a socket that is not read, in chunks of %i bytes, and all of it comes',
    async (each) => {
      const count = Math.ceil((24 * MB) / each);
      const { state, serve } = pouring(counted(each), count);
      await using served = await serving({ serve });
      using client = await RawClient.connect(served.port, { settings: [['INITIAL_WINDOW_SIZE', 64 * MB]] });
      await client.settled();
      client.socket.pause();
      client.send(windowUpdate(0, 64 * MB), headers(1, request(), END));
      await eventually(() => state.isWaiting, 'the socket to be full');
      const { written } = state;
      await turns(20);
      expect(state.written).toBeLessThanOrEqual(written + 20 * Math.ceil((8 * MB) / each));
      expect(state.written).toBeLessThan(count);
      client.socket.resume();
      expect((await client.answered(1)).length).toBe(each * count);
      expect(served.budget.most).toBeLessThan(8 * MB);
    },
  );

  test('many streams at once on a socket that is read in fits', async () => {
    const each = counted(70_000);
    const pourings = Array.from({ length: 10 }, () => pouring(each, 50));
    const serve: Serve = (stream, connection) =>
      pourings[Number(stream.line.path.slice(1))]?.serve(stream, connection);
    await using served = await serving({ serve });
    using client = await RawClient.connect(served.port, { settings: [['INITIAL_WINDOW_SIZE', 64 * MB]] });
    client.send(windowUpdate(0, 512 * MB));
    for (let at = 0; at < 10; at += 1) client.send(headers(2 * at + 1, request(`/${at}`), END));
    for (let turn = 0; turn < 40; turn += 1) {
      client.socket.pause();
      await turns(5);
      client.socket.resume();
      await turns(2);
    }
    for (let at = 0; at < 10; at += 1) expect((await client.answered(2 * at + 1)).length).toBe(50 * 70_000);
  });
});

describe('`pause` and `resume`', () => {
  test('nothing is handed over while it is paused, and then all in its order', async () => {
    const parts: string[] = [];
    let resume = (): void => undefined;
    const serve: Serve = (stream) => {
      resume = () => stream.resume();
      stream.receive({
        data(chunk) {
          parts.push(Buffer.from(chunk).toString());
          stream.pause();
        },
        end() {
          parts.push('end');
          stream.answer(OK);
        },
        closed: () => parts.push('closed'),
      });
    };
    await using served = await serving({ serve });
    using client = await RawClient.connect(served.port);
    client.send(headers(1, request()), data(1, 'a'), data(1, 'b'), data(1, 'c', END));
    await client.settled();
    expect(parts).toEqual(['a']);
    resume();
    expect(parts).toEqual(['a', 'bc']);
    resume();
    expect(parts).toEqual(['a', 'bc', 'end', 'closed']);
    expect((await client.answered(1)).status).toBe('200');
  });

  test('a handler that gives up within `data` does not hear of the end that came meanwhile', async () => {
    const heard: string[] = [];
    let resume = (): void => undefined;
    const serve: Serve = (stream) => {
      resume = () => stream.resume();
      stream.receive({
        data() {
          heard.push('data');
          stream.reset(8);
        },
        end: () => heard.push('end'),
        closed: () => heard.push('closed'),
      });
      stream.pause();
    };
    await using served = await serving({ serve });
    using client = await RawClient.connect(served.port);
    client.send(headers(1, request()), data(1, 'all', END));
    await client.settled();
    resume();
    expect(await client.answered(1)).toMatchObject({ reset: 8 });
    expect(heard).toEqual(['data', 'closed']);
  });

  test('a window is not opened for a stream on which nothing more comes', async () => {
    let resume = (): void => undefined;
    const serve: Serve = (stream) => {
      resume = () => stream.resume();
      stream.receive({
        data: () => undefined,
        end: () => stream.answer(OK),
        closed: () => stream.settle(),
      });
      stream.pause();
    };
    await using served = await serving({ serve });
    using client = await RawClient.connect(served.port);
    client.send(headers(1, request()));
    for (let at = 0; at < 4; at += 1) client.send(data(1, Buffer.alloc(15_000), { end: at === 3 }));
    await client.settled();
    resume();
    expect((await client.answered(1)).status).toBe('200');
    expect(client.count(Type.WINDOW_UPDATE, 1)).toBe(0);
  });

  test('what came before there was a receiver is handed to it, and the end too', async () => {
    const parts: string[] = [];
    let take = (): void => undefined;
    const serve: Serve = (stream) => {
      take = () =>
        stream.receive({
          data: (chunk) => void parts.push(Buffer.from(chunk).toString()),
          end: () => stream.answer(OK),
          closed: () => void parts.push('closed'),
        });
    };
    await using served = await serving({ serve });
    using client = await RawClient.connect(served.port);
    client.send(headers(1, request()), data(1, 'early'), data(1, '', END));
    await client.settled();
    expect(served.budget.held).toBeGreaterThan(0);
    take();
    expect((await client.answered(1)).status).toBe('200');
    expect(parts).toEqual(['early', 'closed']);
  });
});

test.each([
  ['at once', 0],
  ['some turns later', 5],
])('whoever receives a request %s hears once that its end is missing', async (_when, later) => {
  const heard: string[] = [];
  await using served = await serving({
    serve: (stream) => {
      void turns(later).then(() =>
        stream.receive({
          data: () => heard.push('data'),
          waits: () => heard.push('waits'),
          end: () => {
            heard.push('end');
            stream.answer(OK);
          },
          closed: () => undefined,
        }),
      );
    },
  });
  using client = await RawClient.connect(served.port);
  client.send(headers(1, request()), data(1, Buffer.alloc(10)));
  await eventually(() => heard.includes('waits'), 'it hears');
  client.send(data(1, Buffer.alloc(10), END));
  await client.answered(1);
  expect(heard).toEqual(['data', 'waits', 'data', 'end']);
});
