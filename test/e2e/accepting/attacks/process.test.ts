import { once } from 'node:events';
import net, { type AddressInfo } from 'node:net';
import { expect, test } from 'vitest';
import { eventually } from '../../server.ts';
import { acceptingOf, attacked, connected, watched } from './attacked.ts';

/** What is shared with the rest of the machine, and what a thread leaves behind. */

test('a port that somebody shares already is not shared with them', async () => {
  const other = net.createServer().listen({ host: '127.0.0.1', port: 0, reusePort: true });
  await once(other, 'listening');
  const { port } = other.address() as AddressInfo;
  await expect(attacked({ data: `127.0.0.1:${port}` })).rejects.toMatchObject({ code: 'config_invalid' });
  other.close();
});

const HEALTH = 'GET /readyz HTTP/1.1\r\nhost: a\r\n\r\n';

/** The first bytes of an answer; empty where the connection was ended. */
const asked = (socket: net.Socket): Promise<string> =>
  new Promise((resolve) => {
    socket.once('data', (chunk) => resolve(String(chunk).slice(0, 12))).once('close', () => resolve(''));
    socket.write(HEALTH);
  });

test('what threads had taken when they were killed is free again, and no more than that', async () => {
  const { value, threads } = await watched(() => attacked({ max_connections_per_address: 20 }));
  await using served = value;
  const fill = async (): Promise<string[]> => {
    const sockets = await Promise.all(Array.from({ length: 30 }, () => connected(served.data)));
    try {
      return await Promise.all(sockets.map(asked));
    } finally {
      for (const socket of sockets) socket.destroy();
    }
  };
  const ok = (answers: readonly string[]): number =>
    answers.filter((each) => each.startsWith('HTTP/1.1 ')).length;
  expect(ok(await fill())).toBe(20);
  // What ended is given back a moment after its end.
  await eventually(fill, (answers) => ok(answers) === 20);
  const held = await Promise.all(Array.from({ length: 15 }, () => connected(served.data)));
  await Promise.all(held.map(asked));
  await Promise.all(threads.map((thread) => thread.terminate()));
  expect(acceptingOf(served).ready).toBe(0);
  for (const socket of held) socket.destroy();
  const after = await eventually(
    () => fill().catch(() => []),
    (answers) => answers.length > 0,
  );
  expect(ok(after)).toBe(20);
});

test('where the last thread ends while the next one starts main accepts meanwhile', async () => {
  const { value, threads } = await watched(() => attacked());
  await using served = value;
  await threads[0]?.terminate();
  // After its rest another begins, and has not loaded its code.
  await once(process, 'worker');
  await threads[1]?.terminate();
  expect(acceptingOf(served).ready).toBe(0);
  const socket = await connected(served.data);
  expect(await asked(socket)).toBe('HTTP/1.1 200');
  socket.destroy();
  await eventually(
    async () => acceptingOf(served).ready,
    (count) => count === 2,
  );
  const again = await connected(served.data);
  expect(await asked(again)).toBe('HTTP/1.1 200');
  again.destroy();
});
