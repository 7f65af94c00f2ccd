import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { ShipRequestSchema, ShipResponseSchema } from '../../gen/mandate/v1/sync_pb.ts';
import type { Callers } from '../../tenancy/callers.ts';
import type { Shipments } from '../intake/shipments.ts';
import { presentedBy } from '../peer.ts';
import type { HotMethod } from '../server.ts';
import { tenantIn } from './codec/outline.ts';
import { parsed } from './codec/request.ts';
import { encodeRaw } from './codec/response.ts';
import type { UnaryHandler } from './unary.ts';

/** SyncService/Ship from bytes to bytes: what is a quarter of a megabyte, again and again, is read by the thread that it is for. */
export function shipMethod(parts: {
  readonly callers: Pick<Callers, 'greet'>;
  readonly shipments: Pick<Shipments, 'take'>;
}): HotMethod {
  return {
    kind: 'unary',
    name: 'mandate.v1.SyncService/Ship',
    open: (authorization, peer) => {
      const presented = presentedBy(authorization, peer);
      const handle: UnaryHandler = async (message) => {
        const kept = await parts.shipments.take(presented, tenantOf(message), message);
        return encodeRaw(toBinary(ShipResponseSchema, create(ShipResponseSchema, { kept: BigInt(kept) })));
      };
      const greeting = parts.callers.greet(presented);
      return greeting instanceof Promise ? greeting.then(() => handle) : handle;
    },
  };
}

/** Throws `invalid_request`. */
const tenantOf = (message: Uint8Array): string =>
  tenantIn(message) ?? parsed(() => fromBinary(ShipRequestSchema, message), 'ShipRequest').tenant;
