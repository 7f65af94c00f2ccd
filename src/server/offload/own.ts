import { availableParallelism } from 'node:os';
import { performance } from 'node:perf_hooks';
import type { Admission } from '../../decision/admission.ts';
import type { TenantId } from '../../ids.ts';

/**
 * With two cores there is nobody to hand a call to: main, the writer and whoever calls have them, and to hand it over
 * costs a third of what it costs to decide it.
 */
const SPARE_CORES = availableParallelism() - 2;

/** Fuel of a decision, about fifty microseconds, from which on nobody else on main should wait for it. */
const DEAR = 200_000;
/** So do bytes: they are read and written before any fuel is spent. */
const LARGE_BYTES = 4_096;

/** Whether others who are served by the same thread would wait for it. */
export const isDear = (admission: Pick<Admission, 'dearest'>, tenant: TenantId, bytes: number): boolean =>
  bytes > LARGE_BYTES || admission.dearest(tenant) > DEAR;

/** How often it is looked how busy main is, in milliseconds. */
const LOOK_MS = 50;
/** A call costs main half as much where it hands it over, so what it is given back must lie well below. */
const FULL = 0.9;
const FREE = 0.4;

/** Which single calls main decides itself: those that are cheap, as long as it has time. */
export class OwnCalls implements Disposable {
  readonly #admission: Pick<Admission, 'dearest'>;
  readonly #spareCores: number;
  #isFull = false;
  #wasAsked = false;
  #before = performance.eventLoopUtilization();
  #looking: NodeJS.Timeout | undefined;

  constructor(admission: Pick<Admission, 'dearest'>, spareCores = SPARE_CORES) {
    this.#admission = admission;
    this.#spareCores = spareCores;
  }

  /** It has no time for them, and hands them over. */
  get isFull(): boolean {
    return this.#isFull;
  }

  has(tenant: TenantId, bytes: number): boolean {
    if (isDear(this.#admission, tenant, bytes)) return false;
    if (this.#spareCores <= 0) return true;
    this.#wasAsked = true;
    this.#looking ??= this.#look();
    return !this.#isFull;
  }

  /** As long as anybody calls. */
  #look(): NodeJS.Timeout {
    this.#before = performance.eventLoopUtilization();
    return setInterval(() => {
      const now = performance.eventLoopUtilization();
      const { utilization } = performance.eventLoopUtilization(now, this.#before);
      this.#before = now;
      this.#isFull = utilization > (this.#isFull ? FREE : FULL);
      if (!this.#wasAsked) this[Symbol.dispose]();
      this.#wasAsked = false;
    }, LOOK_MS).unref();
  }

  [Symbol.dispose](): void {
    clearInterval(this.#looking);
    this.#looking = undefined;
    this.#isFull = false;
  }
}
