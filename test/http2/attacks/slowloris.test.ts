import { describe, expect, test } from 'vitest';
import { ErrorCode } from '../../../src/http2/errors.ts';
import { PREFACE, Type } from '../../../src/http2/wire/frames.ts';
import { echo, ponder, type Serve, serving, turns } from '../echo.ts';
import { RawClient } from '../raw-client.ts';
import {
  blockOf,
  continuation,
  cutShort,
  data,
  END,
  frame,
  greeting,
  headers,
  ping,
  request,
} from '../wire.ts';
import { bystander } from './bystander.ts';

/** Clients that take their time: each part has its own. The others' times are long, so that it is the one that counts. */

const { PROTOCOL_ERROR, ENHANCE_YOUR_CALM, NO_ERROR } = ErrorCode;
const short = 60;

describe('a client that takes its time', () => {
  test.each<[string, Uint8Array]>([
    ['says nothing', Buffer.alloc(0)],
    ['sends a part of the preface', PREFACE.subarray(0, 20)],
    ['sends the preface alone', PREFACE],
    ['sends the preface and a part of SETTINGS', greeting(['ENABLE_PUSH', 0]).subarray(0, 35)],
  ])('%s: it is not greeted for long', async (_what, bytes) => {
    await using served = await serving({ bounds: { greetingMs: short } });
    using client = await RawClient.connect(served.port, { settings: false });
    if (bytes.length > 0) client.send(bytes);
    expect(await client.ended()).toBe(PROTOCOL_ERROR);
    expect(served.ends).toMatchObject([{ code: PROTOCOL_ERROR }]);
  });

  test.each<[string, Uint8Array]>([
    ['a part of a frame header', Buffer.of(0, 0)],
    ['a frame header', cutShort(Type.DATA, 0, 1, 1_000, 0)],
    ['all but one byte of a frame', cutShort(Type.HEADERS, 5, 1, 1_000, 999)],
    ['a part of a frame of an unknown type', cutShort(0xcc, 0, 0, 16_384, 5)],
    ['a header block without its end', frame(Type.HEADERS, 0, 1, blockOf(request()))],
    [
      'a header block and a part of CONTINUATION',
      Buffer.concat([
        frame(Type.HEADERS, 0, 1, blockOf(request())),
        cutShort(Type.CONTINUATION, 4, 1, 100, 10),
      ]),
    ],
  ])('sends %s: it is ended', async (_what, bytes) => {
    await using served = await serving({ bounds: { frameMs: short } });
    using client = await RawClient.connect(served.port);
    await client.settled();
    client.send(bytes);
    expect(await client.ended()).toBe(ENHANCE_YOUR_CALM);
    expect(await bystander(served.port)).toBe('200');
  });

  test('sends a frame in drops: each drop wins it no time', async () => {
    let now = 1_000;
    await using served = await serving({ bounds: { frameMs: 10_000 }, now: () => now });
    using client = await RawClient.connect(served.port);
    await client.settled();
    const bytes = cutShort(Type.DATA, 0, 1, 16_384, 16_384);
    for (let at = 0; at < 20 && !client.hasEnded; at += 1) {
      client.send(bytes.subarray(at, at + 1));
      await turns(5);
      now += 1_000;
      served.connections[0]?.sweep(now);
    }
    expect(await client.ended()).toBe(ENHANCE_YOUR_CALM);
    expect(now).toBeLessThan(15_000);
  });

  test('sends frames in drops, so that each ends in time: it is served, for what it is worth', async () => {
    let now = 1_000;
    await using served = await serving({ serve: echo, bounds: { frameMs: 10_000 }, now: () => now });
    using client = await RawClient.connect(served.port);
    await client.settled();
    const frames = [headers(1, request()), data(1, 'x'), data(1, 'y'), data(1, 'z', END)];
    // Each piece but the last ends within a frame: there is never a moment between two.
    for (const [at, frame] of frames.entries()) {
      client.send(frame.subarray(at === 0 ? 0 : 5), frames[at + 1]?.subarray(0, 5) ?? Buffer.alloc(0));
      await turns(5);
      now += 9_000;
      served.connections[0]?.sweep(now);
    }
    expect((await client.answered(1)).body.toString()).toBe('xyz');
  });

  test('sends CONTINUATION after CONTINUATION, each in time: there are only so many', async () => {
    let now = 1_000;
    await using served = await serving({ bounds: { frameMs: 10_000, continuations: 4 }, now: () => now });
    using client = await RawClient.connect(served.port);
    await client.settled();
    client.send(frame(Type.HEADERS, 0, 1, blockOf(request())));
    for (let at = 0; at < 10 && !client.hasEnded; at += 1) {
      client.send(continuation(1, Buffer.alloc(0)));
      await turns(5);
      now += 9_000;
      served.connections[0]?.sweep(now);
    }
    expect(await client.ended()).toBe(ENHANCE_YOUR_CALM);
    expect(now).toBeLessThan(60_000);
  });

  test('never sends a body: its handler hears at once that it waits, and may give it up', async () => {
    const waits: string[] = [];
    const serve: Serve = (stream) =>
      stream.receive({
        data: () => undefined,
        end: () => stream.end(),
        closed: () => stream.settle(),
        waits() {
          waits.push(stream.line.path);
          setTimeout(() => stream.reset(ErrorCode.CANCEL), 20);
        },
      });
    await using served = await serving({ serve });
    using client = await RawClient.connect(served.port);
    client.send(headers(1, request('/none')), headers(3, request('/some')), data(3, 'x'));
    client.send(headers(5, request('/all')), data(5, 'x', END), headers(7, request('/bare'), END));
    for (const id of [1, 3]) expect(await client.answered(id)).toMatchObject({ reset: ErrorCode.CANCEL });
    expect(waits).toEqual(expect.arrayContaining(['/none', '/some']));
    expect(waits).not.toContain('/bare');
  });

  test('never asks: it is told that nobody waits for it, without a reproach', async () => {
    await using served = await serving({ bounds: { unusedMs: short } });
    using client = await RawClient.connect(served.port);
    expect(await client.ended()).toBe(NO_ERROR);
    expect(client.goAway?.lastId).toBe(0);
    expect(served.ends).toEqual([]);
    await client.closed();
  });

  test('asks no more: it is told so after a longer time, counted from the last', async () => {
    let now = 1_000;
    await using served = await serving({ bounds: { unusedMs: 10_000, idleMs: 60_000 }, now: () => now });
    using client = await RawClient.connect(served.port);
    client.send(headers(1, request(), END));
    await client.answered(1);
    served.connections[0]?.sweep(now);
    now += 59_000;
    served.connections[0]?.sweep(now);
    await client.settled();
    served.connections[0]?.sweep(now);
    now += 60_000;
    served.connections[0]?.sweep(now);
    expect(await client.ended()).toBe(NO_ERROR);
  });

  test('waited long for its last answer: it has time to ask again', async () => {
    let now = 1_000;
    await using served = await serving({ serve: ponder, bounds: { idleMs: 60_000 }, now: () => now });
    using client = await RawClient.connect(served.port);
    client.send(headers(1, request(), END));
    await client.settled();
    served.connections[0]?.sweep(now);
    now += 600_000;
    served.connections[0]?.sweep(now);
    served.streams[0]?.reset(ErrorCode.CANCEL);
    await client.answered(1);
    now += 1_000;
    served.connections[0]?.sweep(now);
    await client.settled();
    expect(client.goAway).toBe(undefined);
  });

  test('keeps its half open when all is said: it is closed all the same', async () => {
    await using served = await serving({ bounds: { lingerMs: short } });
    using client = await RawClient.connect(served.port, { allowHalfOpen: true });
    client.send(data(2, 'x'));
    await client.ended();
    for (let at = 0; at < 50 && served.server.size > 0; at += 1) {
      client.send(ping());
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    await served.quiet();
  });

  test('goes on to send when all is said: not much of it is read', async () => {
    await using served = await serving({ bounds: { lingerMs: 60_000 } });
    using client = await RawClient.connect(served.port, { allowHalfOpen: true });
    client.send(data(2, 'x'));
    await client.ended();
    for (let at = 0; at < 2_000 && !client.isClosed; at += 1) {
      client.send(Buffer.alloc(16_384));
      await new Promise((resolve) => setImmediate(resolve));
    }
    await served.quiet();
    expect(served.sockets[0]?.bytesRead).toBeLessThan(4 * 1024 * 1024);
  });
});
