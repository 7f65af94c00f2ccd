import { chmodSync, rmSync, statSync } from 'node:fs';
import http from 'node:http';
import http2 from 'node:http2';
import net, { type AddressInfo } from 'node:net';
import tls from 'node:tls';
import { ServiceError } from '../errors.ts';

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

const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
const SNIFF_TIMEOUT_MS = 10_000;
const MAX_HEADER_BYTES = 32 * 1024;
const MAX_CONNECTIONS = 10_000;
const MAX_STREAMS = 1_000;
/** How long an HTTP/2 connection stays without anything being asked, before its first request and after. */
const PATIENCE = { unusedMs: 10_000, idleMs: 300_000 };

/** HTTP/1.1 and HTTP/2 on one address: told apart by the preface in cleartext, by ALPN under TLS. */
export class Listener implements AsyncDisposable {
  readonly #h1: http.Server;
  readonly #h2: http2.Http2Server;
  readonly #compat: http2.Http2Server;
  readonly #sessions = new Set<http2.ServerHttp2Session>();
  readonly #servers: net.Server[] = [];
  readonly #sniffing = new Set<net.Socket>();
  #secure: tls.Server | undefined;
  /** Every open connection, whatever it speaks. */
  readonly #sockets = new Set<net.Socket>();

  constructor(handlers: Handlers, patience = PATIENCE) {
    this.#h1 = http.createServer(
      {
        maxHeaderSize: MAX_HEADER_BYTES,
        requestTimeout: 30_000,
        headersTimeout: 10_000,
        keepAliveTimeout: 65_000,
      },
      handlers.request,
    );
    // It never listens itself, and Node tracks connections only from then on: without this neither the timeouts above
    // nor the closing of idle connections would work.
    this.#h1.emit('listening');
    // Never listens: it only lends its compatibility layer to the streams that the hot handlers leave.
    this.#compat = http2.createServer(handlers.request);
    this.#h2 = http2.createServer({
      settings: {
        maxConcurrentStreams: MAX_STREAMS,
        maxHeaderListSize: MAX_HEADER_BYTES,
        enablePush: false,
        initialWindowSize: 1024 * 1024,
      },
      maxSessionMemory: 64,
    });
    this.#h2.on('session', (session) => {
      this.#sessions.add(session);
      session.setLocalWindowSize(4 * 1024 * 1024);
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
    const server = net.createServer({ noDelay: true }, (socket) => this.#accept(socket, this.#secure));
    const port = await bind(server, { host: endpoint.host, port: endpoint.port });
    this.#servers.push(server);
    if (endpoint.socket) {
      const local = net.createServer((socket) => this.#accept(socket));
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

  #accept(socket: net.Socket, secure?: tls.Server): void {
    if (this.#sockets.size >= MAX_CONNECTIONS) {
      socket.destroy();
      return;
    }
    this.#sockets.add(socket);
    socket.once('close', () => this.#sockets.delete(socket));
    if (secure) secure.emit('connection', socket);
    else this.#sniff(socket);
  }

  /** Reads until the first bytes tell the protocol, then gives them back and hands the socket on. */
  #sniff(socket: net.Socket): void {
    this.#sniffing.add(socket);
    const timer = setTimeout(() => socket.destroy(), SNIFF_TIMEOUT_MS);
    const onError = (): void => void socket.destroy();
    const settle = (): void => {
      clearTimeout(timer);
      this.#sniffing.delete(socket);
    };
    socket.on('error', onError);
    socket.once('close', settle);
    let head: Buffer = Buffer.alloc(0);
    const onReadable = (): void => {
      const chunk = socket.read() as Buffer | null;
      if (chunk === null) return;
      head = head.length === 0 ? chunk : Buffer.concat([head, chunk]);
      const length = Math.min(head.length, PREFACE.length);
      const isPreface = head.subarray(0, length).equals(PREFACE.subarray(0, length));
      if (isPreface && head.length < PREFACE.length) return;
      socket.off('readable', onReadable);
      socket.off('error', onError);
      settle();
      socket.unshift(head);
      this.#hand(socket, isPreface);
    };
    socket.on('readable', onReadable);
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
    const closed = this.#servers.map(
      (server) => new Promise<void>((resolve) => server.close(() => resolve())),
    );
    for (const socket of this.#sniffing) socket.destroy();
    // HTTP/2 connections get a GOAWAY: streams that run may finish, new ones go elsewhere.
    for (const session of this.#sessions) session.close();
    this.#h1.closeIdleConnections();
    const idle = setInterval(() => this.#h1.closeIdleConnections(), 50);
    const force = setTimeout(() => {
      for (const session of this.#sessions) session.destroy();
      for (const socket of this.#sockets) socket.destroy();
    }, graceMs);
    await Promise.all(closed);
    clearInterval(idle);
    clearTimeout(force);
    // Ends its check of timeouts.
    this.#h1.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.drain(0);
  }
}

const nobodyThrows = (): void => {};

function onClientError(_error: Error, socket: net.Socket | tls.TLSSocket): void {
  if (socket.writable)
    socket.end('HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n');
  else socket.destroy();
}

function bind(server: net.Server, where: net.ListenOptions): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', (cause: NodeJS.ErrnoException) => {
      const place = where.path ?? `${where.host}:${where.port}`;
      const why = cause.code === 'EADDRINUSE' ? 'it is in use; is Mandate running already?' : cause.message;
      reject(new ServiceError('config_invalid', `cannot listen on ${place}: ${why}`, { cause }));
    });
    server.listen(where, () => resolve((server.address() as AddressInfo | string as AddressInfo).port ?? 0));
  });
}

/** A socket file that a dead process left would be in the way; any other file there is not ours to remove. */
async function removeStaleSocket(path: string): Promise<void> {
  if (!statSync(path, { throwIfNoEntry: false })?.isSocket()) return;
  const isStale = await new Promise<boolean>((resolve) => {
    const probe = net.connect(path, () => resolve(false));
    probe.on('error', (error: NodeJS.ErrnoException) => resolve(error.code === 'ECONNREFUSED'));
    probe.on('connect', () => probe.destroy());
  });
  if (isStale) rmSync(path);
}
