import { ServiceError } from '../../errors.ts';
import type { ItemError } from './protocol.ts';

export const unavailable = (detail: string, cause?: unknown): ServiceError =>
  new ServiceError('audit_unavailable', 'the answer could not be recorded, so there is none', {
    detail,
    ...(cause === undefined ? {} : { cause }),
  });

const untried = new WeakSet<object>();

/** The error of what was not tried: nothing of it is in the store, nor ever will be. */
export function asUntried(error: ServiceError): ServiceError {
  untried.add(error);
  return error;
}

/** Whether it is known of an error of the writer's that nothing was written. Of others it may have been all the same. */
export const isUntried = (error: unknown): boolean => error instanceof ServiceError && untried.has(error);

/** What became of an entry, to who waits for it. */
export function errorOf({ detail, exhausted, isUntried: isSo }: ItemError): ServiceError {
  const error = exhausted ? exceeded(detail, exhausted.retryAfterMs) : unavailable(detail);
  return isSo ? asUntried(error) : error;
}

const exceeded = (detail: string, retryAfterMs: number | undefined): ServiceError =>
  new ServiceError('resource_exhausted', detail, retryAfterMs === undefined ? {} : { retryAfterMs });

export const SILENT = 'the writer does not answer; the disk may not';
