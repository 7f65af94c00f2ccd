import { describe, expect, test } from 'vitest';
import { ErrorCode } from '../../../src/http2/errors.ts';
import { eventually, OK, type Serve, serving, turns } from '../echo.ts';
import { RawClient } from '../raw-client.ts';
import { catchEscaped } from '../watched.ts';
import { data, END, headers, request, reset, settings, windowUpdate } from '../wire.ts';
import { fault, or, pouring, quietly, receiving, throws } from './faulty.ts';

/** Receivers that throw when they are told that all is over: there is nothing left that it could cost. */

const asked = headers(1, request('/bad'), END);

/** Whatever a stream is closed by. */
const closings: readonly (readonly [what: string, serve: Serve, bytes: Buffer[]])[] = [
  ['given up by the client', receiving({ closed: throws }), [asked, reset(1)]],
  [
    'given up for DATA after its end',
    receiving({ closed: throws }),
    [headers(1, request('/bad')), data(1, '', END), data(1, 'x')],
  ],
  ['given up for a window that opens by nothing', receiving({ closed: throws }), [asked, windowUpdate(1, 0)]],
  [
    'given up for trailers that are none',
    receiving({ closed: throws }),
    [headers(1, request('/bad')), headers(1, [[':path', '/']], END)],
  ],
  [
    'given up for a length that it does not have',
    receiving({ closed: throws }),
    [headers(1, request('/bad', [['content-length', '1']])), data(1, 'xx')],
  ],
  [
    'given up for what it threw before',
    receiving({ closed: throws, data: throws }),
    [headers(1, request('/bad')), data(1, 'xx')],
  ],
  [
    'given up for what it threw when it waited',
    receiving({ closed: throws, waits: throws }),
    [headers(1, request('/bad'))],
  ],
  [
    'given up for what it threw when it could go on',
    pouring({ closed: throws, drained: throws }),
    [asked, windowUpdate(1, 1_000)],
  ],
  [
    'answered, with the request still to come',
    or((stream) => {
      stream.receive({ ...quietly, closed: throws });
      stream.answer(OK);
    }),
    [headers(1, request('/bad'))],
  ],
  [
    'answered, when the client takes the last of it',
    or((stream) => {
      stream.receive({ ...quietly, closed: throws });
      stream.answer(OK, Buffer.alloc(100));
    }),
    [asked, windowUpdate(1, 1_000)],
  ],
];

describe('a receiver that throws when it is closed costs nobody anything', () => {
  test.each(closings)('of a stream that is %s', async (_what, serve, bytes) => {
    using escaped = catchEscaped();
    await using served = await serving({ serve, leavesOpen: true });
    using client = await RawClient.connect(served.port, { settings: [['INITIAL_WINDOW_SIZE', 10]] });
    client.send(...bytes);
    await client.settled();
    client.send(settings(['INITIAL_WINDOW_SIZE', 10_000]), headers(3, request('/'), END));
    expect((await client.answered(3)).status).toBe('200');
    await client.settled();
    expect(client.goAway).toBe(undefined);
    expect(served.failures.splice(0)).toContain(fault);
    expect(escaped.errors).toEqual([]);
  });

  test('of one that is given up because nobody takes its answer', async () => {
    using escaped = catchEscaped();
    let now = 1_000;
    const serve: Serve = or((stream) => {
      stream.receive({ ...quietly, closed: throws });
      stream.answer(OK, Buffer.alloc(100));
    });
    await using served = await serving({ serve, now: () => now, bounds: { unreadMs: 10_000 } });
    using client = await RawClient.connect(served.port, { settings: [['INITIAL_WINDOW_SIZE', 10]] });
    client.send(asked);
    await client.settled();
    for (let turn = 0; turn < 3; turn += 1) {
      now += 10_000;
      try {
        served.connections[0]?.sweep(now);
      } catch (error) {
        escaped.errors.push(error);
      }
    }
    await client.answered(1);
    expect(served.failures.splice(0)).toEqual([fault]);
    expect(escaped.errors).toEqual([]);
  });

  test('of one that is given up for what it threw when the socket could take more, and others go on', async () => {
    using escaped = catchEscaped();
    const pour: Serve = (stream) => {
      let left = 100;
      stream.respond(OK);
      const write = (): void => {
        while (left > 0) {
          left -= 1;
          if (!stream.write(Buffer.alloc(60_000))) return;
        }
        stream.end();
      };
      stream.receive({ ...quietly, end: write, drained: write });
    };
    const bad: Serve = (stream) => {
      stream.respond(OK);
      stream.receive({ ...quietly, drained: throws, closed: throws });
      while (stream.write(Buffer.alloc(60_000)));
    };
    await using served = await serving({
      serve: (stream, connection) => (stream.line.path === '/pour' ? pour : bad)(stream, connection),
    });
    using client = await RawClient.connect(served.port, { settings: [['INITIAL_WINDOW_SIZE', 2 ** 30]] });
    await client.settled();
    client.socket.pause();
    client.send(
      windowUpdate(0, 2 ** 30),
      headers(1, request('/pour'), END),
      headers(3, request('/bad'), END),
    );
    await eventually(() => served.streams.length === 2, 'the requests to be read');
    await turns(20);
    client.socket.resume();
    expect((await client.answered(3)).reset).toBe(ErrorCode.INTERNAL_ERROR);
    expect(await client.answered(1)).toMatchObject({ isEnded: true, length: 6_000_000 });
    served.failures.splice(0);
    expect(escaped.errors).toEqual([]);
  });

  test.each([
    ['vanishes', (client: RawClient) => client.socket.resetAndDestroy()],
    ['ends', (client: RawClient) => client.socket.end()],
    ['breaks the protocol', (client: RawClient) => client.send(data(2, 'x'))],
  ])('of all streams when the client %s', async (_what, end) => {
    using escaped = catchEscaped();
    await using served = await serving({ serve: receiving({ closed: throws }), leavesOpen: true });
    using client = await RawClient.connect(served.port);
    client.send(asked, headers(3, request('/bad')), headers(5, request('/bad')));
    await client.settled();
    end(client);
    await served.quiet();
    expect(served.failures.splice(0)).toEqual([fault, fault, fault]);
    expect(escaped.errors).toEqual([]);
    expect(served.streams.every(({ isClosed }) => isClosed)).toBe(true);
  });
});
