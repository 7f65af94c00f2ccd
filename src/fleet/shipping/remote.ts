import { ConnectError, createClient } from '@connectrpc/connect';
import { createGrpcTransport, Http2SessionManager } from '@connectrpc/connect-node';
import { SyncService } from '../../gen/mandate/v1/sync_pb.ts';
import { type AuthorityPlace, authorized } from '../authority.ts';
import { NotTaken } from './shipper.ts';
import type { Outgoing } from './unshipped.ts';

/** How long an authority may take for one part of a log. */
const ANSWER_MS = 30_000;

export interface Receiving extends Disposable {
  ship(outgoing: Outgoing, signal: AbortSignal): Promise<number>;
}

/** An authority that keeps logs, over gRPC. */
export function receivingAt({ url, secret, ca, cert, key: ownKey }: AuthorityPlace): Receiving {
  const sessionManager = new Http2SessionManager(url.origin, {}, { ca, cert, key: ownKey });
  const transport = createGrpcTransport({
    baseUrl: url.origin,
    interceptors: [authorized(secret)],
    sessionManager,
  });
  const client = createClient(SyncService, transport);
  return {
    async ship({ tenant, key, checkpoint, from, entries, proof, parts }, signal) {
      const message = {
        tenant,
        key,
        checkpoint,
        from: BigInt(from),
        entries: entries.map((each) => Buffer.from(each)),
        proof: proof.map((each) => Buffer.from(each)),
        parts: parts.map(({ digest, body }) => ({ sha256: digest, body })),
      };
      try {
        return Number((await client.ship(message, { signal, timeoutMs: ANSWER_MS })).kept);
      } catch (error) {
        const isAnswer = error instanceof ConnectError && error.metadata.has('mandate-error-code');
        throw isAnswer ? new NotTaken(error.rawMessage, { cause: error }) : error;
      }
    },
    [Symbol.dispose]: () => sessionManager.abort(),
  };
}
