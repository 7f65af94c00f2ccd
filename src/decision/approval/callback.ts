import { ServiceError } from '../../errors.ts';
import type { ApprovalState } from '../../storage/approvals/rows.ts';
import type { Tenant } from '../../tenancy/tenants.ts';
import type { JsonObject } from '../request.ts';

/** How a request stands, in the words of the profile (section 6.1). */
export const taskStatuses = {
  pending: 'pending',
  approved: 'approved',
  used: 'approved',
  rejected: 'denied',
  cancelled: 'cancelled',
  expired: 'expired',
} as const satisfies Record<ApprovalState, string>;

/** Whom to tell once a request was decided (section 9). */
export interface Callback {
  readonly endpoint: string;
  /** The requester's own, given back as it is. */
  readonly state?: string;
  /** Statuses to tell of; left out: all. */
  readonly events?: readonly string[];
}

const EVENTS = ['approved', 'denied', 'expired', 'cancelled', 'failed', 'partial'];
const MAX_STATE = 1_024;

/**
 * Reads a callback. It is one of those that the tenant has declared: nobody points this server anywhere else. Throws
 * `invalid_request`.
 */
export function callbackIn({ manifest }: Tenant, value: JsonObject | undefined): Callback | undefined {
  if (value === undefined) return undefined;
  const { endpoint, state, events, ...rest } = value;
  const refused = (why: string): ServiceError => new ServiceError('invalid_request', `callback${why}`);
  const [unknown] = Object.keys(rest);
  if (unknown !== undefined) throw refused(` has a member that is not taken: ${unknown.slice(0, 64)}`);
  if (typeof endpoint !== 'string' || !manifest.approvals.callbacks.includes(endpoint))
    throw refused('.endpoint is none of those that the tenant declares');
  if (state !== undefined && (typeof state !== 'string' || state.length > MAX_STATE))
    throw refused(`.state is a text of ${MAX_STATE} characters at most`);
  if (events !== undefined && !areEvents(events)) throw refused(`.events are of ${EVENTS.join(', ')}`);
  return { endpoint, ...(state !== undefined && { state }), ...(events !== undefined && { events }) };
}

const areEvents = (value: unknown): value is readonly string[] =>
  Array.isArray(value) &&
  value.length <= EVENTS.length &&
  value.every((each) => EVENTS.includes(each as string));
