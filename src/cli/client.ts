import type { DescService } from '@bufbuild/protobuf';
import { type Client, createClient, type Interceptor, type Transport } from '@connectrpc/connect';
import {
  type ConnectTransportOptions,
  createConnectTransport,
  Http2SessionManager,
} from '@connectrpc/connect-node';
import { ServiceError } from '../errors.ts';
import { addressOf, type Plane } from './address.ts';
import { explained, explainedMidway } from './terminal/explain.ts';
import type { GlobalOptions } from './terminal/output.ts';

/** A client of one of the planes, with the caller's credential. What it throws is explained. */
export function clientOf<T extends DescService>(
  service: T,
  plane: Plane,
  options: GlobalOptions,
  transportOptions: Pick<ConnectTransportOptions, 'acceptCompression'> = {},
): Client<T> {
  const address = addressOf(plane, options);
  const { credential } = options;
  // Refused here, as the library's own message would quote it.
  if (credential && !/^[\x21-\x7e]+$/.test(credential))
    throw new ServiceError('invalid_request', 'the credential has a space, a line break or the like in it');
  const authorize: Interceptor = (next) => (request) => {
    if (credential) request.header.set('authorization', `Bearer ${credential}`);
    return next(request);
  };
  const sessionManager = new Http2SessionManager(address);
  const transport = createConnectTransport({
    baseUrl: address,
    httpVersion: '2',
    interceptors: [authorize],
    sessionManager,
    ...transportOptions,
  });
  return createClient(
    service,
    explaining(transport, options.timeout * 1_000, (error, explain) => {
      // A stream that nobody reads, or a connection that never comes about, would keep the process.
      sessionManager.abort();
      return explain(error, address);
    }),
  );
}

type Failed = (error: unknown, explain: typeof explained) => Error;

/**
 * Around the transport, as what an interceptor throws is wrapped again by the library and loses its code. The
 * transport's own deadline would end streams as well.
 */
const explaining = (transport: Transport, deadlineMs: number, failed: Failed): Transport => ({
  async unary(method, signal, timeoutMs = deadlineMs, ...call) {
    try {
      return await transport.unary(method, signal, timeoutMs, ...call);
    } catch (error) {
      throw failed(error, explained);
    }
  },
  async stream(...call) {
    try {
      const response = await transport.stream(...call);
      return { ...response, message: explainedEach(response.message, failed) };
    } catch (error) {
      throw failed(error, explained);
    }
  },
});

async function* explainedEach<T>(messages: AsyncIterable<T>, failed: Failed): AsyncGenerator<T> {
  try {
    yield* messages;
  } catch (error) {
    throw failed(error, explainedMidway);
  }
}
