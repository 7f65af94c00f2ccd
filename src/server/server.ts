import {
  type ConnectRouter,
  createContextValues,
  type HandlerContext,
  type Interceptor,
} from '@connectrpc/connect';
import { ServiceError } from '../errors.ts';
import type { Fields } from '../http2/fields.ts';
import type { ServerStream } from '../http2/server-stream.ts';
import { connectHandler } from './connect/adapter.ts';
import { peerKey } from './connect/context.ts';
import { toConnectError } from './errors.ts';
import { type Forwarding, PASSED_ON, passedBefore } from './forwarding.ts';
import { Gate, inTime } from './gate.ts';
import { timeoutOf } from './grpc/deadline.ts';
import { serveDuplex } from './grpc/duplex.ts';
import { MAX_MESSAGE_BYTES } from './grpc/frames.ts';
import { fail, serveUnary, type UnaryHandler } from './grpc/unary.ts';
import {
  errorResponse,
  type HttpResponse,
  headerOf,
  namesIn,
  STATE_VERSION_HEADER,
  writeResponse,
} from './http/exchange.ts';
import type { Router } from './http/router.ts';
import { isNamedRightly, type Names } from './intake/hosts.ts';
import type { SharedTally } from './intake/tally.ts';
import { ROUND_MS, Uploads } from './intake/uploads.ts';
import type { Handlers } from './listener.ts';
import type { Peer } from './peer.ts';
import { noTracing, type Tracing } from './tracing.ts';
import type { Exchange } from './transport/exchange.ts';

/** A gRPC method that is served straight on its stream. `open` may throw or reject: the call is refused then, unread. */
export type HotMethod = {
  /** How traces name it. */
  readonly name: string;
  readonly open: (authorization: string | undefined, peer: Peer) => UnaryHandler | Promise<UnaryHandler>;
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
  /** Who passes a request on, by its path; undefined for what is served here. */
  readonly passOn: (path: string) => Forwarding | undefined;
  /** Of a sidecar: nothing that was passed on comes here. */
  readonly passesOn: boolean;
  /** How far the state of a tenant is that answers are made by; undefined for no tenant. */
  readonly stateVersion: (tenant: string) => number | undefined;
  /** Whether a browser page of another origin must be kept out: a caller may come without a credential. */
  readonly guardHost: boolean;
  /** What the outside calls the data plane. */
  readonly base: () => string;
  /** Aborted when the server stops. */
  readonly stopping: AbortSignal;
}

/** One plane's requests, each to the layer that serves it. */
export function planeHandlers(
  plane: Plane,
  tracing: Tracing = noTracing,
  shared?: { readonly uploads: SharedTally; readonly anteroom: SharedTally },
): Handlers {
  const uploads = new Uploads(ROUND_MS, shared?.uploads);
  const gate = new Gate(plane.greet, shared?.anteroom);
  const connect = connectHandler({
    routes: plane.services,
    readMaxBytes: MAX_MESSAGE_BYTES,
    maxBytes: (service) => gate.maxBytes(service),
    interceptors: [errors, versioned(plane.stateVersion), traced(tracing)],
    uploads,
    requestGate: (context) => gate.enter(context),
    contextValues: ({ peer }) => createContextValues().set(peerKey, peer),
    fallback: (exchange) => {
      const intake = { uploads, anteroom: gate.anteroom };
      plane.router.serve(exchange, intake, tracing).catch((error: unknown) => refuse(exchange, error));
    },
  });
  return {
    request: (exchange) => {
      const { peer } = exchange;
      if (isMisnamed(plane, headerOf(exchange, 'authorization'), namesIn(exchange), peer))
        return writeResponse(exchange, misdirected);
      if (plane.passesOn && headerOf(exchange, PASSED_ON) !== undefined)
        return refuse(exchange, passedBefore());
      const forwarding = plane.passOn(exchange.url.split('?', 1)[0] ?? '');
      if (forwarding) forwarding.pass(exchange, uploads).catch((error: unknown) => refuse(exchange, error));
      else connect(exchange);
    },
    stream: hotHandler(plane, { uploads, gate, tracing }),
  };
}

