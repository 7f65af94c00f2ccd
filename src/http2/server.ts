import type { Socket } from 'node:net';
import { BOUNDS, type Bounds, type Budget, type Limits } from './bounds/limits.ts';
import { Connection, type End } from './connection.ts';
import type { ServerStream } from './server-stream.ts';

export interface Http2ServerOptions {
  /** For a connection that is new; `Connection.widen` gives more. */
  readonly limits: Limits;
  readonly bounds?: Partial<Bounds>;
  /** What a connection may hold is taken from. */
  readonly budgetOf: (socket: Socket) => Budget;
  /** Milliseconds, monotonic. */
  readonly now: () => number;
  /** What serves the requests of a new connection. */
  readonly accept: (connection: Connection, socket: Socket) => (stream: ServerStream) => void;
  /** For a request whose header section is longer than is taken. */
  readonly tooLong: (stream: ServerStream) => void;
  /** A handler threw, which it should not: its stream was reset. */
  readonly failed: (error: unknown) => void;
  /** A connection was ended for a fault of its peer. */
  readonly onEnd?: (end: End, socket: Socket) => void;
}

/** How often connections are looked at for what takes too long. */
const SWEEP_MS = 1_000;

/** HTTP/2's server side (RFC 9113), for sockets that somebody else accepts. */
export class Http2Server implements Disposable {
  readonly #options: Http2ServerOptions;
  readonly #bounds: Bounds;
  readonly #connections = new Set<Connection>();
  #sweeping: NodeJS.Timeout | undefined;

  constructor(options: Http2ServerOptions) {
    this.#options = options;
    this.#bounds = { ...BOUNDS, ...options.bounds };
  }

  get size(): number {
    return this.#connections.size;
  }

  /** A socket that speaks HTTP/2, from its first byte: by its preface, or by ALPN. */
  take(socket: Socket): void {
    // It may have gone before it was known what it speaks.
    if (socket.destroyed) return;
    const { limits, budgetOf, now, accept, tooLong, failed, onEnd = () => {} } = this.#options;
    let serve: (stream: ServerStream) => void;
    const connection = new Connection(socket, {
      limits,
      bounds: this.#bounds,
      budget: budgetOf(socket),
      now,
      serve: (stream) => serve(stream),
      tooLong,
      failed,
      onEnd: (end) => onEnd(end, socket),
    });
    serve = accept(connection, socket);
    this.#connections.add(connection);
    socket.once('close', () => this.#connections.delete(connection));
    this.#sweeping ??= setInterval(() => this.#sweep(), Math.min(SWEEP_MS, ...this.#shortest())).unref();
  }

  /** Tells every client that it takes no more requests; see `Connection.goAway`. */
  goAway(isLast: boolean): void {
    for (const connection of this.#connections) connection.goAway(isLast);
  }

  /** The same for every other one that has asked, in two steps: their clients are to connect anew. Answers how many. */
  shed(noticeMs: number): number {
    const chosen = [...this.#connections].filter((each) => each.isInUse).filter((_, at) => at % 2 === 0);
    for (const connection of chosen) connection.goAway(false);
    setTimeout(() => {
      for (const connection of chosen) connection.goAway(true);
    }, noticeMs).unref();
    return chosen.length;
  }

  [Symbol.dispose](): void {
    for (const connection of this.#connections) connection.destroy();
    clearInterval(this.#sweeping);
    this.#sweeping = undefined;
  }

  #shortest(): number[] {
    return Object.entries(this.#bounds)
      .filter(([name]) => name.endsWith('Ms'))
      .map(([, ms]) => ms / 2);
  }

  #sweep(): void {
    const now = this.#options.now();
    for (const connection of this.#connections) connection.sweep(now);
    if (this.#connections.size > 0) return;
    clearInterval(this.#sweeping);
    this.#sweeping = undefined;
  }
}
