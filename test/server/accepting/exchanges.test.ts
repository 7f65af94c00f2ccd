import { once } from 'node:events';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, test } from 'vitest';
import { Backlog } from '../../../src/server/accepting/backlog.ts';
import { doing, PassedExchanges, RemoteExchange } from '../../../src/server/accepting/exchanges.ts';
import type { FromAccepting, ToAccepting } from '../../../src/server/accepting/protocol.ts';
import type { Peer } from '../../../src/server/peer.ts';
import { Http1Exchange } from '../../../src/server/transport/http1.ts';

/** Both halves of requests that are passed on, over a real server and with messages that are cloned as between threads. */

const peer: Peer = { loopback: true, certified: undefined, address: '127.0.0.1' };

async function passing(serve: (exchange: RemoteExchange) => unknown) {
  const remotes = new Map<number, RemoteExchange>();
  const toMain = (message: FromAccepting): void => {
    const told = structuredClone(message);
    if (typeof told === 'string') return;
    if ('asked' in told) {
      const { exchange: id, asked } = told;
      const remote = new RemoteExchange(asked, peer, doing(id, toThread));
      remotes.set(id, remote);
      serve(remote);
    } else if ('heard' in told) remotes.get(told.exchange)?.hear(told.heard);
  };
  const toThread = (message: ToAccepting): void => {
    const told = structuredClone(message);
    setImmediate(() => 'does' in told && passed.do(told.exchange, told.does));
  };
  const passed = new PassedExchanges(toMain, new Backlog());
  const server = http.createServer((request, response) =>
    passed.pass(new Http1Exchange(request, response, peer), 1),
  );
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      server.close();
    },
  };
}

test('what cannot be answered so ends the exchange, and not the thread', async () => {
  await using place = await passing((exchange) => {
    exchange.respond(200, new Headers());
    exchange.write(Buffer.from('a')).catch(() => undefined);
    exchange.respond(200, new Headers({ late: 'x' }));
  });
  await expect(fetch(place.url).then((response) => response.text())).rejects.toThrow();
});

test('a part of a body is sent without what lies beside it in memory', async () => {
  const parts: Uint8Array[] = [];
  await using place = await passing(async (exchange) => {
    for (let part = await exchange.next(); part; part = await exchange.next()) parts.push(part);
    const answer = Buffer.from('left secret right').subarray(5, 11);
    await exchange.write(answer);
    expect(answer.toString()).toBe('secret');
    exchange.end();
  });
  const response = await fetch(place.url, { method: 'POST', body: 'asked' });
  expect(await response.text()).toBe('secret');
  expect(parts.map((part) => [String(Buffer.from(part)), part.buffer.byteLength])).toEqual([['asked', 5]]);
});

test('whoever waits for a client that has gone hears of it, and what comes later is nobody’s trouble', async () => {
  const heard = Promise.withResolvers<unknown>();
  const closed = Promise.withResolvers<void>();
  let remote: RemoteExchange | undefined;
  await using place = await passing((exchange) => {
    remote = exchange;
    exchange.onClosed(() => closed.resolve());
    void exchange.next().then(() => exchange.next().catch(heard.resolve));
  });
  const request = http.request(place.url, { method: 'POST', headers: { 'content-length': '10' } });
  request.on('error', () => undefined);
  request.write('12345');
  request.flushHeaders();
  await new Promise((resolve) => setTimeout(resolve, 50));
  request.destroy();
  expect(await heard.promise).toMatchObject({ code: 'cancelled' });
  await closed.promise;
  remote?.answer(200, new Headers(), 'late');
  remote?.destroy();
  await expect(remote?.next()).rejects.toMatchObject({ code: 'cancelled' });
  await expect(remote?.write(new Uint8Array(1))).rejects.toMatchObject({ code: 'cancelled' });
});