/** Serves the methods of gRPC that are served straight on their streams; answers false for what is none of them. */
export function hotHandler(
  plane: Pick<Plane, 'hot' | 'guardHost' | 'base' | 'passesOn' | 'stopping'>,
  { uploads, gate, tracing = noTracing }: { uploads: Uploads; gate: Gate; tracing?: Tracing },
): NonNullable<Handlers['stream']> {
  return (stream, peer) => {
    const { fields, line } = stream;
    const method = plane.hot.get(line.path);
    if (!method || line.method !== 'POST' || !isPlainGrpc(fields)) return false;
    const serve = (opened: UnaryHandler): void => {
      const handle = tracing === noTracing ? opened : spanned(tracing, method, fields, opened);
      peer.welcome?.();
      const { address: whom = '' } = peer;
      if (method.kind === 'unary') return serveUnary(stream, timeoutMs, handle, uploads, whom);
      const each = (message: Uint8Array): Promise<Uint8Array> => handle(message, Number.POSITIVE_INFINITY);
      const { refuse } = method;
      serveDuplex(stream, { timeoutMs, handle: each, refuse, uploads, whom, stopping: plane.stopping });
    };
    let timeoutMs: number;
    try {
      const authorization = fields.get('authorization');
      if (plane.guardHost && isMisnamed(plane, authorization, namesOf(stream), peer))
        throw new ServiceError('permission_denied', MISNAMED);
      if (plane.passesOn && fields.get(PASSED_ON) !== undefined) throw passedBefore();
      timeoutMs = timeoutOf(fields.get('grpc-timeout'));
      const opened = method.open(authorization, peer);
      if (opened instanceof Promise) gate.wait(stream, peer, opened, serve);
      else serve(opened);
    } catch (error) {
      fail(stream, error);
    }
    return true;
  };
}

/** A page cannot send a credential that it does not have. */
const isMisnamed = (
  { guardHost, base }: Pick<Plane, 'guardHost' | 'base'>,
  authorization: string | undefined,
  names: Names,
  peer: Peer,
): boolean => guardHost && authorization === undefined && !isNamedRightly(names, peer, base());

const namesOf = ({ line, fields }: ServerStream): Names => ({
  authority: line.authority,
  host: fields.get('host'),
  origin: fields.get('origin'),
});

const MISNAMED =
  'where no credential is needed, a request is for localhost, a loopback address or the host of base_url, and from no page of another origin';
const misdirected: HttpResponse = {
  status: 421,
  body: { error: 'invalid_request', error_description: MISNAMED },
};

/** A span a message. */
function spanned(tracing: Tracing, { name }: HotMethod, fields: Fields, handle: UnaryHandler): UnaryHandler {
  const headers = fields.toRecord();
  return (message, until) => tracing(name, headers, () => handle(message, until));
}

/** What the hot handler takes: gRPC with protobuf, uncompressed. The rest is Connect's. */
const isPlainGrpc = (fields: Fields): boolean => {
  const type = fields.get('content-type');
  const encoding = fields.get('grpc-encoding');
  return (
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

/** Whoever has changed something can say elsewhere that it is to be seen (`CheckRequest.at_least`). */
const versioned =
  (stateVersion: Plane['stateVersion']): Interceptor =>
  (next) =>
  async (request) => {
    const response = await next(request);
    if (request.stream || response.stream) return response;
    const { tenant } = request.message as { tenant?: unknown };
    const version = typeof tenant === 'string' ? stateVersion(tenant) : undefined;
    if (version !== undefined) response.header.set(STATE_VERSION_HEADER, String(version));
    return response;
  };

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

function refuse(exchange: Exchange, error: unknown): void {
  if (exchange.hasBegun) exchange.destroy();
  else writeResponse(exchange, errorResponse(error, 'http'));
}
