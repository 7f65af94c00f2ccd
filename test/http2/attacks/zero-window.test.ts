import { describe, expect, test } from 'vitest';
import { ErrorCode } from '../../../src/http2/errors.ts';
import { answerAtOnce, echo, eventually, OK, type Serve, serving } from '../echo.ts';
import { RawClient } from '../raw-client.ts';
import { counted, END, headers, request, reset, settings, windowUpdate } from '../wire.ts';
import { bystander } from './bystander.ts';

/** CVE-2019-9511 and others: clients that ask for much and never open the window for it. */

const MB = 1024 * 1024;
const closedWindow = { settings: [['INITIAL_WINDOW_SIZE', 0]] as ['INITIAL_WINDOW_SIZE', number][] };
const large = counted(MB);
const serve: Serve = (stream, connection) => {
  if (stream.line.path === '/bystander') echo(stream, connection);
  else answerAtOnce(large)(stream, connection);
};

describe('answers for a window that stays closed', () => {
  test('wait within the bounds of a connection; those beyond are given up', async () => {
    await using served = await serving({ serve, bounds: { unsentBytes: 10 * MB } });
    using client = await RawClient.connect(served.port, closedWindow);
    for (let at = 0; at < 50; at += 1) client.send(headers(2 * at + 1, request(), END));
    await client.settled();
    const given = [...client.answers.values()].filter(({ reset }) => reset === ErrorCode.ENHANCE_YOUR_CALM);
    expect(given).toHaveLength(40);
    expect(served.budget.most).toBeLessThanOrEqual(10 * MB);
    expect(await bystander(served.port)).toBe('200');
  });

  test('are given up after a time, and their connection goes on', async () => {
    await using served = await serving({ serve, bounds: { unreadMs: 60 } });
    using client = await RawClient.connect(served.port, closedWindow);
    client.send(headers(1, request(), END), headers(3, request(), END));
    for (const id of [1, 3])
      expect(await client.answered(id)).toMatchObject({ reset: ErrorCode.CANCEL, length: 0 });
    await client.settled();
    expect(served.budget.held).toBe(0);
    expect(served.open).toBe(0);
  });

  test('also where it is the window of all that stays closed', async () => {
    await using served = await serving({ serve, bounds: { unreadMs: 60 } });
    using client = await RawClient.connect(served.port, { settings: [['INITIAL_WINDOW_SIZE', 2 ** 30]] });
    client.send(headers(1, request(), END), headers(3, request(), END));
    for (const id of [1, 3]) expect((await client.answered(id)).reset).toBe(ErrorCode.CANCEL);
    expect(served.budget.held).toBe(0);
  });

  test('are freed at once when they are given up by the client, and when it goes', async () => {
    await using served = await serving({ serve });
    using client = await RawClient.connect(served.port, closedWindow);
    for (let at = 0; at < 20; at += 1) client.send(headers(2 * at + 1, request(), END));
    await client.settled();
    expect(served.budget.held).toBe(20 * MB);
    for (let at = 0; at < 10; at += 1) client.send(reset(2 * at + 1));
    await client.settled();
    expect(served.budget.held).toBeLessThanOrEqual(10 * MB + 128 * 1024);
    client.socket.destroy();
    await served.quiet();
    expect(served.budget.held).toBe(0);
  });

  test('of windows that go up and down by SETTINGS: each byte is sent once', async () => {
    await using served = await serving({ serve: answerAtOnce(counted(3_000)) });
    using client = await RawClient.connect(served.port, closedWindow);
    client.send(headers(1, request(), END));
    for (let size = 0; size < 3_000; size += 100)
      client.send(settings(['INITIAL_WINDOW_SIZE', size]), settings(['INITIAL_WINDOW_SIZE', 0]));
    await client.settled();
    expect(client.answer(1).length).toBe(2_900);
    client.send(windowUpdate(1, 3_000));
    expect((await client.answered(1)).body).toEqual(counted(3_000));
  });

  test('a handler that writes as long as it may is told to wait, and hears when it is over', async () => {
    const heard: string[] = [];
    let written = 0;
    const serve: Serve = (stream) => {
      stream.respond(OK);
      stream.receive({
        data: () => undefined,
        end: () => undefined,
        drained: () => heard.push('drained'),
        closed() {
          heard.push('closed');
          stream.settle();
        },
      });
      do written += 1_000;
      while (stream.write(Buffer.alloc(1_000)));
    };
    await using served = await serving({ serve });
    using client = await RawClient.connect(served.port, { settings: [['INITIAL_WINDOW_SIZE', 5_500]] });
    client.send(headers(1, request(), END));
    await client.settled();
    expect(written).toBe(6_000);
    client.send(reset(1));
    await eventually(() => heard.length > 0, 'the handler to hear of it');
    expect(heard).toEqual(['closed']);
  });
});
