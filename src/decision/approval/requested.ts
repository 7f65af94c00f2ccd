import { ServiceError } from '../../errors.ts';
import { storedJson } from '../../storage/faults.ts';
import type { JsonObject } from '../request.ts';

/** What the requester asks beside the question (profile, section 5.1): it only ever takes away, or calls for haste. */
export interface RequestedAccess {
  /** Until when it is wanted at most, in milliseconds since the epoch. */
  readonly until?: number;
  readonly emergency?: true;
}

/** RFC 3339 section 5.6. */
const TIMESTAMP = /^\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:[Zz]|[+-]\d\d:\d\d)$/;

/**
 * Reads `requested_access`; undefined for what asks for nothing. `reason`: the requester's words, without which nothing is
 * an emergency. Throws `invalid_request`.
 */
export function requestedAccess(value: JsonObject | undefined, reason: string): RequestedAccess | undefined {
  if (value === undefined) return undefined;
  const { requested_until: said, emergency, ...rest } = value;
  const refused = (why: string): ServiceError =>
    new ServiceError('invalid_request', `requested_access${why}`);
  const [unknown] = Object.keys(rest);
  if (unknown !== undefined) throw refused(` has a member that is not taken: ${unknown.slice(0, 64)}`);
  const until = typeof said === 'string' && TIMESTAMP.test(said) ? Date.parse(said) : Number.NaN;
  if (said !== undefined && Number.isNaN(until))
    throw refused('.requested_until is a time such as 2027-01-31T12:00:00Z');
  if (emergency !== undefined && typeof emergency !== 'boolean') throw refused('.emergency is true or false');
  if (emergency && reason === '')
    throw refused('.emergency takes a context.business_justification: say what the emergency is');
  if (said === undefined && !emergency) return undefined;
  return { ...(said !== undefined && { until }), ...(emergency && { emergency }) };
}

/** As it is kept with the request. */
export const keptAccess = (requested: RequestedAccess | undefined): string | null =>
  requested ? JSON.stringify(requested) : null;

/** As policies, records and approvers see it; nothing where nothing was said. */
export function shownAccess(kept: string | null): { requested_access?: JsonObject } {
  if (kept === null) return {};
  const { until, emergency } = storedJson(kept) as RequestedAccess;
  return {
    requested_access: {
      ...(until !== undefined && { requested_until: new Date(until).toISOString() }),
      ...(emergency && { emergency }),
    },
  };
}
