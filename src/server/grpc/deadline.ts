import { ServiceError } from '../../errors.ts';

/** gRPC over HTTP/2: at most eight digits and a unit. */
const UNITS: Readonly<Record<string, number>> = { H: 3_600_000, M: 60_000, S: 1_000, m: 1, u: 1e-3, n: 1e-6 };

/** Node's longest timer, 24 days. A longer one goes off at once; nobody's call lives that long. */
export const LONGEST_TIMER_MS = 2 ** 31 - 1;

/**
 * How long the caller waits, in milliseconds; infinite if it does not say. Throws `invalid_request` for a
 * `grpc-timeout` that is none: guessing would either drop the caller's bound or invent one.
 */
export function timeoutOf(value: string | undefined): number {
  if (value === undefined) return Number.POSITIVE_INFINITY;
  const match = /^(\d{1,8})([HMSmun])$/.exec(value);
  const unit = UNITS[match?.[2] ?? ''];
  if (!match || unit === undefined)
    throw new ServiceError('invalid_request', 'grpc-timeout is not a timeout');
  return Number(match[1]) * unit;
}

/** Takes away a deadline beyond the longest timer, which the Connect library would take for one that has passed. */
export function forgetFarDeadline(headers: Headers): void {
  const ms = headers.get('connect-timeout-ms') ?? '';
  if (/^\d{1,10}$/.test(ms) && Number(ms) > LONGEST_TIMER_MS) headers.delete('connect-timeout-ms');
  const timeout = headers.get('grpc-timeout');
  if (timeout === null) return;
  try {
    if (timeoutOf(timeout) > LONGEST_TIMER_MS) headers.delete('grpc-timeout');
  } catch {
    // Not a timeout: the library says so in its protocol's form.
  }
}
