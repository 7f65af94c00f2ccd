import type { IncomingHttpHeaders } from 'node:http2';
import {
  type ConnectRouter,
  createContextValues,
  type HandlerContext,
  type Interceptor,
} from '@connectrpc/connect';
import { ServiceError } from '../errors.ts';
import { connectHandler } from './connect/adapter.ts';
import { peerKey } from './connect/context.ts';
import { toConnectError } from './errors.ts';
import { Gate, inTime } from './gate.ts';
import { forgetFarDeadline, timeoutOf } from './grpc/deadline.ts';
import { serveDuplex } from './grpc/duplex.ts';
import { MAX_MESSAGE_BYTES } from './grpc/frames.ts';
import { refuseUnread, serveUnary, type UnaryHandler } from './grpc/unary.ts';
import {
  endWithAnswer,
  errorResponse,
  type HttpResponse,
  type NodeResponse,
  writeResponse,
} from './http/exchange.ts';
import { areHeadersTooLong, headersTooLong } from './http/malformed.ts';
import type { Router } from './http/router.ts';
import { isNamedRightly } from './intake/hosts.ts';
import { Uploads } from './intake/uploads.ts';
import type { Handlers } from './listener.ts';
import type { Peer } from './peer.ts';
import { peerOfRequest, peerOfSession } from './peers.ts';
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
  const gate = new Gate(plane.greet);
  const connect = connectHandler({
    routes: plane.services,
    readMaxBytes: MAX_MESSAGE_BYTES,
    maxBytes: (service) => gate.maxBytes(service),
    interceptors: [errors, traced(tracing)],
    uploads,
    requestGate: (context) => gate.enter(context),
    contextValues: (request) => createContextValues().set(peerKey, peerOfRequest(request)),
    fallback: (request, response) => {
      const intake = { peer: peerOfRequest(request), uploads, anteroom: gate.anteroom };
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
      const refusal = areHeadersTooLong(request)
        ? headersTooLong
        : isMisnamed(request.headers, peerOfRequest(request))
          ? misdirected
          : undefined;
      if (refusal) {
        endWithAnswer(request, response);
        return writeResponse(response, refusal);
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
        const { address: whom = '' } = peer;
        if (method.kind === 'unary') return serveUnary(stream, timeoutMs, handle, uploads, whom);
        const each = (message: Uint8Array): Promise<Uint8Array> => handle(message, Number.POSITIVE_INFINITY);
        const { refuse } = method;
        serveDuplex(stream, { timeoutMs, handle: each, refuse, uploads, whom, stopping: plane.stopping });
      };
      try {
        if (isMisnamed(headers, peer)) throw new ServiceError('permission_denied', MISNAMED);
        const opened = method.open(headers, peer);
        if (opened instanceof Promise) gate.wait(stream, peer, opened, serve);
        else serve(opened);
      } catch (error) {
        refuseUnread(stream, error);
      }
      return true;
    },
  };
}

const MISNAMED =
  'where no credential is needed, a request is for localhost, a loopback address or the host of base_url, and from no page of another origin';
const misdirected: HttpResponse = {
  status: 421,
  body: { error: 'invalid_request', error_description: MISNAMED },
};

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

async function* guarded<T>(messages: AsyncIterable<T>, where: string): AsyncGenerator<T> {
  try {
    yield* messages;
  } catch (error) {
    throw toConnectError(error, where);
  }
}

function refuse(response: NodeResponse, error: unknown): void {
  if (response.headersSent) response.destroy();
  else writeResponse(response, errorResponse(error, 'http'));
}
