import type { Http2Session, IncomingHttpHeaders, ServerHttp2Session, ServerHttp2Stream } from 'node:http2';
import type { TLSSocket } from 'node:tls';
import type { DescService } from '@bufbuild/protobuf';
import {
  Code,
  ConnectError,
  type ConnectRouter,
  createContextValues,
  type HandlerContext,
  type Interceptor,
} from '@connectrpc/connect';
import { ServiceError } from '../errors.ts';
import { connectHandler } from './connect/adapter.ts';
import { peerKey } from './connect/context.ts';
import { nameLibraryError, toConnectError } from './errors.ts';
import { forgetFarDeadline, timeoutOf } from './grpc/deadline.ts';
import { serveDuplex } from './grpc/duplex.ts';
import { MAX_MESSAGE_BYTES } from './grpc/frames.ts';
import { isGone, refuseUnread, serveUnary, type UnaryHandler } from './grpc/unary.ts';
import {
  endWithAnswer,
  errorResponse,
  type NodeRequest,
  type NodeResponse,
  writeResponse,
} from './http/exchange.ts';
import type { Router } from './http/router.ts';
import { isNamedRightly } from './intake/hosts.ts';
import { Places } from './intake/places.ts';
import { Uploads } from './intake/uploads.ts';
import { type Handlers, welcome } from './listener.ts';
import { type Peer, peerOn, type Socket } from './peer.ts';
import { noTracing, type Tracing } from './tracing.ts';

/** A gRPC method that is served straight on its stream. `open` may throw or reject: the call is refused then, unread. */
export type HotMethod = {
  /** How traces name it. */
  readonly name: string;
  readonly open: (headers: IncomingHttpHeaders, peer: Peer) => UnaryHandler | Promise<UnaryHandler>;
} & (
  | { readonly kind: 'unary' }
  | {
      readonly kind: 'duplex';
      /** The frame that refuses one message by name. */
      readonly refuse: (message: Uint8Array, error: ServiceError) => Uint8Array;
    }
);

export interface Plane {
  /** Plain HTTP routes. */
  readonly router: Router;
  /** Connect services. */
  readonly services: (router: ConnectRouter) => void;
  /** gRPC methods by path, served straight on the stream. */
  readonly hot: ReadonlyMap<string, HotMethod>;
  /** Called before a call of a service is read. Throws or rejects with `unauthenticated` where nobody knows the caller. */
  readonly greet: (context: HandlerContext) => void | Promise<void>;
  /** Whether a browser page of another origin must be kept out: a caller may come without a credential. */
  readonly guardHost: boolean;
  /** What the outside calls the data plane. */
  readonly base: () => string;
  /** Aborted when the server stops. */
  readonly stopping: AbortSignal;
}

/** One plane's requests, each to the layer that serves it. */
export function planeHandlers(plane: Plane, tracing: Tracing = noTracing): Handlers {
  const uploads = new Uploads();
  const anteroom = new Places(ANTEROOM);
  const open = new Places(OPEN_TO_ALL);
  const connect = connectHandler({
    routes: plane.services,
    readMaxBytes: MAX_MESSAGE_BYTES,
    maxBytes: (service) => (isOpenToAll(service) ? MAX_STRANGERS_BYTES : MAX_MESSAGE_BYTES),
    interceptors: [errors, traced(tracing)],
    uploads,
    requestGate: (context) => gate(plane, context, isOpenToAll(context.service) ? open : anteroom),
    contextValues: (request) => createContextValues().set(peerKey, peerOfRequest(request)),
    fallback: (request, response) => {
      const intake = { peer: peerOfRequest(request), uploads, anteroom };
      plane.router
        .serve(request, response, intake, tracing)
        .catch((error: unknown) => refuse(response, error));
    },
  });
  // A page cannot send a credential that it does not have.
  const isMisnamed = (headers: IncomingHttpHeaders, peer: Peer): boolean =>
    plane.guardHost && headers.authorization === undefined && !isNamedRightly(headers, peer, plane.base());
  return {
    request: (request, response) => {
      if (isMisnamed(request.headers, peerOfRequest(request))) {
        endWithAnswer(request, response);
        return writeResponse(response, {
          status: 421,
          body: { error: 'invalid_request', error_description: MISNAMED },
        });
      }
      forgetFarDeadline(request.headers);
      connect(request, response);
    },
    stream: (stream, headers) => {
      const method = plane.hot.get(headers[':path'] ?? '');
      if (!method || !isPlainGrpc(headers)) return false;
      const peer = peerOfSession(stream.session);
      const serve = (opened: UnaryHandler): void => {
        const handle = tracing === noTracing ? opened : spanned(tracing, method, headers, opened);
        peer.welcome?.();
        const timeoutMs = timeoutOf(headers);
        if (method.kind === 'unary') return serveUnary(stream, timeoutMs, handle, uploads);
        const each = (message: Uint8Array): Promise<Uint8Array> => handle(message, Number.POSITIVE_INFINITY);
        const { refuse } = method;
        serveDuplex(stream, { timeoutMs, handle: each, refuse, uploads, stopping: plane.stopping });
      };
      try {
        if (isMisnamed(headers, peer)) throw new ServiceError('permission_denied', MISNAMED);
        const opened = method.open(headers, peer);
        if (opened instanceof Promise) waiting(stream, anteroom, peer, opened, serve);
        else serve(opened);
      } catch (error) {
        refuseUnread(stream, error);
      }
      return true;
    },
  };
}

