import { PolicyInvalid } from '../diagnostics.ts';

/** How many builds are spent on finding out which tests are at fault. */
const MAX_BUILDS = 40;

export interface Planned<T> {
  /** What was built of those that can be; undefined if none can. */
  readonly built: T | undefined;
  /** What the compiler says of each of the others. */
  readonly refused: ReadonlyMap<string, string>;
}

/**
 * Builds as many entry points as can be. The compiler has no plan for some expressions that OPA's evaluator takes, and
 * then says no more than that it failed: one such test must not hide the others. Throws what `build` does where all are
 * refused alike, or too many.
 */
export async function planned<T>(
  entrypoints: readonly string[],
  build: (entrypoints: readonly string[]) => Promise<T>,
): Promise<Planned<T>> {
  const refused = new Map<string, string>();
  let builds = 0;
  const attempt = async (some: readonly string[]): Promise<T | undefined> => {
    try {
      builds += 1;
      return await build(some);
    } catch (error) {
      if (!(error instanceof PolicyInvalid) || builds >= MAX_BUILDS) throw error;
      if (some.length > 1) {
        const middle = some.length >> 1;
        await attempt(some.slice(0, middle));
        await attempt(some.slice(middle));
      } else for (const each of some) refused.set(each, error.message);
      return undefined;
    }
  };
  const whole = await attempt(entrypoints);
  if (whole !== undefined) return { built: whole, refused };
  const left = entrypoints.filter((each) => !refused.has(each));
  return { built: left.length > 0 ? await build(left) : undefined, refused };
}
