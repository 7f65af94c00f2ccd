import { promisify } from 'node:util';
import { brotliCompress, constants } from 'node:zlib';
import type { DescService } from '@bufbuild/protobuf';
import {
  Code,
  ConnectError,
  type ConnectRouter,
  type ConnectRouterOptions,
  type ContextValues,
  createConnectRouter,
} from '@connectrpc/connect';
import type { UniversalHandler, UniversalServerResponse } from '@connectrpc/connect/protocol';
import {
  compressionBrotli,
  compressionGzip,
  universalRequestFromNodeRequest,
  universalResponseToNodeResponse,
} from '@connectrpc/connect-node';
import { ServiceError } from '../../errors.ts';
import { ERROR_CODE_HEADER, errorForms, toConnectError, toServiceError } from '../errors.ts';
import { endWithAnswer, type NodeRequest } from '../http/exchange.ts';
import type { Uploads } from '../intake/uploads.ts';
import type { Handlers } from '../listener.ts';
import { boundedBody, packingOf } from './body.ts';
import { peerKey } from './context.ts';
import { withPlainMessage } from './grpc-message.ts';

type NodeHandler = Handlers['request'];

export interface AdapterOptions extends ConnectRouterOptions {
  readonly routes: (router: ConnectRouter) => void;
  readonly contextValues: (request: NodeRequest) => ContextValues;
  readonly uploads: Uploads;
  /** The most bytes of a message. */
  readonly maxBytes: (service: DescService) => number;
  /** Takes what is no method of a service. */
  readonly fallback: NodeHandler;
}

/** The Connect library's handlers as one of Node's, with bodies that are bounded and refusals that have a code. */
export function connectHandler({
  routes,
  contextValues,
  uploads,
  maxBytes,
  fallback,
  ...options
}: AdapterOptions): NodeHandler {
  const router = createConnectRouter({
    ...options,
    acceptCompression: [compressionGzip, quickBrotli],
  });
  routes(router);
  const handlers = new Map(router.handlers.map((handler) => [handler.requestPath, handler]));

  const serve = async (
    handler: UniversalHandler,
    request: Parameters<NodeHandler>[0],
    response: Parameters<NodeHandler>[1],
  ): Promise<void> => {
    const values = contextValues(request);
    const universal = universalRequestFromNodeRequest(request, response, undefined, values);
    const where = handler.method.toString();
    const whom = values.get(peerKey).address ?? '';
    const bounds = { uploads, whom, maxBytes: maxBytes(handler.service) };
    const body = boundedBody(request, packingOf(universal.header), bounds, where);
    const signal = goneAt(universal.signal);
    const answer = withPlainMessage(coded(await handler({ ...universal, body, signal }), handler, where));
    endWithAnswer(request, response);
    try {
      await universalResponseToNodeResponse(answer, response);
    } catch (error) {
      // The library's word for a connection that is over.
      if (!universal.signal.aborted && ConnectError.from(error).code !== Code.Aborted) throw error;
    }
  };

  return (request, response) => {
    const handler = handlers.get(request.url?.split('?', 1)[0] ?? '');
    if (!handler) return fallback(request, response);
    serve(handler, request, response).catch((error: unknown) => {
      // Whatever a service throws has become an answer before.
      toServiceError(error, handler.method.toString());
      response.destroy();
    });
  };
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
function goneAt(closed: AbortSignal): AbortSignal {
  const gone = new AbortController();
  const leave = (): void =>
    gone.abort(toConnectError(new ServiceError('cancelled', 'the caller is gone'), ''));
  if (closed.aborted) leave();
  else closed.addEventListener('abort', leave, { once: true });
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
