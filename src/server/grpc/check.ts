import { type DescMessage, fromBinary, type MessageShape, toBinary } from '@bufbuild/protobuf';
import { ServiceError } from '../../errors.ts';
import {
  CheckBatchRequestSchema,
  CheckBatchResponseSchema,
  CheckRequestSchema,
  CheckResponseSchema,
  CheckStreamRequestSchema,
  CheckStreamResponseSchema,
} from '../../gen/mandate/v1/decision_pb.ts';
import { check, checkBatch, checkOne, type DecisionParts } from '../connect/decision.ts';
import { presentedBy } from '../peer.ts';
import type { HotMethod } from '../server.ts';

/** The methods of DecisionService on the hot path: from bytes to bytes. */
export function hotMethods(parts: DecisionParts): Record<'Check' | 'CheckBatch' | 'CheckStream', HotMethod> {
  return {
    Check: {
      kind: 'unary',
      open: (headers, peer) => {
        const presented = presentedBy(headers.authorization, peer);
        return async (message) =>
          toBinary(CheckResponseSchema, await check(parts, presented, decode(CheckRequestSchema, message)));
      },
    },
    CheckBatch: {
      kind: 'unary',
      open: (headers, peer) => {
        const presented = presentedBy(headers.authorization, peer);
        return async (message) =>
          toBinary(
            CheckBatchResponseSchema,
            await checkBatch(parts, presented, decode(CheckBatchRequestSchema, message)),
          );
      },
    },
    CheckStream: {
      kind: 'duplex',
      open: (headers, peer) => {
        const presented = presentedBy(headers.authorization, peer);
        return async (message) =>
          toBinary(
            CheckStreamResponseSchema,
            await checkOne(parts, presented, decode(CheckStreamRequestSchema, message)),
          );
      },
    },
  };
}

function decode<T extends DescMessage>(schema: T, message: Uint8Array): MessageShape<T> {
  try {
    return fromBinary(schema, message);
  } catch (cause) {
    throw new ServiceError('invalid_request', `the message is not a ${schema.name}`, { cause });
  }
}
