import { describe, expect, test } from 'vitest';
import { ErrorCode } from '../../../src/http2/errors.ts';
import { echo, eventually, OK, type Serve, serving } from '../echo.ts';
import { RawClient } from '../raw-client.ts';
import { continuation, counted, data, END, frame, headers, request, reset, windowUpdate } from '../wire.ts';
import { bystander } from './bystander.ts';

/** All connections together may make a server hold so much: whoever comes when it is used up is refused, not served less well. */

const TOTAL = 1024 * 1024;
const serve: Serve = (stream, connection) => {
  const { path } = stream.line;
  if (path === '/bystander') return echo(stream, connection);
  if (path === '/answer') return stream.answer(OK, counted(200_000));
  stream.receive({ data: () => undefined, end: () => undefined, closed: () => stream.settle() });
  stream.pause();
};

const kinds: readonly (readonly [string, (id: number) => Uint8Array[]])[] = [
  [
    'bodies that nobody reads',
    (id) => [
      headers(id, request('/deaf')),
      ...Array.from({ length: 3 }, () => data(id, Buffer.alloc(16_384))),
    ],
  ],
  ['answers that nobody takes', (id) => [headers(id, request('/answer'), END)]],
];

describe('a budget that is used up by several connections', () => {
  test.each(kinds)(
    'by %s: what is beyond is refused, and it is all there again when they have gone',
    async (_what, ask) => {
      await using served = await serving({ serve, budgetBytes: TOTAL });
      const clients = await Promise.all(
        Array.from({ length: 6 }, () =>
          RawClient.connect(served.port, { settings: [['INITIAL_WINDOW_SIZE', 100]] }),
        ),
      );
      let refused = 0;
      for (const client of clients) {
        for (let at = 0; at < 10; at += 1) client.send(...ask(2 * at + 1));
        await client.settled();
        refused += [...client.answers.values()].filter(
          ({ reset }) => reset === ErrorCode.ENHANCE_YOUR_CALM,
        ).length;
      }
      expect(served.budget.most).toBeLessThanOrEqual(TOTAL);
      expect(served.budget.held).toBeGreaterThan(TOTAL / 2);
      expect(refused).toBeGreaterThan(10);
      // Who needs nothing to be held is served.
      expect(await bystander(served.port)).toBe('200');
      // One that is left makes place for others, on other connections.
      const [first, ...others] = clients as [RawClient, ...RawClient[]];
      for (let at = 0; at < 10; at += 1) first.send(reset(2 * at + 1));
      await first.settled();
      const last = others.at(-1) as RawClient;
      last.send(...ask(1_001));
      await last.settled();
      expect(last.answer(1_001).reset).toBe(undefined);
      for (const client of clients) client[Symbol.dispose]();
      await served.quiet();
      expect(served.budget.held).toBe(0);
      expect(served.open).toBe(0);
    },
  );

  test('by header blocks in parts: the connections that have one too many are ended, others go on', async () => {
    await using served = await serving({ serve, budgetBytes: 256 * 1024 });
    const clients = await Promise.all(Array.from({ length: 12 }, () => RawClient.connect(served.port)));
    for (const client of clients) {
      await client.settled();
      client.send(frame(1, 0, 1, Buffer.alloc(16_384)), continuation(1, Buffer.alloc(15_000)));
    }
    await eventually(() => served.ends.length >= 3, 'some to be ended');
    expect(await bystander(served.port)).toBe('200');
    expect(served.budget.most).toBeLessThanOrEqual(256 * 1024);
    for (const client of clients) client[Symbol.dispose]();
    await served.quiet();
    expect(served.budget.held).toBe(0);
  });

  test('what was taken is given back by all ways in which it comes to an end', async () => {
    await using served = await serving({ serve, budgetBytes: TOTAL });
    using client = await RawClient.connect(served.port, {
      settings: [['INITIAL_WINDOW_SIZE', 10]],
      takes: 1,
    });
    const deaf = (id: number): Buffer =>
      Buffer.concat([headers(id, request('/deaf')), data(id, Buffer.alloc(10_000))]);
    const ways: readonly ((id: number) => Uint8Array[])[] = [
      (id) => [deaf(id), reset(id)],
      (id) => [deaf(id), data(id, '', END), data(id, 'x')],
      (id) => [deaf(id), headers(id, [[':bad', '']], END)],
      (id) => [deaf(id), windowUpdate(id, 0)],
      (id) => [deaf(id), Buffer.concat(Array.from({ length: 6 }, () => data(id, Buffer.alloc(10_000))))],
      (id) => [headers(id, request('/answer'), END), reset(id)],
      (id) => [headers(id, request('/answer'), END), windowUpdate(id, 0)],
      (id) => [headers(id, request('/answer'), END), windowUpdate(id, 2 ** 31 - 1)],
      (id) => [headers(id, request('/answer')), reset(id)],
    ];
    for (const [at, way] of ways.entries()) {
      const id = 2 * at + 1;
      client.send(windowUpdate(0, 100_000), ...way(id));
      await client.settled();
      expect([at, served.budget.held, client.goAway]).toEqual([at, 0, undefined]);
    }
  });
});
