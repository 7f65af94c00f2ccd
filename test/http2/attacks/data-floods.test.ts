import { describe, expect, test } from 'vitest';
import { ErrorCode } from '../../../src/http2/errors.ts';
import { Type } from '../../../src/http2/wire/frames.ts';
import { echo, type Serve, serving } from '../echo.ts';
import { RawClient } from '../raw-client.ts';
import { data, headers, request, reset } from '../wire.ts';
import { bystander, flood, memoryInUse } from './bystander.ts';

/** Bodies in crumbs: they may come, each is worth its bytes, and nobody else pays for them. */

const MB = 1024 * 1024;
const CRUMBS = 60_000;

/** What `/sink` has read. */
function sink() {
  const read = { bytes: 0, parts: 0 };
  const serve: Serve = (stream, connection) => {
    if (stream.line.path === '/bystander') return echo(stream, connection);
    stream.receive({
      data(chunk) {
        read.bytes += chunk.length;
        read.parts += 1;
      },
      end: () => stream.end(),
      closed: () => stream.settle(),
    });
    if (stream.line.path === '/deaf') stream.pause();
  };
  return { read, serve };
}

describe('CVE-2019-9517 and others: DATA of a byte', () => {
  test('that is read: few answers, nothing held, others are served meanwhile', async () => {
    const { read, serve } = sink();
    await using served = await serving({ serve });
    using client = await RawClient.connect(served.port);
    client.send(headers(1, request('/sink')));
    await client.settled();
    const before = memoryInUse();
    await flood(client, CRUMBS / 2, () => data(1, 'x'));
    expect(await bystander(served.port)).toBe('200');
    await flood(client, CRUMBS / 2, () => data(1, 'x'));
    await client.settled();
    expect(read.bytes).toBe(CRUMBS);
    expect(memoryInUse() - before).toBeLessThan(16 * MB);
    expect(served.budget.most).toBe(0);
    // Windows are opened in steps of a half.
    expect(client.count(Type.WINDOW_UPDATE)).toBeLessThan(10);
  });

  test('that nobody reads: held in one piece, to the end of the window', async () => {
    const { serve } = sink();
    await using served = await serving({ serve });
    using client = await RawClient.connect(served.port);
    client.send(headers(1, request('/deaf')));
    await client.settled();
    const before = memoryInUse();
    await flood(client, CRUMBS, () => data(1, 'x'));
    await client.settled();
    // The client of this test and its frames are in the same process.
    expect(memoryInUse() - before).toBeLessThan(16 * MB);
    expect(served.budget.held).toBeLessThanOrEqual(65_536);
    await flood(client, 6_000, () => data(1, 'x'));
    expect(await client.answered(1)).toMatchObject({ reset: ErrorCode.FLOW_CONTROL_ERROR });
    expect(served.budget.held).toBe(0);
  });

  test('on a hundred streams that nobody reads: no more is held than all windows together, or than there is', async () => {
    const { serve } = sink();
    await using served = await serving({
      serve,
      budgetBytes: 600_000,
      limits: { connectionWindow: 500_000 },
    });
    using client = await RawClient.connect(served.port);
    for (let at = 0; at < 100; at += 1) client.send(headers(2 * at + 1, request('/deaf')));
    await flood(client, CRUMBS, (at) => data(2 * (at % 100) + 1, Buffer.alloc(8)));
    await client.settled();
    expect(served.budget.held).toBeGreaterThanOrEqual(480_000);
    expect(served.budget.most).toBeLessThanOrEqual(600_000);
    expect(await bystander(served.port)).toBe('200');
    for (let at = 0; at < 100; at += 1) client.send(reset(2 * at + 1));
    await client.settled();
    expect(served.budget.held).toBe(0);
  });

  test('on a stream that is over: it goes for nothing, and the window of all is given back', async () => {
    await using served = await serving({ serve: (stream) => stream.reset(ErrorCode.REFUSED_STREAM) });
    using client = await RawClient.connect(served.port);
    client.send(headers(1, request()));
    await client.answered(1);
    for (let round = 0; round < 10; round += 1) {
      await flood(client, 40, () => data(1, Buffer.alloc(16_384)));
      await client.settled();
    }
    expect(served.budget.most).toBe(0);
    expect(client.count(Type.RST_STREAM)).toBe(1);
  });

  test('padding of 255 bytes to each', async () => {
    const { read, serve } = sink();
    await using served = await serving({ serve });
    using client = await RawClient.connect(served.port);
    client.send(headers(1, request('/sink')));
    for (let round = 0; round < 40; round += 1) {
      await flood(client, 200, () => data(1, 'x', { pad: 255 }));
      await client.settled();
    }
    expect(read.bytes).toBe(8_000);
    expect(client.count(Type.WINDOW_UPDATE)).toBeLessThan(120);
    expect(served.budget.held).toBe(0);
  });
});
