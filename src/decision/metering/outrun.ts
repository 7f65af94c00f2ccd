import { setTimeout as pause } from 'node:timers/promises';
import { jittered } from '../../effects.ts';
import { ServiceError } from '../../errors.ts';

/** Another server has counted in between: what was decided was by a count that is over. Nothing was done; it is decided anew. */
export class Outrun extends Error {
  override readonly name = 'Outrun';
}

const MOST_TRIES = 12;
const FIRST_MS = 2;

/** Decides once more where it was outrun, after a while that grows. Rejects with `unavailable` where that has no end. */
export async function decidedAnew<T>(first: unknown, decide: () => Promise<T>): Promise<T> {
  let why = first;
  for (let tries = 0; why instanceof Outrun; tries += 1) {
    if (tries === MOST_TRIES)
      throw new ServiceError('unavailable', 'others count the same all the time; ask again', {
        retryAfterMs: 200,
      });
    await pause(jittered(FIRST_MS * 1.6 ** tries));
    try {
      return await decide();
    } catch (error) {
      why = error;
    }
  }
  throw why;
}
