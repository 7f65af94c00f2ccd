import { ServiceError } from '../../errors.ts';

/** Thrown through the module when it calls opa_abort, or asks the host for what it does not have. */
export class Abort extends Error {}

/** Thrown through the module when a built-in has spent the last fuel. */
export class FuelExhausted extends Error {}

/** What OPA's allocator says when memory.grow is refused (wasm/src/malloc.c). */
const outOfMemory = 'opa_malloc: failed';

/**
 * The coded error of anything that ended an evaluation.
 * `detail` has what the module said, which may quote the policy and is for the operator only.
 */
export function toServiceError(cause: unknown, fuelLeft: number): ServiceError {
  if (cause instanceof ServiceError) return cause;
  if (fuelLeft < 0 || cause instanceof FuelExhausted)
    return new ServiceError('deadline_exceeded', 'The policy exceeded the budget of its evaluation.', {
      cause,
    });
  const detail = cause instanceof Error ? cause.message : String(cause);
  if (cause instanceof Abort && detail === outOfMemory)
    return new ServiceError('policy_memory_exceeded', 'The policy needs more memory than it may have.', {
      cause,
      detail,
    });
  const place = cause instanceof Abort ? placeIn(detail) : undefined;
  return new ServiceError('policy_failed', 'The policy could not be evaluated.', { cause, detail, place });
}

/** The compiler writes the place before what it has the module abort with: two values for one rule, or for one key. */
function placeIn(detail: string): string | undefined {
  const place = /^(\P{Cc}{1,256}\.rego:\d{1,9}:\d{1,9}): /u.exec(detail)?.[1];
  return place?.replace(/^tenant\//, '');
}