const MISNAMED =
  'where no credential is needed, the host and the origin of a request are localhost or a loopback address, with the port, or the host of base_url';

/** Places for those who are not known yet, or never are: what they send is held in bounds. */
const ANTEROOM = {
  total: 1_024,
  each: 256,
  full: 'too many requests of callers that are not known yet are under way',
};

/** And for calls of what is open to all, of which some last as long as their callers like. */
const OPEN_TO_ALL = { total: 1_024, each: 128, full: 'too many calls without a credential are under way' };

/** Not a byte of the stream is read while it is found out whose it is. */
function waiting(
  stream: ServerHttp2Stream,
  anteroom: Places,
  peer: Peer,
  opened: Promise<UnaryHandler>,
  serve: (opened: UnaryHandler) => void,
): void {
  const place = anteroom.take(peer.address ?? '');
  opened
    .then((handle) => {
      if (!isGone(stream)) serve(handle);
    })
    .catch((error: unknown) => refuseUnread(stream, error))
    .finally(() => place[Symbol.dispose]());
}

/** Lets a call of a service in, before a byte of it is read. Throws or rejects with a ConnectError. */
async function gate(plane: Plane, context: HandlerContext, places: Places): Promise<void> {
  const { signal, method, values } = context;
  inTime(signal);
  try {
    const peer = values.get(peerKey);
    if (isOpenToAll(context.service)) {
      const place = places.take(peer.address ?? '');
      signal.addEventListener('abort', () => place[Symbol.dispose](), { once: true });
    } else {
      const greeting = plane.greet(context);
      if (greeting instanceof Promise) {
        using _place = places.take(peer.address ?? '');
        await greeting;
        inTime(signal);
      }
      peer.welcome?.();
    }
  } catch (error) {
    throw toConnectError(error, method.toString());
  }
  // The library ends a call with its error before it sends it: what it found wrong itself passes no interceptor.
  signal.addEventListener('abort', () => nameLibraryError(signal.reason, method.toString()), {
    once: true,
  });
}

/** Health and reflection are for everybody. */
const isOpenToAll = ({ typeName }: DescService): boolean => typeName.startsWith('grpc.');
const MAX_STRANGERS_BYTES = 4_096;

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
const NOBODY: Peer = { loopback: false, spiffeId: undefined };

function peerOf(socket: Socket | undefined, welcome?: () => void): Peer {
  if (!socket) return NOBODY;
  const known = peers.get(socket);
  if (known) return known;
  const peer = peerOn(socket, welcome);
  peers.set(socket, peer);
  return peer;
}

/** Of HTTP/2 the connection's, not one for each stream. */
function peerOfRequest(request: NodeRequest): Peer {
  if (!('stream' in request)) return peerOf(request.socket as TLSSocket);
  return peerOfSession(request.stream.session);
}

const peerOfSession = (session: Http2Session | undefined): Peer =>
  peerOf(session?.socket as TLSSocket | undefined, () => welcome(session as ServerHttp2Session));

function refuse(response: NodeResponse, error: unknown): void {
  if (response.headersSent) response.destroy();
  else writeResponse(response, errorResponse(error, 'http'));
}
