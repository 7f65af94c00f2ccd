import { describe, expect, test } from 'vitest';
import { ErrorCode } from '../../../src/http2/errors.ts';
import { Type } from '../../../src/http2/wire/frames.ts';
import { echo, eventually, mirror, OK, ponder, type Serve, serving } from '../echo.ts';
import { RawClient } from '../raw-client.ts';
import {
  blockOf,
  continuation,
  counted,
  cutShort,
  data,
  END,
  frame,
  headers,
  request,
  reset,
} from '../wire.ts';
import { bystander, memoryInUse } from './bystander.ts';

const MB = 1024 * 1024;

/** `count` clients of a server, with what each says first. */
async function crowd(port: number, count: number, say: (at: number) => Uint8Array[]): Promise<RawClient[]> {
  const clients: RawClient[] = [];
  for (let at = 0; at < count; at += 50)
    clients.push(
      ...(await Promise.all(
        Array.from({ length: Math.min(50, count - at) }, async (_, each) => {
          const client = await RawClient.connect(port);
          await client.settled();
          client.send(...say(at + each));
          return client;
        }),
      )),
    );
  return clients;
}

const leave = (clients: RawClient[]): void => {
  for (const client of clients) client[Symbol.dispose]();
};

describe('thousands of streams', () => {
  test('one after the other on one connection: nothing is left of them', async () => {
    await using served = await serving({ serve: (stream) => stream.answer(OK) });
    using client = await RawClient.connect(served.port);
    const round = async (from: number): Promise<void> => {
      for (let at = from; at < from + 5_000; at += 1) {
        client.send(headers(2 * at + 1, request(), END));
        if (at % 100 !== 99) continue;
        await client.answered(2 * at + 1);
        client.frames.length = 0;
        client.answers.clear();
        served.streams.length = 0;
      }
    };
    await round(0);
    const before = memoryInUse();
    await round(5_000);
    await round(10_000);
    expect(memoryInUse() - before).toBeLessThan(4 * MB);
    expect(served.open).toBe(0);
  });

  test('at once, as many as are allowed: each is answered when its time has come', async () => {
    await using served = await serving({ serve: mirror, limits: { streams: 3_000 } });
    using client = await RawClient.connect(served.port, { takes: 30_000 });
    for (let at = 0; at < 3_000; at += 1) client.send(headers(2 * at + 1, request()));
    await client.settled();
    expect(served.open).toBe(3_000);
    for (let at = 0; at < 3_000; at += 1) client.send(data(2 * at + 1, 'x', END));
    for (let at = 0; at < 3_000; at += 1) expect((await client.answered(2 * at + 1)).status).toBe('200');
    expect(served.open).toBe(0);
  });

  test('waiting for one window: each has its turn', async () => {
    await using served = await serving({
      serve: (stream) => stream.answer(OK, counted(2_000)),
      limits: { streams: 1_000 },
    });
    using client = await RawClient.connect(served.port, { takes: 10_000 });
    for (let at = 0; at < 1_000; at += 1) client.send(headers(2 * at + 1, request(), END));
    for (let at = 0; at < 1_000; at += 1) expect((await client.answered(2 * at + 1)).length).toBe(2_000);
    expect(served.budget.held).toBe(0);
  });
});

describe('many connections', () => {
  const parts: readonly (readonly [string, (at: number) => Uint8Array[]])[] = [
    ['a part of a frame header', () => [Buffer.alloc(4)]],
    ['a frame header, and nothing of the frame', () => [cutShort(Type.DATA, 0, 1, 16_384, 0)]],
    ['all but the end of a frame', () => [cutShort(Type.DATA, 0, 1, 16_384, 16_000)]],
    [
      'a header block without its end',
      () => [frame(Type.HEADERS, 0, 1, Buffer.alloc(16_000)), continuation(1, Buffer.alloc(16_000))],
    ],
  ];
  test.each(parts)('each with %s: what they cost is bounded, and ends', async (_what, say) => {
    let now = 1_000;
    await using served = await serving({ bounds: { frameMs: 10_000 }, now: () => now });
    const before = memoryInUse();
    const clients = await crowd(served.port, 200, say);
    try {
      expect(await bystander(served.port)).toBe('200');
      // 32 KiB each is what they sent, and some for being there, on both sides.
      expect(memoryInUse() - before).toBeLessThan(200 * 160 * 1024);
      expect(served.budget.held).toBeLessThanOrEqual(200 * 48 * 1024);
      now += 11_000;
      for (const connection of served.connections) connection.sweep(now);
      await Promise.all(clients.map((client) => client.ended()));
      expect(new Set(served.ends.map(({ code }) => code))).toEqual(new Set([ErrorCode.ENHANCE_YOUR_CALM]));
    } finally {
      leave(clients);
    }
    await served.quiet();
    expect(served.budget.held).toBe(0);
  });

  test('each with requests that run: those of others are answered', async () => {
    const serve: Serve = (stream, connection) =>
      (stream.line.path === '/bystander' ? echo : ponder)(stream, connection);
    await using served = await serving({ serve });
    const clients = await crowd(served.port, 100, () =>
      Array.from({ length: 20 }, (_, at) => headers(2 * at + 1, request(), END)),
    );
    await eventually(() => served.open === 2_000, 'all to be begun');
    expect(await bystander(served.port)).toBe('200');
    leave(clients);
    await eventually(() => served.open === 0, 'all to be given up');
  });

  test('that come and go without a word, or in the middle of one', async () => {
    await using served = await serving({ serve: ponder });
    const bytes = Buffer.concat([
      headers(1, request()),
      data(1, 'x'),
      headers(3, blockOf(request()), END),
      reset(3),
    ]);
    for (let round = 0; round < 4; round += 1) {
      const clients = await crowd(served.port, 50, (at) => [bytes.subarray(0, at + 1)]);
      for (const [at, { socket }] of clients.entries()) {
        if (at % 2 === 0) socket.resetAndDestroy();
        else socket.end();
      }
      await served.quiet();
      leave(clients);
    }
    expect(served.open).toBe(0);
    expect(served.budget.held).toBe(0);
  });
});
