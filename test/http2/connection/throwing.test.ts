import { describe, expect, test } from 'vitest';
import { ErrorCode } from '../../../src/http2/errors.ts';
import { eventually, OK, type Serve, serving, turns } from '../echo.ts';
import { RawClient } from '../raw-client.ts';
import { catchEscaped } from '../watched.ts';
import { data, END, headers, request, settings, windowUpdate } from '../wire.ts';
import { fault, or, pouring, quietly, receiving, throws } from './faulty.ts';

/** Handlers that throw: each costs its own stream, is told of, and nothing else happens. */

const { INTERNAL_ERROR } = ErrorCode;

const asked = headers(1, request('/bad'), END);
const cases: readonly (readonly [what: string, serve: Serve, bytes: Buffer[]])[] = [
  ['when it is called', or(throws), [asked]],
  [
    'when it is called, of a request with a body',
    or(throws),
    [headers(1, request('/bad')), data(1, 'x', END)],
  ],
  ['at data', receiving({ data: throws }), [headers(1, request('/bad')), data(1, 'x')]],
  ['at data that ends it', receiving({ data: throws }), [headers(1, request('/bad')), data(1, 'x', END)]],
  ['at the end', receiving({ end: throws }), [asked]],
  ['at the end by DATA', receiving({ end: throws }), [headers(1, request('/bad')), data(1, '', END)]],
  ['at the end by trailers', receiving({ end: throws }), [headers(1, request('/bad')), headers(1, [], END)]],
  ['when it waits', receiving({ waits: throws }), [headers(1, request('/bad'))]],
  ['when it may go on, by WINDOW_UPDATE', pouring({ drained: throws }), [asked, windowUpdate(1, 1_000)]],
  [
    'when it may go on, by SETTINGS',
    pouring({ drained: throws }),
    [asked, settings(['INITIAL_WINDOW_SIZE', 1_000])],
  ],
];

describe('a handler that throws costs its stream, and no other', () => {
  test.each(cases)('%s', async (_what, serve, bytes) => {
    using escaped = catchEscaped();
    await using served = await serving({ serve });
    using client = await RawClient.connect(served.port, { settings: [['INITIAL_WINDOW_SIZE', 10]] });
    client.send(...bytes, windowUpdate(0, 1));
    expect((await client.answered(1)).reset).toBe(INTERNAL_ERROR);
    client.send(settings(['INITIAL_WINDOW_SIZE', 10_000]), headers(3, request('/'), END));
    expect((await client.answered(3)).status).toBe('200');
    await client.settled();
    expect(served.failures.splice(0)).toEqual([fault]);
    expect(client.frames.filter(({ type, id }) => type === 3 && id === 1)).toHaveLength(1);
    expect(served.open).toBe(0);
    expect(escaped.errors).toEqual([]);
  });

  test('where the window of all holds it up, too', async () => {
    using escaped = catchEscaped();
    const serve = or((stream) => {
      stream.respond(OK);
      stream.receive({ ...quietly, drained: throws });
      stream.write(Buffer.alloc(70_000));
    });
    await using served = await serving({ serve });
    using client = await RawClient.connect(served.port, { settings: [['INITIAL_WINDOW_SIZE', 100_000]] });
    client.send(asked);
    await client.settled();
    client.send(windowUpdate(0, 100_000));
    expect((await client.answered(1)).reset).toBe(INTERNAL_ERROR);
    client.send(headers(3, request('/'), END));
    expect((await client.answered(3)).status).toBe('200');
    expect(served.failures.splice(0)).toEqual([fault]);
    expect(escaped.errors).toEqual([]);
  });

  test('where the socket holds it up, too', async () => {
    using escaped = catchEscaped();
    const serve = or((stream) => {
      stream.respond(OK);
      stream.receive({ ...quietly, drained: throws });
      while (stream.write(Buffer.alloc(60_000)));
    });
    await using served = await serving({ serve });
    using client = await RawClient.connect(served.port, { settings: [['INITIAL_WINDOW_SIZE', 2 ** 30]] });
    await client.settled();
    client.socket.pause();
    client.send(windowUpdate(0, 2 ** 30), asked);
    await eventually(() => served.streams.length === 1, 'the request to be read');
    await turns(20);
    client.socket.resume();
    expect((await client.answered(1)).reset).toBe(INTERNAL_ERROR);
    client.send(headers(3, request('/'), END));
    expect((await client.answered(3)).status).toBe('200');
    expect(served.failures.splice(0)).toEqual([fault]);
    expect(escaped.errors).toEqual([]);
  });
});
