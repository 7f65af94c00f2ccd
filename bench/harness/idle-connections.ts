import { once } from 'node:events';
import net from 'node:net';
import { PREFACE } from '../../src/http2/wire/frames.ts';

/** From one address a server takes a thousand. */
const FROM_ONE_ADDRESS = 1_000;
const SETTINGS = Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0]);
const ACKNOWLEDGED = Buffer.from([0, 0, 0, 4, 1, 0, 0, 0, 0]);

/** Connections that have spoken HTTP/2's preface and ask nothing. Disposing ends them. */
export async function idleConnections(port: number, count: number): Promise<Disposable> {
  const sockets: net.Socket[] = [];
  for (let at = 0; at < count; at += 1) {
    const localAddress = `127.0.0.${2 + Math.floor(at / FROM_ONE_ADDRESS)}`;
    const socket = net.connect({ port, host: '127.0.0.1', localAddress });
    sockets.push(socket);
    socket.write(Buffer.concat([PREFACE, SETTINGS, ACKNOWLEDGED]));
    // A hundred at a time: a server's queue of connections is not endless.
    if (at % 100 === 99) await heard(socket);
  }
  await Promise.all(sockets.map(heard));
  return {
    [Symbol.dispose]: () => {
      for (const socket of sockets) socket.destroy();
    },
  };
}

/** Until it was spoken to; fails where it was turned away. */
async function heard(socket: net.Socket): Promise<void> {
  if (socket.bytesRead > 0) return;
  const closed = once(socket, 'close').then(() => {
    throw new Error('a connection at rest was ended');
  });
  await Promise.race([once(socket, 'data'), closed]);
}
