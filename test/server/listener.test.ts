import { once } from 'node:events';
import http from 'node:http';
import http2 from 'node:http2';
import net from 'node:net';
import { describe, expect, test } from 'vitest';
import { type Handlers, Listener, type ListenerOptions } from '../../src/server/listener.ts';
import type { Exchange } from '../../src/server/transport/exchange.ts';

const listening = async (
  request: Handlers['request'],
  options: ListenerOptions = {},
): Promise<{ listener: Listener; port: number }> => {
  const listener = new Listener({ request }, options);
  return { listener, port: await listener.listen({ host: '127.0.0.1', port: 0 }) };
};

const answer = (exchange: Exchange, text = ''): void => exchange.answer(200, new Headers(), text);

/** One HTTP/1.1 request over a connection that the agent keeps. */
const get = (port: number, agent: http.Agent): Promise<string> =>
  new Promise((resolve, reject) => {
    http
      .get({ port, host: '127.0.0.1', agent }, (response) => {
        response.resume().on('end', () => resolve(response.httpVersion));
      })
      .on('error', reject);
  });

describe('Listener', () => {
  test('tells HTTP/1.1 from HTTP/2 on one port, however the first bytes arrive', async () => {
    const { listener, port } = await listening((exchange) => answer(exchange, exchange.version));
    await using _ = listener;
    expect(await (await fetch(`http://127.0.0.1:${port}`)).text()).toBe('1.1');
    const session = http2.connect(`http://127.0.0.1:${port}`);
    const stream = session.request({ ':path': '/' });
    let text = '';
    for await (const chunk of stream) text += String(chunk);
    expect(text).toBe('2.0');
    session.close();
    // A byte at a time.
    const socket = net.connect({ port, host: '127.0.0.1', noDelay: true });
    for (const byte of 'GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n') {
      socket.write(byte);
      await new Promise((resolve) => setImmediate(resolve));
    }
    let reply = '';
    for await (const chunk of socket) reply += String(chunk);
    expect(reply).toContain('200 OK');
  });

  test.each([
    ['ours', false],
    ['Node’s', true],
  ])(
    'ends HTTP/2 connections that nobody uses, and lets a call under way finish: %s',
    async (_which, nodeHttp2) => {
      let late: (() => void) | undefined;
      const patience = { unusedMs: 100, idleMs: 200 };
      const { listener, port } = await listening((exchange) => (late = () => answer(exchange, 'late')), {
        patience,
        nodeHttp2,
      });
      await using _ = listener;
      const unused = http2.connect(`http://127.0.0.1:${port}`);
      const used = http2.connect(`http://127.0.0.1:${port}`);
      const stream = used.request({ ':path': '/' });
      await once(unused, 'close');
      late?.();
      let text = '';
      for await (const chunk of stream) text += String(chunk);
      expect(text).toBe('late');
      if (!used.closed) await once(used, 'close');
    },
  );

  test('answers bytes that are no HTTP with 400 and goes on', async () => {
    const { listener, port } = await listening((exchange) => answer(exchange));
    await using _ = listener;
    const socket = net.connect(port, '127.0.0.1');
    socket.write('PRI * but not what follows\r\n\r\n');
    let text = '';
    for await (const chunk of socket) text += String(chunk);
    expect(text).toContain('400 Bad Request');
    expect((await fetch(`http://127.0.0.1:${port}`)).status).toBe(200);
  });

  test('drains: an idle connection is ended, a request under way is answered', async () => {
    let slowly: (() => void) | undefined;
    const under = Promise.withResolvers<void>();
    const { listener, port } = await listening((exchange) => {
      if (exchange.url !== '/slow') return answer(exchange);
      slowly = () => answer(exchange, 'whole');
      under.resolve();
    });
    const agent = new http.Agent({ keepAlive: true });
    await get(port, agent);
    const slow = fetch(`http://127.0.0.1:${port}/slow`).then((response) => response.text());
    await under.promise;
    const drained = listener.drain(30_000);
    await expect(fetch(`http://127.0.0.1:${port}`)).rejects.toThrow('fetch failed');
    slowly?.();
    expect(await slow).toBe('whole');
    // Both connections are kept open by their clients: only the server ends them.
    await drained;
    agent.destroy();
  });

  test('drains: what does not end within the grace is cut off', async () => {
    const under = Promise.withResolvers<void>();
    const { listener, port } = await listening(() => under.resolve());
    const hanging = fetch(`http://127.0.0.1:${port}`);
    const cut = expect(hanging).rejects.toThrow();
    await under.promise;
    await listener.drain(10);
    await cut;
  });

  test('one peer does not get all connections, and one that ends is another’s', async () => {
    const { listener, port } = await listening((exchange) => answer(exchange), {
      connections: { total: 5, each: 3 },
    });
    await using _ = listener;
    /** Whether a connection from this address is kept: asks over it. */
    const asks = async (localAddress: string): Promise<net.Socket | undefined> => {
      const socket = net.connect({ port, host: '127.0.0.1', localAddress });
      socket.on('error', () => undefined);
      socket.write('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n');
      const answered = once(socket, 'data').then(() => socket);
      return await Promise.race([answered, once(socket, 'close').then(() => undefined)]);
    };
    const held = await Promise.all(Array.from({ length: 3 }, () => asks('127.0.0.1')));
    expect(held.every((socket) => socket !== undefined)).toBe(true);
    expect(await asks('127.0.0.1')).toBeUndefined();
    const others = [await asks('127.0.0.2'), await asks('127.0.0.2')];
    expect(others.every((socket) => socket !== undefined)).toBe(true);
    // All five are taken.
    expect(await asks('127.0.0.3')).toBeUndefined();
    held[0]?.destroy();
    let again: net.Socket | undefined;
    for (let round = 0; again === undefined && round < 100; round += 1) again = await asks('127.0.0.3');
    expect(again).toBeDefined();
    for (const socket of [...held, ...others, again]) socket?.destroy();
  });

  test('headers beyond the bound are 431, in the form of every refusal', async () => {
    const { listener, port } = await listening((exchange) => answer(exchange));
    await using _ = listener;
    const headers = { 'x-long': 'x'.repeat(40_000) };
    const response = await fetch(`http://127.0.0.1:${port}`, { headers });
    expect(response.status).toBe(431);
    expect(await response.json()).toMatchObject({ error: 'payload_too_large' });
  });

  test('says which address it cannot have', async () => {
    const { listener, port } = await listening(() => undefined);
    await using _ = listener;
    await using second = new Listener({ request: () => undefined });
    await expect(second.listen({ host: '127.0.0.1', port })).rejects.toMatchObject({
      code: 'config_invalid',
      message: expect.stringContaining(`127.0.0.1:${port}`) as string,
    });
  });
});
