import type { Answer, Decisions } from '../../decision/decisions.ts';
import type { UncheckedRequest } from '../../decision/request.ts';
import { ServiceError } from '../../errors.ts';
import type { Caller } from '../../tenancy/callers.ts';
import type { Operation } from '../../tenancy/manifest.ts';
import type { Tenant } from '../../tenancy/tenants.ts';
import { batchOfItems } from '../connect/decision.ts';
import { outlineOf } from '../grpc/codec/outline.ts';
import { decodeBatch, decodeCheck, decodeStreamCheck } from '../grpc/codec/request.ts';
import { encodeBatch, encodeCheck, encodeStreamAnswer } from '../grpc/codec/response.ts';
import type { Kind, Named } from './protocol.ts';

/** What was admitted by the outline of a message. */
interface Outlined {
  readonly decisions: Decisions;
  readonly tenant: Tenant;
  readonly caller: Caller;
  readonly kind: Kind;
  readonly message: Uint8Array;
  readonly isVouched: boolean;
  /** Whether nobody waits any more, asked between the items of a batch. */
  readonly isOver: () => boolean;
}

/**
 * Decides it, and answers a whole frame. Not async, so that nothing of the message is kept while its record is committed.
 * Throws or rejects with what `Decisions` does, and with `invalid_request` where the message is not as it was outlined.
 */
export function decided(outlined: Outlined): Promise<Uint8Array> {
  const { decisions, tenant, caller, message, isVouched, isOver } = outlined;
  switch (outlined.kind) {
    case 'check': {
      const asked = decodeCheck(message);
      sameAs(asked.tenant === tenant.id && isOurs(asked.request, isVouched));
      return decisions.check(tenant, caller, asked.request).then(encodeCheck);
    }
    case 'batch': {
      const asked = decodeBatch(message);
      const { tenant: named, defaults } = asked;
      sameAs(named === tenant.id && isOurs(defaults, isVouched));
      // One without items is outlined as of one, and refused below.
      sameAs(Math.max(1, asked.items.length) === outlineOf(message)?.items);
      const { items, semantic } = batchOfItems(asked);
      return decisions.checkBatch(tenant, caller, items, semantic, { isOver }).then(encodeBatch);
    }
    case 'stream': {
      const { correlationId, asked } = decodeStreamCheck(message);
      if (!asked) throw new ServiceError('invalid_request', 'request is missing');
      sameAs(asked.tenant === tenant.id && isOurs(asked.request, isVouched));
      return answered(correlationId, decisions.check(tenant, caller, asked.request));
    }
  }
}

const answered = (correlationId: bigint | number, answer: Promise<Answer>): Promise<Uint8Array> =>
  answer.then((decision) => encodeStreamAnswer(correlationId, decision));

/** Tokens and approvals are looked at by main. */
const isOurs = ({ token, proof, approval }: UncheckedRequest, isVouched: boolean): boolean =>
  (token !== undefined) === isVouched && proof === undefined && approval === undefined;

/**
 * A caller is admitted by the outline of its message. The generated code lets a member run over the end of the one around
 * it, and may so read a malformed message in another way than its outline.
 */
function sameAs(outlined: boolean): void {
  if (!outlined) throw new ServiceError('invalid_request', 'the message is not sound');
}

/** What may be asked for was settled before: here a caller is but a name. */
export function callerNamed({ caller: id, audiences, readsPolicy }: Omit<Named, 'no'>): Caller {
  const may = new Set<Operation>(readsPolicy ? ['policy.read'] : []);
  return { id, principal: undefined, may, audiences };
}
