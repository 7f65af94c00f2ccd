import { chmodSync } from 'node:fs';
import http from 'node:http';
import http2 from 'node:http2';
import net from 'node:net';
import { setImmediate as nextTurn } from 'node:timers/promises';
import tls from 'node:tls';
import { Drain } from './http/drain.ts';
import { MAX_HEADER_BYTES, onClientError } from './http/malformed.ts';
import { bind, removeStaleSocket } from './intake/bind.ts';
import { Places } from './intake/places.ts';
import { sniff } from './intake/sniff.ts';
import { countedAs, OVER_SOCKET_FILE } from './peer.ts';

export interface Endpoint {
  readonly host: string;
  /** 0: any free one. */
  readonly port: number;
  /** A Unix socket beside the port. */
  readonly socket?: { readonly path: string; readonly mode: number } | undefined;
  readonly tls?: (tls.SecureContextOptions & { readonly requestCert: boolean }) | undefined;
}

export interface Handlers {
  /** HTTP/1.1, and whatever of HTTP/2 `stream` does not take. */
  readonly request: (
    request: http.IncomingMessage | http2.Http2ServerRequest,
    response: http.ServerResponse | http2.Http2ServerResponse,
  ) => void;
  /** Takes an HTTP/2 stream and answers true, or leaves it. */
  readonly stream?: (stream: http2.ServerHttp2Stream, headers: http2.IncomingHttpHeaders) => boolean;
}

/** How many connections there may be, and how many of them from one address. */
const CONNECTIONS = { total: 10_000, each: 1_000 };
/** How long an HTTP/2 connection stays without anything being asked, before its first request and after. */
const PATIENCE = { unusedMs: 10_000, idleMs: 300_000 };
const HANDSHAKE_MS = 10_000;
/** How long an HTTP/1.1 connection must be still to be closed when the server stops, at most. */
const REST_MS = 500;

/** How long a client has to hear that an HTTP/2 connection takes no more. */
const NOTICE_MS = 100;
const LAST_STREAM = 2 ** 31 - 1;

/** What is not read yet is held for a stranger by the connection: a little on each of a few streams. */
const STRANGER = {
  maxConcurrentStreams: 100,
  maxHeaderListSize: MAX_HEADER_BYTES,
  enablePush: false,
  initialWindowSize: 32 * 1024,
} as const satisfies http2.Settings;
const KNOWN = { maxConcurrentStreams: 1_000, initialWindowSize: 1024 * 1024 };
const KNOWN_WINDOW = 4 * 1024 * 1024;

const welcomed = new WeakSet<http2.Http2Session>();

/** Gives a connection the room of somebody who is known. */
export function welcome(session: http2.ServerHttp2Session): void {
  if (welcomed.has(session) || session.closed || session.destroyed) return;
  welcomed.add(session);
  session.settings(KNOWN);
  session.setLocalWindowSize(KNOWN_WINDOW);
}

/** HTTP/1.1 and HTTP/2 on one address: told apart by the preface in cleartext, by ALPN under TLS. */
export class Listener implements AsyncDisposable {
  readonly #h1: http.Server;
  readonly #h2: http2.Http2Server;
  readonly #compat: http2.Http2Server;
  readonly #sessions = new Set<http2.ServerHttp2Session>();
  readonly #servers: net.Server[] = [];
  readonly #drain: Drain;
  readonly #places: Places;
  readonly #sniffing = new Set<net.Socket>();
  #secure: tls.Server | undefined;
  /** Every open connection, whatever it speaks. */
  readonly #sockets = new Set<net.Socket>();

