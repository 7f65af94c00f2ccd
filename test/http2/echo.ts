import { once } from 'node:events';
import net from 'node:net';
import tls from 'node:tls';
import { expect } from 'vitest';
import type { Bounds, Budget, Limits } from '../../src/http2/bounds/limits.ts';
import type { Connection, End } from '../../src/http2/connection.ts';
import { HeaderBlock } from '../../src/http2/hpack/encoder.ts';
import { Http2Server } from '../../src/http2/server.ts';
import type { ServerStream } from '../../src/http2/server-stream.ts';
import { watch } from './watched.ts';

export type Serve = (stream: ServerStream, connection: Connection) => void;

export const OK = new HeaderBlock([[':status', '200']]);
export const head = (status: number, ...fields: readonly (readonly [string, string])[]): HeaderBlock =>
  new HeaderBlock([[':status', String(status)], ...fields]);

/** Sends back what comes as it comes, and reads no more than is taken of it. */
export const echo: Serve = (stream) => {
  stream.respond(OK);
  stream.receive({
    data(chunk) {
      if (!stream.write(chunk)) stream.pause();
    },
    drained: () => stream.resume(),
    end: () => stream.end(),
    closed: () => stream.settle(),
  });
};

/** Reads a request to its end and tells what it was: method, fields and length of the body, in JSON. */
export const mirror: Serve = (stream) => {
  let length = 0;
  stream.receive({
    data: (chunk) => void (length += chunk.length),
    end() {
      const { list } = stream.fields;
      stream.answer(OK, Buffer.from(JSON.stringify({ list, length })));
    },
    closed: () => stream.settle(),
  });
};

/** Answers at once, with nothing or with a body; reads nothing. */
export const answerAtOnce =
  (body?: Uint8Array, block = OK): Serve =>
  (stream) =>
    stream.answer(block, body);

/** Reads and never answers; it settles when nobody asks any more. */
export const ponder: Serve = (stream) =>
  stream.receive({ data: () => undefined, end: () => undefined, closed: () => stream.settle() });

/** A budget that remembers. */
export class Tally implements Budget {
  held = 0;
  most = 0;
  refusals = 0;
  readonly total: number;

  constructor(total: number) {
    this.total = total;
  }

  tryTake(bytes: number): boolean {
    if (bytes <= 0) throw new Error(`${bytes} are asked for`);
    if (this.held + bytes > this.total) {
      this.refusals += 1;
      return false;
    }
    this.held += bytes;
    this.most = Math.max(this.most, this.held);
    return true;
  }

  giveBack(bytes: number): void {
    if (bytes <= 0 || bytes > this.held) throw new Error(`${bytes} of ${this.held} are given back`);
    this.held -= bytes;
  }
}

export const LIMITS: Limits = { streams: 100, streamWindow: 65_535, connectionWindow: 1024 * 1024 };

export interface ServingOptions {
  readonly limits?: Partial<Limits>;
  readonly bounds?: Partial<Bounds>;
  /** Of all connections together. */
  readonly budgetBytes?: number;
  readonly now?: () => number;
  readonly serve?: Serve;
  readonly tooLong?: Serve;
  readonly socket?: net.ServerOpts;
  /** Over TLS. */
  readonly secure?: tls.TlsOptions;
  /** Handlers of this test do not come to their end. */
  readonly leavesOpen?: boolean;
}

/** A server on a free port, and all that is to be known of it. */
export class Serving implements AsyncDisposable {
  readonly server: Http2Server;
  readonly budget: Tally;
  readonly connections: Connection[] = [];
  readonly sockets: net.Socket[] = [];
  readonly streams: ServerStream[] = [];
  readonly ends: End[] = [];
  /** What handlers threw; a test takes out what it expects. */
  readonly failures: unknown[] = [];
  readonly violations: string[] = [];
  readonly #net: net.Server;
  readonly #leavesOpen: boolean;

  constructor(options: ServingOptions) {
    const { serve = echo, tooLong = answerAtOnce(undefined, head(431)) } = options;
    this.#leavesOpen = options.leavesOpen ?? false;
    this.budget = new Tally(options.budgetBytes ?? 256 * 1024 * 1024);
    const begin = (serve: Serve, stream: ServerStream, connection: Connection): void => {
      this.streams.push(stream);
      watch(stream, (what) => void this.violations.push(what));
      serve(stream, connection);
    };
    this.server = new Http2Server({
      limits: { ...LIMITS, ...options.limits },
      bounds: options.bounds ?? {},
      budgetOf: () => this.budget,
      now: options.now ?? (() => performance.now()),
      accept: (connection, socket) => {
        this.connections.push(connection);
        this.sockets.push(socket);
        return (stream) => begin(serve, stream, connection);
      },
      tooLong: (stream) => begin(tooLong, stream, this.connections.at(-1) as Connection),
      failed: (error) => void this.failures.push(error),
      onEnd: (end) => void this.ends.push(end),
    });
    const take = (socket: net.Socket): void => this.server.take(socket);
    const sockets = { noDelay: true, ...options.socket };
    this.#net = options.secure
      ? tls.createServer({ ...sockets, ...options.secure }, take)
      : net.createServer(sockets, take);
  }

  get port(): number {
    return (this.#net.address() as net.AddressInfo).port;
  }

  /** Streams of all connections that are open. */
  get open(): number {
    return this.connections.reduce((sum, { open }) => sum + open, 0);
  }

  async listen(): Promise<this> {
    this.#net.listen(0, '127.0.0.1');
    await once(this.#net, 'listening');
    return this;
  }

  /** Every connection is over and its socket closed. */
  async quiet(): Promise<void> {
    await eventually(() => this.server.size === 0, 'all connections to be closed');
  }

  /** What must not be there once all connections are over. */
  get leftovers(): object {
    return {
      held: this.budget.held,
      connections: this.server.size,
      open: this.#leavesOpen ? 0 : this.open,
      failures: this.failures.map(String),
      violations: [...new Set(this.violations)],
    };
  }

  /** Ends all, and checks what must be true after any test; it does not cover up what the test itself found. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.server[Symbol.dispose]();
    this.#net.close();
    await this.quiet();
    expect.soft(this.leftovers).toEqual(NOTHING_LEFT);
  }
}

export const NOTHING_LEFT = { held: 0, connections: 0, open: 0, failures: [], violations: [] };

export const serving = (options: ServingOptions = {}): Promise<Serving> => new Serving(options).listen();

/** Looks again and again until it holds; only a failure takes long. */
export async function eventually(holds: () => boolean, what: string): Promise<void> {
  for (let tries = 0; !holds(); tries += 1) {
    if (tries > 1_600) throw new Error(`waited for ${what} in vain`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** So many turns of the event loop, for what comes of something that is not to come. */
export async function turns(count: number): Promise<void> {
  for (let turn = 0; turn < count; turn += 1) await new Promise((resolve) => setImmediate(resolve));
}
