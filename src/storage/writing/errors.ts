import { ServiceError } from '../../errors.ts';
import type { ItemError } from './protocol.ts';

export const unavailable = (detail: string, cause?: unknown): ServiceError =>
  new ServiceError('audit_unavailable', 'the answer could not be recorded, so there is none', {
    detail,
    ...(cause === undefined ? {} : { cause }),
  });

/** What became of an entry, to who waits for it. */
export function errorOf({ detail, exhausted }: ItemError): ServiceError {
  if (!exhausted) return unavailable(detail);
  const { retryAfterMs } = exhausted;
  return new ServiceError('resource_exhausted', detail, retryAfterMs === undefined ? {} : { retryAfterMs });
}

export const SILENT = 'the writer does not answer; the disk may not';
