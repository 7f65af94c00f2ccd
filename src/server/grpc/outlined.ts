import { metersMet } from '../../decision/metering/met.ts';
import type { UncheckedRequest } from '../../decision/request.ts';
import type { Tenant } from '../../tenancy/tenants.ts';
import { batchOfItems } from '../connect/decision.ts';
import type { Kind } from '../offload/protocol.ts';
import { type Outline, outlineOf, outlineOfStream } from './codec/outline.ts';
import { decodeBatch, decodeCheck, decodeStreamCheck } from './codec/request.ts';

/** What is known of a message before it is decided where. */

export const outlines = {
  check: outlineOf,
  batch: outlineOf,
  stream: outlineOfStream,
} as const satisfies Record<Kind, (message: Uint8Array) => Outline | undefined>;

interface Asked {
  /** Whose token it comes with, if with any. */
  readonly by: UncheckedRequest;
  readonly requests: readonly UncheckedRequest[];
}

/** What a message asks, and by which token; undefined where it is not sound. */
export const askedIn: Readonly<Record<Kind, (message: Uint8Array) => Asked | undefined>> = {
  check: (message) => soundly(() => askedBy(decodeCheck(message).request)),
  stream: (message) => soundly(() => askedBy(decodeStreamCheck(message).asked?.request)),
  batch: (message) =>
    soundly(() => {
      const whole = decodeBatch(message);
      return { by: whole.defaults, requests: batchOfItems(whole).items };
    }),
};

const askedBy = (request: UncheckedRequest | undefined): Asked | undefined =>
  request && { by: request, requests: [request] };

function soundly(read: () => Asked | undefined): Asked | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}

/** Whether any of it is counted, which is done in one place. */
export const isCounted = ({ manifest }: Tenant, { requests }: Asked): boolean =>
  requests.some(({ action }) => action !== undefined && metersMet(manifest, action.name));