  constructor(handlers: Handlers, connections = CONNECTIONS, patience = PATIENCE) {
    this.#places = new Places({ ...connections, full: 'too many connections' });
    this.#h1 = http.createServer(
      {
        maxHeaderSize: MAX_HEADER_BYTES,
        requestTimeout: 30_000,
        headersTimeout: 10_000,
        connectionsCheckingInterval: 5_000,
        keepAliveTimeout: 65_000,
      },
      handlers.request,
    );
    // It never listens itself, and Node tracks connections only from then on: without this neither the timeouts above
    // nor the closing of idle connections would work.
    this.#h1.emit('listening');
    this.#drain = new Drain(this.#h1);
    // Never listens: it only lends its compatibility layer to the streams that the hot handlers leave.
    this.#compat = http2.createServer(handlers.request);
    this.#h2 = http2.createServer({ settings: STRANGER, maxSessionMemory: 64 });
    this.#h2.on('session', (session) => {
      this.#sessions.add(session);
      // A graceful end: calls under way finish, and clients connect again without a word. A ping is activity too.
      session.setTimeout(patience.unusedMs, () => session.close());
      session.once('stream', () => session.setTimeout(patience.idleMs));
      session.on('close', () => this.#sessions.delete(session));
      session.on('error', () => session.destroy());
    });
    this.#h2.on('stream', (stream, headers, flags) => {
      // A peer can break off any stream at any moment; whoever serves it sees it closed, and nobody throws.
      stream.on('error', nobodyThrows);
      if (!handlers.stream?.(stream, headers)) this.#compat.emit('stream', stream, headers, flags, []);
    });
    for (const server of [this.#h1, this.#h2]) server.on('clientError', onClientError);
  }

  /** Resolves with the bound port. Throws `config_invalid` where the address cannot be had. */
  async listen(endpoint: Endpoint): Promise<number> {
    if (endpoint.tls) {
      this.#secure = tls.createServer({
        ...endpoint.tls,
        // A caller without a certificate may have another credential; one with a bad certificate is turned away below.
        rejectUnauthorized: false,
        handshakeTimeout: HANDSHAKE_MS,
        ALPNProtocols: ['h2', 'http/1.1'],
        minVersion: 'TLSv1.2',
      });
      this.#secure.on('secureConnection', (socket) => {
        if (!socket.authorized && Object.keys(socket.getPeerCertificate()).length > 0) {
          socket.destroy();
          return;
        }
        socket.setNoDelay(true);
        this.#hand(socket, socket.alpnProtocol === 'h2');
      });
      this.#secure.on('tlsClientError', (_error, socket) => socket.destroy());
    }
    const server = net.createServer({ noDelay: true }, (socket) =>
      this.#accept(socket, countedAs(socket.remoteAddress ?? ''), this.#secure),
    );
    const port = await bind(server, { host: endpoint.host, port: endpoint.port });
    this.#servers.push(server);
    if (endpoint.socket) {
      const local = net.createServer((socket) => {
        Object.assign(socket, { [OVER_SOCKET_FILE]: true });
        // Who may open the file is for its mode to say.
        this.#accept(socket, undefined);
      });
      await removeStaleSocket(endpoint.socket.path);
      await bind(local, { path: endpoint.socket.path });
      chmodSync(endpoint.socket.path, endpoint.socket.mode);
      this.#servers.push(local);
    }
    return port;
  }

  /** New certificates for the connections to come; those that stand keep theirs. */
  renewCertificates(options: tls.SecureContextOptions): void {
    this.#secure?.setSecureContext(options);
  }

  #accept(socket: net.Socket, address: string | undefined, secure?: tls.Server): void {
    if (address !== undefined && !this.#places.tryTake(address)) {
      socket.destroy();
      return;
    }
    this.#sockets.add(socket);
    socket.once('close', () => {
      this.#sockets.delete(socket);
      if (address !== undefined) this.#places.giveBack(address);
    });
    if (secure) secure.emit('connection', socket);
    else this.#sniff(socket);
  }

  #sniff(socket: net.Socket): void {
    this.#sniffing.add(socket);
    const settle = (): void => void this.#sniffing.delete(socket);
    socket.once('close', settle);
    sniff(socket, (isHttp2) => {
      settle();
      this.#hand(socket, isHttp2);
    });
  }

  #hand(socket: net.Socket, isHttp2: boolean): void {
    if (!isHttp2) {
      this.#h1.emit('connection', socket);
      return;
    }
    // The session is made while this event is emitted. Node leaves the socket of a closed session to its peer to close.
    this.#h2.once('session', (session) => session.once('close', () => socket.destroySoon()));
    this.#h2.emit('connection', socket);
  }

  /** Takes no more connections, lets requests finish for at most `graceMs`, then ends what is left. */
  async drain(graceMs: number): Promise<void> {
    // Who has connected by now is still taken: a connection that is not would be reset.
    await nextTurn();
    const closed = Promise.all(
      this.#servers.map((server) => new Promise<void>((resolve) => server.close(() => resolve()))),
    );
    const restMs = Math.min(REST_MS, graceMs / 4);
    // HTTP/2 connections get a GOAWAY, streams that run may finish: at first one that takes whatever is on its way, and
    // when its client has heard it one that tells which stream was the last (RFC 9113 section 6.8).
    const noticeMs = Math.min(NOTICE_MS, restMs);
    for (const session of this.#sessions)
      if (noticeMs > 0 && !session.closed && !session.destroyed) session.goaway(undefined, LAST_STREAM);
    const goAway = setInterval(() => {
      for (const session of this.#sessions) session.close();
    }, noticeMs);
    const mute = setTimeout(() => {
      for (const socket of this.#sniffing) socket.destroy();
    }, restMs);
    const force = setTimeout(() => {
      for (const session of this.#sessions) session.destroy();
      for (const socket of this.#sockets) socket.destroy();
    }, graceMs);
    await this.#drain.begin(restMs, closed);
    for (const timer of [goAway, mute, force]) clearTimeout(timer);
    // Ends its check of timeouts.
    this.#h1.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.drain(0);
  }
}

const nobodyThrows = (): void => {};
