import type { DescService } from '@bufbuild/protobuf';
import { type Client, ConnectError, createClient, type Interceptor } from '@connectrpc/connect';
import { createConnectTransport } from '@connectrpc/connect-node';
import { ServiceError } from '../errors.ts';
import type { GlobalOptions } from './output.ts';

/** A client of one of the planes, with the caller's credential. */
export function clientOf<T extends DescService>(
  service: T,
  plane: 'data' | 'admin',
  options: GlobalOptions,
  credential?: string,
): Client<T> {
  const secret = credential ?? options.credential ?? process.env['MANDATE_CREDENTIAL'];
  const authorize: Interceptor = (next) => (request) => {
    if (secret) request.header.set('authorization', `Bearer ${secret}`);
    return next(request);
  };
  const explain: Interceptor = (next) => async (request) => {
    try {
      return await next(request);
    } catch (error) {
      throw explained(error, options[plane]);
    }
  };
  const transport = createConnectTransport({
    baseUrl: options[plane],
    httpVersion: '2',
    interceptors: [explain, authorize],
  });
  return createClient(service, transport);
}

/** What the server said, or that there is none. */
export function explained(error: unknown, address: string): Error {
  if (!(error instanceof ConnectError)) return error instanceof Error ? error : new Error(String(error));
  if (/ECONNREFUSED|ENOENT|ECONNRESET/.test(error.rawMessage))
    return new ServiceError('unavailable', `nothing answers at ${address}; is "mandate serve" running?`, {
      cause: error,
    });
  return new Error(error.rawMessage, { cause: error });
}
