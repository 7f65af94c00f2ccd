import { describe, expect, test } from 'vitest';
import { ErrorCode } from '../../../src/http2/errors.ts';
import { Flag, Type } from '../../../src/http2/wire/frames.ts';
import { mirror, ponder, type Serve, serving } from '../echo.ts';
import { RawClient } from '../raw-client.ts';
import {
  data,
  END,
  frame,
  goAway,
  headers,
  literals,
  ping,
  priority,
  request,
  reset,
  settings,
  windowUpdate,
} from '../wire.ts';
import { bystander, flood } from './bystander.ts';

/** Frames that cost their sender nothing, and a server some work each. In these tests no time passes. */

const now = (): number => 0;
const serve: Serve = (stream, connection) => {
  if (stream.line.path === '/never') return ponder(stream, connection);
  // It is given up by the server: what comes on it afterwards goes for nothing.
  if (stream.line.path === '/refused') return stream.reset(ErrorCode.REFUSED_STREAM);
  mirror(stream, connection);
};

const many = settings(...Array.from({ length: 2_000 }, () => ['INITIAL_WINDOW_SIZE', 65_535] as const));
/** Streams 1, which runs, 3, which was answered, and 5, which was refused, are there. */
const floods: readonly (readonly [what: string, bytes: Buffer | ((at: number) => Buffer), most: number])[] = [
  ['CVE-2019-9512, PING', ping(), 1_100],
  ['answers to PING that were not asked for', frame(Type.PING, Flag.ACK, 0, Buffer.alloc(8)), 0],
  ['CVE-2019-9515, SETTINGS', settings(['INITIAL_WINDOW_SIZE', 65_535]), 110],
  ['SETTINGS without a setting', settings(), 110],
  ['SETTINGS that move all windows up and down', (at) => settings(['INITIAL_WINDOW_SIZE', at % 2]), 110],
  ['SETTINGS of two thousand settings', many, 110],
  ['CVE-2019-9513, PRIORITY', priority(1, 3), 0],
  ['PRIORITY of streams that nobody began', (at) => priority(2 * at + 1_001, 1), 0],
  ['frames of an unknown type', frame(0xbb, 0, 0), 0],
  ['frames of an unknown type, on a stream', frame(0xbb, 0xff, 1, Buffer.alloc(100)), 0],
  ['CVE-2019-9511, WINDOW_UPDATE of 1 for all', windowUpdate(0, 1), 0],
  ['WINDOW_UPDATE of 1 for a stream that runs', windowUpdate(1, 1), 0],
  ['WINDOW_UPDATE of 1 for a stream that is over', windowUpdate(3, 1), 0],
  ['WINDOW_UPDATE of 1 for a stream that was refused', windowUpdate(5, 1), 0],
  ['RST_STREAM of a stream that is over', reset(3), 0],
  ['RST_STREAM of a stream that was refused', reset(5), 0],
  ['CVE-2019-9518, DATA of nothing', data(1), 0],
  ['DATA of nothing but padding', data(1, '', { pad: 0 }), 200],
  ['DATA of nothing on a stream that was refused', data(5), 0],
  ['trailers of a stream that was refused', headers(5, literals([['a', 'b']]), END), 0],
  ['empty trailers of a stream that was refused', headers(5, [], END), 0],
  ['GOAWAY', goAway(), 10],
];

describe('floods of frames end the connection, after a bounded number of answers', () => {
  test.each(floods)('%s', async (_what, bytes, most) => {
    await using served = await serving({ serve, now });
    using client = await RawClient.connect(served.port);
    client.send(headers(1, request('/never')), headers(3, request(), END), headers(5, request('/refused')));
    await client.answered(3);
    await client.answered(5);
    await client.settled();
    const before = client.frames.length;
    await flood(client, 40_000, typeof bytes === 'function' ? bytes : () => bytes);
    const code = await client.ended();
    expect(code).toBe(ErrorCode.ENHANCE_YOUR_CALM);
    expect(client.frames.length - before - 1).toBeLessThanOrEqual(most);
    expect(served.open).toBe(0);
    expect(await bystander(served.port)).toBe('200');
  });
});

describe('what clients do in good faith is none', () => {
  test('a PING with each answer, as gRPC clients measure a path', async () => {
    await using served = await serving({ serve, now });
    using client = await RawClient.connect(served.port, { takes: 30_000 });
    for (let id = 1; id < 4_001; id += 2) {
      client.send(headers(id, request(), END), ping());
      if (id % 100 === 99) await client.answered(id);
    }
    await client.settled();
    expect(client.goAway).toBe(undefined);
  });

  test('WINDOW_UPDATE for the stream and for all with each answer, also once it is over', async () => {
    await using served = await serving({ serve, now });
    using client = await RawClient.connect(served.port, { takes: 30_000 });
    for (let id = 1; id < 6_001; id += 2) {
      client.send(headers(id, request(), END), windowUpdate(0, 100), windowUpdate(id, 100));
      if (id % 100 !== 99) continue;
      await client.answered(id);
      client.send(windowUpdate(id, 100), reset(id), priority(id));
    }
    await client.settled();
    expect(client.goAway).toBe(undefined);
  });

  test('an empty DATA frame with each request, and a priority', async () => {
    await using served = await serving({ serve, now });
    using client = await RawClient.connect(served.port, { takes: 30_000 });
    for (let id = 1; id < 4_001; id += 2) {
      client.send(headers(id, request()), data(id), priority(id), data(id, 'x'), data(id, '', END));
      if (id % 100 === 99) await client.answered(id);
    }
    await client.settled();
    expect(client.goAway).toBe(undefined);
  });

  test('what was too much at once is not too much over a time', async () => {
    let time = 0;
    await using served = await serving({ serve, now: () => time });
    using client = await RawClient.connect(served.port, { takes: 30_000 });
    for (let second = 0; second < 100; second += 1) {
      time += 1_000;
      client.send(...Array.from({ length: 15 }, () => ping()), settings());
      await client.settled();
    }
    expect(client.goAway).toBe(undefined);
    expect(client.count(Type.SETTINGS)).toBeGreaterThan(100);
  });
});
