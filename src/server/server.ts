import type { IncomingHttpHeaders } from 'node:http2';
import type { TLSSocket } from 'node:tls';
import {
  Code,
  ConnectError,
  type ConnectRouter,
  createContextValues,
  type HandlerContext,
  type Interceptor,
} from '@connectrpc/connect';
import { connectNodeAdapter } from '@connectrpc/connect-node';
import { ServiceError } from '../errors.ts';
import { peerKey } from './connect/context.ts';
import { nameLibraryError, toConnectError } from './errors.ts';
import { forgetFarDeadline, timeoutOf } from './grpc/deadline.ts';
import { serveDuplex } from './grpc/duplex.ts';
import { MAX_MESSAGE_BYTES } from './grpc/frames.ts';
import { fail, serveUnary, type UnaryHandler } from './grpc/unary.ts';
import { errorResponse, type NodeRequest, type NodeResponse, writeResponse } from './http/exchange.ts';
import type { Router } from './http/router.ts';
import type { Handlers } from './listener.ts';
import { isLoopback, type Peer } from './peer.ts';
import { noTracing, type Tracing } from './tracing.ts';

/** A gRPC method that is served straight on its stream. `open` may throw: the call is refused then. */
export interface HotMethod {
  readonly kind: 'unary' | 'duplex';
  /** How traces name it. */
  readonly name: string;
  readonly open: (headers: IncomingHttpHeaders, peer: Peer) => UnaryHandler;
}

export interface Plane {
  /** Plain HTTP routes. */
  readonly router: Router;
  /** Connect services. */
  readonly services: (router: ConnectRouter) => void;
  /** gRPC methods by path, served straight on the stream. */
  readonly hot: ReadonlyMap<string, HotMethod>;
  /** Called before a call of a service is read. Throws `unauthenticated` where nobody could know the caller. */
  readonly greet: (context: HandlerContext) => void;
  /** Whether a browser page of another origin must be kept out: a caller may come without a credential. */
  readonly guardHost: boolean;
}

/** One plane's requests, each to the layer that serves it. */
export function planeHandlers(plane: Plane, tracing: Tracing = noTracing): Handlers {
  const connect = connectNodeAdapter({
    routes: plane.services,
    readMaxBytes: MAX_MESSAGE_BYTES,
    interceptors: [errors, traced(tracing)],
    requestGate: (context) => {
      const { signal, method } = context;
      inTime(signal);
      try {
        plane.greet(context);
      } catch (error) {
        throw toConnectError(error, method.toString());
      }
      // The library ends a call with its error before it sends it: what it found wrong itself passes no interceptor.
      signal.addEventListener('abort', () => nameLibraryError(signal.reason, method.toString()), {
        once: true,
      });
    },
    contextValues: (request) => createContextValues().set(peerKey, peerOf(request.socket as TLSSocket)),
    fallback: (request, response) => {
      const peer = peerOf(request.socket as TLSSocket);
      plane.router.serve(request, response, peer, tracing).catch((error: unknown) => refuse(response, error));
    },
  });
  return {
    request: (request, response) => {
      if (plane.guardHost && !isLocalName(request))
        return writeResponse(response, {
          status: 421,
          body: {
            error: 'invalid_request',
            error_description: 'in --dev the host is localhost or a loopback address',
          },
        });
      forgetFarDeadline(request.headers);
      connect(request, response);
    },
    stream: (stream, headers) => {
      const method = plane.hot.get(headers[':path'] ?? '');
      if (!method || !isPlainGrpc(headers)) return false;
      try {
        const opened = method.open(headers, peerOf(stream.session?.socket as TLSSocket));
        const handle = tracing === noTracing ? opened : spanned(tracing, method, headers, opened);
        const timeoutMs = timeoutOf(headers);
        if (method.kind === 'duplex')
          serveDuplex(stream, timeoutMs, (message) => handle(message, Number.POSITIVE_INFINITY));
        else serveUnary(stream, timeoutMs, handle);
      } catch (error) {
        stream.resume();
        fail(stream, error);
      }
      return true;
    },
  };
}

/** A span a message. Apart, since what a function's closures share lives as long as the stream: without tracing the headers do not. */
const spanned =
  (tracing: Tracing, { name }: HotMethod, headers: IncomingHttpHeaders, handle: UnaryHandler): UnaryHandler =>
  (message, until) =>
    tracing(name, headers, () => handle(message, until));

/** What the hot handler takes: gRPC with protobuf, uncompressed. The rest is Connect's. */
const isPlainGrpc = (headers: IncomingHttpHeaders): boolean => {
  const type = headers['content-type'];
  const encoding = headers['grpc-encoding'];
  return (
    headers[':method'] === 'POST' &&
    (type === 'application/grpc' || type === 'application/grpc+proto') &&
    (encoding === undefined || encoding === 'identity')
  );
};

const traced =
  (tracing: Tracing): Interceptor =>
  (next) =>
  (request) =>
    tracing(`${request.service.typeName}/${request.method.name}`, Object.fromEntries(request.header), () =>
      next(request),
    );

const errors: Interceptor = (next) => async (request) => {
  const where = `${request.service.typeName}/${request.method.name}`;
  try {
    inTime(request.signal);
    const response = await next(request);
    return response.stream ? { ...response, message: guarded(response.message, where) } : response;
  } catch (error) {
    throw toConnectError(error, where);
  }
};

/** Throws once a caller's deadline has passed, or the caller has gone: what it asked is not decided then. */
function inTime(signal: AbortSignal): void {
  if (!signal.aborted) return;
  const isLate = signal.reason instanceof ConnectError && signal.reason.code === Code.DeadlineExceeded;
  throw toConnectError(
    isLate
      ? new ServiceError('deadline_exceeded', 'the caller waits no longer')
      : new ServiceError('cancelled', 'the caller is gone'),
    'connect',
  );
}

async function* guarded<T>(messages: AsyncIterable<T>, where: string): AsyncGenerator<T> {
  try {
    yield* messages;
  } catch (error) {
    throw toConnectError(error, where);
  }
}

/** A connection's peer never changes, so it is worked out once. */
const peers = new WeakMap<object, Peer>();

function peerOf(socket: TLSSocket | undefined): Peer {
  if (!socket) return { loopback: false, spiffeId: undefined };
  const known = peers.get(socket);
  if (known) return known;
  const peer = { loopback: isLoopback(socket.remoteAddress), spiffeId: spiffeIdOf(socket) };
  peers.set(socket, peer);
  return peer;
}

/** SPIFFE X.509-SVID: exactly one URI name, of the scheme spiffe, in a certificate the TLS layer has verified. */
function spiffeIdOf(socket: TLSSocket): string | undefined {
  if (!socket.authorized) return undefined;
  const names = socket.getPeerCertificate().subjectaltname?.split(', ') ?? [];
  const uris = names.filter((name) => name.startsWith('URI:')).map((name) => name.slice(4));
  return uris.length === 1 && uris[0]?.startsWith('spiffe://') ? uris[0] : undefined;
}

/** A page that rebinds its name to this machine still sends its own name as host. */
function isLocalName(request: NodeRequest): boolean {
  const authority = (request.headers[':authority'] as string | undefined) ?? request.headers.host;
  if (authority === undefined) return true;
  const host = authority.replace(/:\d+$/, '');
  return host === 'localhost' || host === '[::1]' || /^127\.\d+\.\d+\.\d+$/.test(host);
}

function refuse(response: NodeResponse, error: unknown): void {
  if (response.headersSent) response.destroy();
  else writeResponse(response, errorResponse(error, 'http'));
}
