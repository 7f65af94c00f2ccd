import http2 from 'node:http2';
import { expect, test } from 'vitest';
import { doing, PassedExchanges, RemoteExchange } from '../../../src/server/accepting/exchanges.ts';
import type { FromAccepting } from '../../../src/server/accepting/protocol.ts';
import { Listener } from '../../../src/server/listener.ts';
import type { Peer } from '../../../src/server/peer.ts';
import type { Exchange } from '../../../src/server/transport/exchange.ts';

/** Requests whose connections are one thread's and which are served by another, with both halves in this one. */

const NOBODY: Peer = { loopback: false, certified: undefined };

async function passing(serve: (exchange: RemoteExchange) => void) {
  const open = new Map<number, RemoteExchange>();
  const hear = (message: FromAccepting): void => {
    if (typeof message === 'string') return;
    if ('heard' in message) open.get(message.exchange)?.hear(message.heard);
    else if ('asked' in message) {
      const { exchange: id, asked } = message;
      const remote = new RemoteExchange(
        asked,
        NOBODY,
        doing(id, (done) => later(() => 'does' in done && passed.do(done.exchange, done.does))),
      );
      open.set(id, remote);
      serve(remote);
    }
  };
  // As messages go, each in a turn of its own and as a copy.
  const later = (run: () => unknown): void => void setImmediate(run);
  const passed = new PassedExchanges((message) => later(() => hear(structuredClone(message))));
  const listener = new Listener({ request: (exchange: Exchange) => passed.pass(exchange, 1) });
  const port = await listener.listen({ host: '127.0.0.1', port: 0 });
  return { url: `http://127.0.0.1:${port}`, [Symbol.asyncDispose]: () => listener[Symbol.asyncDispose]() };
}

test('a body comes over as it is sent, and an answer in parts goes back', async () => {
  await using served = await passing(async (exchange) => {
    exchange.respond(200, new Headers({ 'x-by': exchange.method }));
    for (;;) {
      const part = await exchange.next();
      if (!part) break;
      await exchange.write(part);
    }
    exchange.end();
  });
  const body = Buffer.alloc(3_000_000, 'abc');
  const answer = await fetch(served.url, { method: 'PUT', body });
  expect([answer.status, answer.headers.get('x-by')]).toEqual([200, 'PUT']);
  expect(Buffer.from(await answer.arrayBuffer()).equals(body)).toBe(true);
});

test('whoever is gone is heard of: what is read or written fails, and once', async () => {
  const seen: string[] = [];
  const closed = Promise.withResolvers<void>();
  await using served = await passing(async (exchange) => {
    exchange.onClosed(() => {
      seen.push('closed');
      closed.resolve();
    });
    session.destroy();
    await exchange.next().catch(() => seen.push('next'));
  });
  const session = http2.connect(served.url);
  session.on('error', () => undefined);
  session.request({ ':method': 'POST' }).on('error', () => undefined);
  await closed.promise;
  await Promise.resolve();
  expect(seen.toSorted()).toEqual(['closed', 'next']);
});

test.each(['1.1', '2.0'])(
  'an answer that cannot be sent ends its own request alone: HTTP/%s',
  async (version) => {
    await using served = await passing((exchange) =>
      exchange.answer(exchange.url === '/bad' ? 1_000 : 200, new Headers(), 'text'),
    );
    const get = async (path: string): Promise<string> => {
      if (version === '1.1') return await (await fetch(served.url + path)).text();
      const session = http2.connect(served.url);
      try {
        const stream = session.request({ ':path': path });
        let text = '';
        for await (const part of stream) text += String(part);
        return text;
      } finally {
        session.destroy();
      }
    };
    await get('/bad').catch(() => 'ended');
    expect(await get('/good')).toBe('text');
  },
);
