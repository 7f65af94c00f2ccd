import { chmodSync } from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import { setImmediate as nextTurn } from 'node:timers/promises';
import tls, { type TLSSocket } from 'node:tls';
import { systemMonotonic } from '../effects.ts';
import type { Limits } from '../http2/bounds/limits.ts';
import { nameOf } from '../http2/errors.ts';
import { Http2Server } from '../http2/server.ts';
import type { ServerStream } from '../http2/server-stream.ts';
import { toServiceError } from './errors.ts';
import { Drain } from './http/drain.ts';
import {
  HEADERS_TOO_LONG,
  HEADERS_TOO_LONG_BODY,
  MAX_HEADER_BYTES,
  onClientError,
} from './http/malformed.ts';
import { bind, removeStaleSocket } from './intake/bind.ts';
import { Places } from './intake/places.ts';
import { sniff } from './intake/sniff.ts';
import type { SharedTally } from './intake/tally.ts';
import { countedAs, OVER_SOCKET_FILE, type Peer, peerOn } from './peer.ts';
import type { Exchange } from './transport/exchange.ts';
import { Http1Exchange } from './transport/http1.ts';
import { Http2Exchange } from './transport/http2.ts';
import { NodeHttp2 } from './transport/node-http2.ts';
import { type Transport, type TransportOptions, transportChannel } from './transport/transport.ts';

export interface Endpoint {
  readonly host: string;
  /** 0: any free one. */
  readonly port: number;
  /** A Unix socket beside the port. */
  readonly socket?: { readonly path: string; readonly mode: number } | undefined;
  readonly tls?: (tls.SecureContextOptions & { readonly requestCert: boolean }) | undefined;
  /** Others listen on the same port (SO_REUSEPORT): which of them a connection goes to is for the system to say. */
  readonly reusePort?: boolean;
}

export interface Handlers {
  readonly request: (exchange: Exchange) => void;
  /** Takes a request of HTTP/2 and answers true, or leaves it to `request`. */
  readonly stream?: (stream: ServerStream, peer: Peer) => boolean;
  /** The connection of a peer that asked is over. */
  readonly gone?: (peer: Peer) => void;
}

export interface ListenerOptions {
  /** How many connections there may be, and how many of them from one address. */
  readonly connections?: { readonly total: number; readonly each: number };
  /** How long an HTTP/2 connection stays without anything being asked, before its first request and after. */
  readonly patience?: { readonly unusedMs: number; readonly idleMs: number };
  /** Node's own HTTP/2 instead of ours. */
  readonly nodeHttp2?: boolean;
  /** Where threads give away the same places: connections, and bytes that are held. */
  readonly shared?: { readonly connections: SharedTally; readonly held: SharedTally } | undefined;
}

const CONNECTIONS = { total: 10_000, each: 1_000 };
const PATIENCE = { unusedMs: 10_000, idleMs: 300_000 };
const HANDSHAKE_MS = 10_000;
/** How long an HTTP/1.1 connection must be still to be closed when the server stops, at most. */
const REST_MS = 500;

/** How long a client has to hear that an HTTP/2 connection takes no more. */
const NOTICE_MS = 100;

/** What is not read yet is held for a stranger by the connection: as little as HTTP/2 lets it be, on a few streams. */
const STRANGER: Limits = { streams: 100, streamWindow: 65_535, connectionWindow: 65_535 };
const KNOWN: Limits = { streams: 1_000, streamWindow: 1024 * 1024, connectionWindow: 4 * 1024 * 1024 };

/** HTTP/1.1 and HTTP/2 on one address: told apart by the preface in cleartext, by ALPN under TLS. */
export class Listener implements AsyncDisposable {
  readonly #h1: http.Server;
  readonly #h2: Transport;
  readonly #servers: net.Server[] = [];
  readonly #drain: Drain;
  readonly #places: Places;
  readonly #sniffing = new Set<net.Socket>();
  #secure: tls.Server | undefined;
  /** What listens on the port. */
  #door: net.Server | undefined;
  /** Every open connection, whatever it speaks. */
  readonly #sockets = new Set<net.Socket>();

