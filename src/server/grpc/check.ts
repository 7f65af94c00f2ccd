import { fromBinary, toBinary } from '@bufbuild/protobuf';
import type { IncomingHttpHeaders } from 'node:http2';
import type { Decisions } from '../../decision/decisions.ts';
import { ServiceError } from '../../errors.ts';
import {
  type CheckRequest,
  CheckRequestSchema,
  CheckResponseSchema,
} from '../../gen/mandate/v1/decision_pb.ts';
import type { Callers } from '../../tenancy/callers.ts';
import type { Tenants } from '../../tenancy/tenants.ts';
import { checkResponse, requestOf } from '../connect/messages.ts';
import { type Peer, presentedBy } from '../peer.ts';

/** `Check` on the hot path: from bytes to bytes. */
export function checkHandler(parts: { tenants: Tenants; callers: Callers; decisions: Decisions }) {
  return async (message: Uint8Array, headers: IncomingHttpHeaders, peer: Peer): Promise<Uint8Array> => {
    const request = decode(message);
    const tenant = parts.tenants.get(request.tenant);
    const caller = parts.callers.authenticate(tenant, presentedBy(headers.authorization, peer), 'check');
    const answer = await parts.decisions.check(tenant, caller, requestOf(request));
    return toBinary(CheckResponseSchema, checkResponse(answer));
  };
}

function decode(message: Uint8Array): CheckRequest {
  try {
    return fromBinary(CheckRequestSchema, message);
  } catch (cause) {
    throw new ServiceError('invalid_request', 'the message is not a CheckRequest', { cause });
  }
}
