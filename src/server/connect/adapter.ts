import { setImmediate as nextTurn } from 'node:timers/promises';
import { promisify } from 'node:util';
import { brotliCompress, constants } from 'node:zlib';
import type { DescService } from '@bufbuild/protobuf';
import {
  Code,
  type ConnectRouter,
  type ConnectRouterOptions,
  type ContextValues,
  createConnectRouter,
} from '@connectrpc/connect';
import type { UniversalHandler, UniversalServerResponse } from '@connectrpc/connect/protocol';
import { compressionBrotli, compressionGzip } from '@connectrpc/connect-node';
import { ServiceError } from '../../errors.ts';
import { ERROR_CODE_HEADER, errorForms, toConnectError, toServiceError } from '../errors.ts';
import { forgetFarDeadline } from '../grpc/deadline.ts';
import type { Uploads } from '../intake/uploads.ts';
import type { Exchange } from '../transport/exchange.ts';
import { boundedBody, packingOf } from './body.ts';
import { withPlainMessage } from './grpc-message.ts';

export interface AdapterOptions extends ConnectRouterOptions {
  readonly routes: (router: ConnectRouter) => void;
  readonly contextValues: (exchange: Exchange) => ContextValues;
  readonly uploads: Uploads;
  /** The most bytes of a message. */
  readonly maxBytes: (service: DescService) => number;
  /** Takes what is no method of a service. */
  readonly fallback: (exchange: Exchange) => void;
}

/** The Connect library's handlers, with bodies that are bounded and refusals that have a code. */
export function connectHandler({
  routes,
  contextValues,
  uploads,
  maxBytes,
  fallback,
  ...options
}: AdapterOptions): (exchange: Exchange) => void {
  const router = createConnectRouter({
    ...options,
    acceptCompression: [compressionGzip, quickBrotli],
  });
  routes(router);
  const handlers = new Map(router.handlers.map((handler) => [handler.requestPath, handler]));

  const serve = async (handler: UniversalHandler, exchange: Exchange): Promise<void> => {
    const values = contextValues(exchange);
    const header = headersOf(exchange);
    const where = handler.method.toString();
    const whom = exchange.peer.address ?? '';
    const bounds = { uploads, whom, maxBytes: maxBytes(handler.service) };
    const answer = await handler({
      httpVersion: exchange.version,
      method: exchange.method,
      url: `${exchange.scheme}://${exchange.authority ?? 'localhost'}${exchange.url}`,
      header,
      body: boundedBody(exchange, packingOf(header), bounds, where),
      signal: goneWith(exchange),
      contextValues: values,
    });
    await send(withPlainMessage(coded(answer, handler, where)), exchange);
  };

  return (exchange) => {
    const handler = handlers.get(exchange.url.split('?', 1)[0] ?? '');
    if (!handler) return fallback(exchange);
    serve(handler, exchange).catch((error: unknown) => {
      // Whatever a service throws has become an answer before.
      toServiceError(error, handler.method.toString());
      exchange.destroy();
    });
  };
}

/** As the library takes them: names of HTTP/2's control data are none. */
function headersOf(exchange: Exchange): Headers {
  const header = new Headers();
  for (const [name, value] of Object.entries(exchange.headers))
    if (!name.startsWith(':')) for (const each of [value ?? ''].flat()) header.append(name, each);
  forgetFarDeadline(header);
  return header;
}

/** The head goes out with the first message: a service may say what is in it until then. */
async function send(answer: UniversalServerResponse, exchange: Exchange): Promise<void> {
  const messages = answer.body?.[Symbol.asyncIterator]();
  try {
    let next = await messages?.next();
    exchange.respond(answer.status, answer.header ?? new Headers());
    // Node's client loses an answer that comes to it whole in one read: it closes the stream before anybody listens.
    if (exchange.version === '2.0') await nextTurn();
    for (; next && !next.done; next = await messages?.next()) await exchange.write(next.value);
    exchange.end(answer.trailer);
  } finally {
    // A service that is not asked for more has to end.
    messages?.return?.().catch(() => undefined);
  }
}

/** Browsers ask for it, and at its default of the best it takes a second for a large answer. */
const quickBrotli: typeof compressionBrotli = {
  ...compressionBrotli,
  compress: async (bytes) =>
    Uint8Array.from(
      await promisify(brotliCompress)(bytes, { params: { [constants.BROTLI_PARAM_QUALITY]: 4 } }),
    ),
};

/** However a peer breaks a call off, and whatever code it gives for it: it is gone, and nothing failed here. */
function goneWith(exchange: Exchange): AbortSignal {
  const gone = new AbortController();
  exchange.onClosed(() =>
    gone.abort(toConnectError(new ServiceError('cancelled', 'the caller is gone'), '')),
  );
  return gone.signal;
}

/** Refusals of the library that have neither body nor code, by status. */
const refusals = {
  405: ({ allowedMethods }: UniversalHandler) =>
    new ServiceError('method_not_allowed', `this method takes ${allowedMethods.join(', ')}`),
  415: () =>
    new ServiceError(
      'unsupported_media_type',
      'the content type is application/json or application/proto, or one of gRPC, gRPC-Web or Connect streams',
    ),
  505: () => new ServiceError('invalid_request', 'a stream both ways takes HTTP/2'),
} as const;

/** In Connect's form of an error, which is JSON that anybody can read. */
function coded(
  answer: UniversalServerResponse,
  handler: UniversalHandler,
  where: string,
): UniversalServerResponse {
  const refuse = refusals[answer.status as keyof typeof refusals];
  if (!refuse || answer.body) return answer;
  const { code, message } = toServiceError(refuse(handler), where);
  const header = new Headers(answer.header);
  header.set('content-type', 'application/json');
  header.set(ERROR_CODE_HEADER, code);
  if (answer.status === 405) header.set('allow', handler.allowedMethods.join(', '));
  const name = Code[errorForms[code].grpc].replace(/(?<!^)[A-Z]/g, '_$&').toLowerCase();
  const text = JSON.stringify({ code: name, message: `${code}: ${message}` });
  return { ...answer, header, body: once(Buffer.from(text)) };
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}
