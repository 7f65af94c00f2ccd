import type http from 'node:http';
import type { Socket } from 'node:net';

/** How often connections are looked at for one that is still. */
const LOOK_MS = 50;

interface Connection {
  /** Requests that wait for their answer. */
  open: number;
  read: number;
  /** By the monotonic clock: when it was last heard, or answered. */
  stillSince: number;
}

/**
 * Ends the connections of an HTTP/1.1 server so that no request is lost. A client that keeps a connection learns that it
 * is over by the answer to its next request and by nothing else: what is closed between two may have just been written
 * to. So every answer says `Connection: close`, and only what stays still for a while is closed without one.
 */
export class Drain {
  readonly #connections = new Map<Socket, Connection>();
  readonly #answers = new Set<http.ServerResponse>();
  #draining = false;

  constructor(server: http.Server) {
    server.on('connection', (socket: Socket) => {
      this.#connections.set(socket, { open: 0, read: socket.bytesRead, stillSince: performance.now() });
      socket.once('close', () => this.#connections.delete(socket));
    });
    server.prependListener('request', (request, response: http.ServerResponse) => {
      const connection = this.#connections.get(request.socket);
      if (connection) connection.open += 1;
      this.#answers.add(response);
      response.once('close', () => {
        this.#answers.delete(response);
        if (!connection) return;
        connection.open -= 1;
        connection.stillSince = performance.now();
      });
      if (this.#draining) response.shouldKeepAlive = false;
    });
  }

  /** Until `isOver` resolves; the caller sees to it that this comes about in the end. */
  async begin(restMs: number, isOver: Promise<unknown>): Promise<void> {
    this.#draining = true;
    for (const response of this.#answers) response.shouldKeepAlive = false;
    const now = performance.now();
    for (const connection of this.#connections.values()) connection.stillSince = now;
    const look = setInterval(() => this.#look(restMs), LOOK_MS);
    this.#look(restMs);
    await isOver;
    clearInterval(look);
  }

  #look(restMs: number): void {
    const now = performance.now();
    for (const [socket, connection] of this.#connections) {
      if (socket.bytesRead !== connection.read) {
        connection.read = socket.bytesRead;
        connection.stillSince = now;
      }
      if (connection.open === 0 && now - connection.stillSince >= restMs) socket.destroy();
    }
  }
}
