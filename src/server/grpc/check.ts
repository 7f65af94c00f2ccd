import { ServiceError } from '../../errors.ts';
import { batch, check, type DecisionParts } from '../connect/decision.ts';
import { toServiceError } from '../errors.ts';
import { presentedBy } from '../peer.ts';
import type { HotMethod } from '../server.ts';
import { decodeBatch, decodeCheck, decodeStreamCheck } from './codec/request.ts';
import { encodeBatch, encodeCheck, encodeStreamAnswer, encodeStreamError } from './codec/response.ts';

/** The methods of DecisionService on the hot path: from bytes to bytes. */
export function hotMethods(parts: DecisionParts): Record<'Check' | 'CheckBatch' | 'CheckStream', HotMethod> {
  return {
    Check: {
      kind: 'unary',
      name: 'mandate.v1.DecisionService/Check',
      open: (headers, peer) => {
        const presented = presentedBy(headers.authorization, peer);
        return async (message) => {
          const { tenant, request } = decodeCheck(message);
          return encodeCheck(await check(parts, presented, tenant, request));
        };
      },
    },
    CheckBatch: {
      kind: 'unary',
      name: 'mandate.v1.DecisionService/CheckBatch',
      open: (headers, peer) => {
        const presented = presentedBy(headers.authorization, peer);
        return async (message) => encodeBatch(await batch(parts, presented, decodeBatch(message)));
      },
    },
    CheckStream: {
      kind: 'duplex',
      name: 'mandate.v1.DecisionService/CheckStream',
      open: (headers, peer) => {
        const presented = presentedBy(headers.authorization, peer);
        return async (message) => {
          const { correlationId, asked } = decodeStreamCheck(message);
          try {
            if (!asked) throw new ServiceError('invalid_request', 'request is missing');
            return encodeStreamAnswer(
              correlationId,
              await check(parts, presented, asked.tenant, asked.request),
            );
          } catch (error) {
            return encodeStreamError(correlationId, toServiceError(error, 'CheckStream'));
          }
        };
      },
    },
  };
}