  constructor(handlers: Handlers, options: ListenerOptions = {}) {
    const { connections = CONNECTIONS, patience = PATIENCE, nodeHttp2 = false, shared } = options;
    this.#places = new Places({ ...connections, full: 'too many connections' }, shared?.connections);
    const peers = new WeakMap<net.Socket, Peer>();
    this.#h1 = http.createServer(
      {
        maxHeaderSize: MAX_HEADER_BYTES,
        requestTimeout: 30_000,
        headersTimeout: 10_000,
        connectionsCheckingInterval: 5_000,
        keepAliveTimeout: 65_000,
      },
      (request, response) => {
        const { socket } = request;
        let peer = peers.get(socket);
        if (!peer) {
          const first = (peer = peerOn(socket as TLSSocket));
          peers.set(socket, peer);
          socket.once('close', () => handlers.gone?.(first));
        }
        handlers.request(new Http1Exchange(request, response, peer));
      },
    );
    // It never listens itself, and Node tracks connections only from then on: without this neither the timeouts above
    // nor the closing of idle connections would work.
    this.#h1.emit('listening');
    this.#h1.on('clientError', onClientError);
    this.#drain = new Drain(this.#h1);
    const transport: TransportOptions = {
      limits: STRANGER,
      patience,
      accept: (connection, socket) => {
        const peer = peerOn(socket as TLSSocket, () => connection.widen(KNOWN));
        socket.once('close', () => handlers.gone?.(peer));
        return (stream) => {
          if (!handlers.stream?.(stream, peer)) handlers.request(new Http2Exchange(stream, peer));
        };
      },
      tooLong: (stream) => stream.answer(HEADERS_TOO_LONG, HEADERS_TOO_LONG_BODY),
      onEnd: ({ code, reason }, { remoteAddress = '' }) =>
        transportChannel.publish({ code: nameOf(code), reason, address: countedAs(remoteAddress) }),
    };
    this.#h2 = nodeHttp2 ? new NodeHttp2(transport) : ownHttp2(transport, shared?.held);
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
    const { host, port: wanted, reusePort = false } = endpoint;
    const port = await bind(server, { host, port: wanted, reusePort });
    this.#servers.push(server);
    this.#door = server;
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

  /** Takes connections on the port again, which it has left before. */
  async join(endpoint: Endpoint): Promise<void> {
    if (!this.#door) await this.listen(endpoint);
  }

  /** Takes no more connections on the port, which others go on listening on; those that stand stay. */
  async leavePort(): Promise<void> {
    const door = this.#door;
    if (!door) return;
    // Who has connected by now is still taken: a connection that is not would be reset.
    await nextTurn();
    this.#door = undefined;
    this.#servers.splice(this.#servers.indexOf(door), 1);
    door.close();
  }

  /** Asks about half of those who are connected by HTTP/2 to connect anew: others listen on the same port. */
  shed(): void {
    this.#h2.shed?.(NOTICE_MS);
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
    this.#h2.take(socket);
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
    if (noticeMs > 0) this.#h2.goAway(false);
    const goAway = setInterval(() => this.#h2.goAway(true), noticeMs);
    const mute = setTimeout(() => {
      for (const socket of this.#sniffing) socket.destroy();
    }, restMs);
    const force = setTimeout(() => {
      this.#h2[Symbol.dispose]();
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

/** Bytes that one address, and all together, may make us hold: requests that are not read, answers that are not taken. */
const HELD = { total: 512 * 1024 * 1024, each: 256 * 1024 * 1024, full: 'too much waits' };

function ownHttp2({ patience, ...options }: TransportOptions, shared: SharedTally | undefined): Transport {
  const held = new Places(HELD, shared);
  return new Http2Server({
    ...options,
    bounds: patience,
    now: systemMonotonic,
    budgetOf: (socket) => {
      const whom = countedAs(socket.remoteAddress ?? '');
      return {
        tryTake: (bytes) => held.tryTake(whom, bytes),
        giveBack: (bytes) => held.giveBack(whom, bytes),
      };
    },
    failed: (error) => void toServiceError(error, 'http2'),
  });
}
