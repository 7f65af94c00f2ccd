import { once } from 'node:events';
import { createServer, type Server } from 'node:net';

/**
 * Ports that others are told of before anybody listens there. The system gives none of these to who asks it for any, and
 * nobody else who takes one here gets it: while this process lives, it is held at another address of this machine.
 */
const [LOWEST, HIGHEST] = [20_000, 32_000];

/** The first of so many in a row that nobody listens on. */
export async function freePorts(count: number): Promise<number> {
  for (let round = 0; round < 200; round += 1) {
    const first = LOWEST + Math.floor(Math.random() * (HIGHEST - LOWEST - count));
    const ports = Array.from({ length: count }, (_, at) => first + at);
    const held = await Promise.all(ports.map(hold));
    if (!held.includes(undefined)) return first;
    for (const each of held) each?.close();
  }
  throw new Error('no ports are free');
}

export const freePort = (): Promise<number> => freePorts(1);

async function hold(port: number): Promise<Server | undefined> {
  const held = await listening(port, '127.0.0.2');
  const free = held && (await listening(port, '127.0.0.1'));
  if (!free) {
    held?.close();
    return undefined;
  }
  free.close();
  await once(free, 'close');
  return held;
}

/** Undefined where somebody else is. */
async function listening(port: number, host: string): Promise<Server | undefined> {
  const server = createServer().unref().listen(port, host);
  try {
    await once(server, 'listening');
    return server;
  } catch {
    return undefined;
  }
}
