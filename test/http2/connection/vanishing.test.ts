import { once } from 'node:events';
import { Socket } from 'node:net';
import { describe, expect, test } from 'vitest';
import { ErrorCode } from '../../../src/http2/errors.ts';
import { echo, eventually, head, OK, ponder, type Serve, serving, turns } from '../echo.ts';
import { RawClient } from '../raw-client.ts';
import { catchEscaped } from '../watched.ts';
import { counted, data, END, frame, headers, request } from '../wire.ts';

/** Clients that go, or half go, at any moment. */

describe('a client that vanishes', () => {
  test.each<[string, Serve, Buffer[]]>([
    ['before it said anything', ponder, []],
    ['within a frame', ponder, [frame(0, 0, 1, Buffer.alloc(5), 1_000)]],
    ['within a header block', ponder, [frame(1, 0, 1, Buffer.alloc(500))]],
    ['with requests that run', ponder, [headers(1, request(), END), headers(3, request())]],
    ['within a body', ponder, [headers(1, request()), data(1, 'x')]],
    [
      'with a body that nobody read',
      (stream) =>
        stream.receive({ data: () => undefined, end: () => undefined, closed: () => stream.settle() }),
      [headers(1, request()), data(1, Buffer.alloc(16_000))],
    ],
    [
      'with an answer that waits for it',
      (stream) => stream.answer(OK, counted(1_000_000)),
      [headers(1, request(), END)],
    ],
    ['with an echo that waits for it', echo, [headers(1, request()), data(1, Buffer.alloc(16_000))]],
  ])('%s leaves nothing behind', async (_what, serve, bytes) => {
    using escaped = catchEscaped();
    for (const end of ['destroy', 'reset', 'end'] as const) {
      await using served = await serving({ serve });
      using client = await RawClient.connect(served.port, {
        settings: [['INITIAL_WINDOW_SIZE', 1_000]],
        acknowledges: false,
      });
      client.send(...bytes);
      await eventually(() => (served.sockets[0]?.bytesRead ?? 0) > 0, 'something to be read');
      await turns(2);
      if (end === 'destroy') client.socket.destroy();
      else if (end === 'reset') client.socket.resetAndDestroy();
      else client.socket.end();
      await served.quiet();
      expect([end, served.budget.held, served.open]).toEqual([end, 0, 0]);
      expect(served.streams.map(({ resetCode }) => resetCode)).toEqual(
        served.streams.map(() => ErrorCode.CANCEL),
      );
      expect(served.ends).toEqual([]);
    }
    expect(escaped.errors).toEqual([]);
  });

  test('while a handler works: what it does afterwards goes nowhere, and it is counted until it is done', async () => {
    using escaped = catchEscaped();
    const late: (() => void)[] = [];
    const serve: Serve = (stream) => {
      late.push(
        () => stream.respond(OK),
        () => stream.write(Buffer.from('x')),
        () => stream.pause(),
        () => stream.resume(),
        () => stream.end(),
        () => stream.answer(OK, Buffer.from('y')),
        () => stream.reset(ErrorCode.INTERNAL_ERROR),
        () => stream.settle(),
      );
    };
    await using served = await serving({ serve });
    using client = await RawClient.connect(served.port);
    client.send(headers(1, request()), data(1, 'x'));
    await client.settled();
    client.socket.destroy();
    await served.quiet();
    expect(served.open).toBe(1);
    for (const each of late) each();
    expect(served.open).toBe(0);
    const [stream] = served.streams;
    const heard: string[] = [];
    stream?.receive({
      data: () => heard.push('data'),
      end: () => heard.push('end'),
      closed: () => heard.push('closed'),
    });
    expect(heard).toEqual(['closed']);
    expect(escaped.errors).toEqual([]);
  });
});

describe('a client that has gone before it was taken', () => {
  test('is not kept', async () => {
    using escaped = catchEscaped();
    await using served = await serving();
    const socket = new Socket();
    socket.destroy();
    await once(socket, 'close');
    served.server.take(socket);
    for (let turn = 0; turn < 3; turn += 1) {
      served.connections[0]?.sweep(performance.now() + 100_000 * (turn + 1));
      await turns(3);
    }
    expect(served.server.size).toBe(0);
    expect(escaped.errors).toEqual([]);
  });
});

describe('a client that ends its half of the connection', () => {
  test('has been answered what was answered at once', async () => {
    await using served = await serving({ serve: (stream) => stream.answer(OK, counted(10_000)) });
    using client = await RawClient.connect(served.port, { allowHalfOpen: true });
    client.send(headers(1, request(), END));
    client.socket.end();
    expect((await client.answered(1)).body).toEqual(counted(10_000));
    await client.closed();
  });

  test('has been answered so, though it reads slowly and some of it waits here', async () => {
    const long = head(200, ['long', 'v'.repeat(60_000)]);
    await using served = await serving({ serve: (stream) => stream.answer(long), limits: { streams: 500 } });
    using client = await RawClient.connect(served.port, { allowHalfOpen: true });
    await client.settled();
    client.socket.pause();
    // So much that the kernel takes no more.
    let asked = 0;
    for (; served.budget.held === 0; asked += 1) {
      client.send(headers(2 * asked + 1, request(), END));
      await eventually(() => served.streams.length > asked, 'a request to be read');
      await turns(2);
    }
    client.socket.end();
    await turns(20);
    client.socket.resume();
    for (let at = 0; at < asked; at += 1)
      expect((await client.answered(2 * at + 1)).field('long')).toHaveLength(60_000);
  });

  test.each([false, true])(
    'is not kept for long, with sockets that stay half open: %s',
    async (allowHalfOpen) => {
      let now = 1_000;
      await using served = await serving({
        serve: ponder,
        socket: { allowHalfOpen },
        bounds: { unusedMs: 10_000, idleMs: 10_000 },
        now: () => now,
      });
      using client = await RawClient.connect(served.port, { allowHalfOpen: true });
      client.send(headers(1, request(), END));
      await client.settled();
      client.socket.end();
      await eventually(() => served.open === 0, 'its request to be given up');
      expect(served.streams[0]?.resetCode).toBe(ErrorCode.CANCEL);
      for (let turn = 0; turn < 3; turn += 1) {
        now += 10_000;
        served.connections[0]?.sweep(now);
        await turns(5);
      }
      await served.quiet();
    },
  );
});
