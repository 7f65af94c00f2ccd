import { ServiceError } from '../errors.ts';

export interface LaneLimits {
  /** How many run at once, each a process; how many of a tenant run or wait. */
  readonly running: number;
  readonly perTenant: number;
  readonly waiting: number;
}

const BUSY_MS = 200;

/** Work beside what serves, of which few run at once: a tenant that asks for much waits for itself. */
export class Lanes {
  readonly #limits: LaneLimits;
  readonly #what: string;
  readonly #open = new Map<string, number>();
  readonly #waiting: (() => void)[] = [];
  #running = 0;

  /** `what`: of which there may be too many, such as `plans`. */
  constructor(limits: LaneLimits, what: string) {
    this.#limits = limits;
    this.#what = what;
  }

  /** Throws `resource_exhausted`. */
  async run<T>(tenant: string, work: () => Promise<T>): Promise<T> {
    const open = this.#open.get(tenant) ?? 0;
    if (open >= this.#limits.perTenant || this.#waiting.length >= this.#limits.waiting)
      throw new ServiceError('resource_exhausted', `too many ${this.#what} are under way`, {
        retryAfterMs: BUSY_MS,
      });
    this.#open.set(tenant, open + 1);
    try {
      while (this.#running >= this.#limits.running)
        await new Promise<void>((resolve) => void this.#waiting.push(resolve));
      this.#running += 1;
      try {
        return await work();
      } finally {
        this.#running -= 1;
        this.#waiting.shift()?.();
      }
    } finally {
      const left = (this.#open.get(tenant) ?? 1) - 1;
      if (left === 0) this.#open.delete(tenant);
      else this.#open.set(tenant, left);
    }
  }
}
