import { ServiceError } from '../errors.ts';
import type { PolicyInput } from '../input.ts';
import type { Evaluated } from './active.ts';
import type { Bundle } from './bundle.ts';
import type { Limits, PolicyInstance } from './engine/instance.ts';
import { PolicyModule } from './engine/module.ts';
import { APPROVAL, AUDIT } from './proof.ts';

/** How many bytes an instance may grow by before it is made anew. */
const GROWTH_BYTES = 16 * 1024 * 1024;

/** A revision evaluated apart from what serves: nobody is slowed down by what it does, nor heard of. */
export class SoloPolicy {
  readonly revision: string;
  readonly masks: boolean;
  readonly approves: boolean;
  readonly #make: () => PolicyInstance;
  readonly #fuel: number;
  #instance: PolicyInstance;
  #bytes: number;

  /** Throws `policy_invalid` or `policy_memory_exceeded` where it does not run within the limits. */
  constructor({ revision, wasm, data }: Pick<Bundle, 'revision' | 'wasm' | 'data'>, limits: Limits) {
    const module = PolicyModule.compile(wasm);
    this.revision = revision;
    this.masks = module.entrypoints.has(AUDIT);
    this.approves = module.entrypoints.has(APPROVAL);
    this.#fuel = limits.fuel;
    this.#make = () => module.instantiate(data, limits);
    this.#instance = this.#make();
    this.#bytes = this.#instance.memoryBytes;
  }

  evaluate(
    entryPoint: string,
    input: PolicyInput | string,
    context: { nowMs: number; seed: string },
  ): Evaluated {
    const instance = this.#instance;
    try {
      return instance.evaluate(entryPoint, input, context, this.#fuel);
    } catch (failure) {
      if (!(failure instanceof ServiceError)) throw failure;
      return { result: undefined, cost: instance.spent, failure };
    } finally {
      if (instance.poisoned || instance.memoryBytes > this.#bytes + GROWTH_BYTES)
        this.#instance = this.#make();
    }
  }
}
