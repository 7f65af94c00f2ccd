import { fromBinary } from '@bufbuild/protobuf';
import { ServiceError } from '../../errors.ts';
import { type ShipRequest, ShipRequestSchema } from '../../gen/mandate/v1/sync_pb.ts';
import type { Owner, Shipment } from './shipment.ts';

/** The shipment in a ShipRequest of the tenant; its entries are views of the message. Throws `invalid_request`. */
export function shipmentIn({ id }: Owner, message: Uint8Array): Shipment {
  const { tenant, key, checkpoint, from, entries, proof, parts } = requestIn(message);
  // Whoever let it in has read the name too.
  if (tenant !== id) throw new ServiceError('invalid_request', `the message is not of ${id}`);
  const shared = parts.map(({ sha256, body }) => ({ digest: sha256, body }));
  return { key, checkpoint, from: Number(from), entries, proof, parts: shared };
}

function requestIn(message: Uint8Array): ShipRequest {
  try {
    return fromBinary(ShipRequestSchema, message);
  } catch (cause) {
    throw new ServiceError('invalid_request', 'the message is not a ShipRequest', { cause });
  }
}
