import type { DescService } from '@bufbuild/protobuf';
import { type Client, createClient, type Interceptor, type Transport } from '@connectrpc/connect';
import { createConnectTransport } from '@connectrpc/connect-node';
import { explained } from './explain.ts';
import type { GlobalOptions } from './output.ts';

/** A client of one of the planes, with the caller's credential. What it throws is explained. */
export function clientOf<T extends DescService>(
  service: T,
  plane: 'data' | 'admin',
  options: GlobalOptions,
): Client<T> {
  const address = options[plane];
  const secret = options.credential ?? process.env['MANDATE_CREDENTIAL'];
  const authorize: Interceptor = (next) => (request) => {
    if (secret) request.header.set('authorization', `Bearer ${secret}`);
    return next(request);
  };
  const transport = createConnectTransport({
    baseUrl: address,
    httpVersion: '2',
    interceptors: [authorize],
  });
  return createClient(service, explaining(transport, address));
}

/** Around the transport, as what an interceptor throws is wrapped again by the library and loses its code. */
const explaining = (transport: Transport, address: string): Transport => ({
  async unary(...call) {
    try {
      return await transport.unary(...call);
    } catch (error) {
      throw explained(error, address);
    }
  },
  async stream(...call) {
    try {
      const response = await transport.stream(...call);
      return { ...response, message: explainedEach(response.message, address) };
    } catch (error) {
      throw explained(error, address);
    }
  },
});

async function* explainedEach<T>(messages: AsyncIterable<T>, address: string): AsyncGenerator<T> {
  try {
    yield* messages;
  } catch (error) {
    throw explained(error, address);
  }
}
