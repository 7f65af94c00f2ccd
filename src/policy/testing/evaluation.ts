import { ServiceError } from '../../errors.ts';
import type { EvaluationContext, Limits, PolicyInstance } from '../engine/instance.ts';
import type { PolicyModule } from '../engine/module.ts';
import { InEarnest } from './earnest.ts';

/** What a test came to on the engine that serves. */
export interface Evaluated {
  /** `limited`: it could not be told, by the tenant's limits or by what the test itself calls. */
  readonly verdict: 'pass' | 'fail' | 'error' | 'limited';
  /** JSON of the rule's value, where it has one. */
  readonly value?: string;
  readonly error?: ServiceError;
  /** Fuel units. */
  readonly cost: number;
  readonly milliseconds: number;
}

/** Milliseconds that only grow. */
export type Stopwatch = () => number;

/** What ends an evaluation on this engine alone: OPA's evaluator knows no such limit. */
const LIMITS: ReadonlySet<string> = new Set(['deadline_exceeded', 'policy_memory_exceeded']);

/** Evaluates rules of one module, each as if it were the first: what the server does between two tenants' requests. */
export class Evaluator {
  readonly #make: () => PolicyInstance;
  readonly #stopwatch: Stopwatch;
  #instance: PolicyInstance | undefined;
  #image: Uint8Array | undefined;

  constructor(module: PolicyModule, data: string, limits: Limits, stopwatch: Stopwatch) {
    this.#make = () => module.instantiate(data, limits);
    this.#stopwatch = stopwatch;
  }

  /** `input` is JSON; left out, there is none, as in a test that brings its own. */
  evaluate(entrypoint: string, context: EvaluationContext, input = ''): Evaluated {
    let begun = this.#stopwatch();
    let instance: PolicyInstance | undefined;
    const told = (): Pick<Evaluated, 'cost' | 'milliseconds'> => ({
      cost: instance?.spent ?? 0,
      milliseconds: this.#stopwatch() - begun,
    });
    try {
      instance = this.#fresh();
      begun = this.#stopwatch();
      const { result } = instance.evaluateToJson(entrypoint, input, context);
      const verdict = result === 'true' ? 'pass' : 'fail';
      return { verdict, ...(result === undefined ? {} : { value: result }), ...told() };
    } catch (error) {
      if (!(error instanceof ServiceError)) throw error;
      const isLimited = LIMITS.has(error.code) || error instanceof InEarnest;
      return { verdict: isLimited ? 'limited' : 'error', error, ...told() };
    }
  }

  #fresh(): PolicyInstance {
    if (this.#instance && this.#image && this.#instance.restore(this.#image)) return this.#instance;
    this.#instance = this.#make();
    this.#image ??= this.#instance.image();
    return this.#instance;
  }
}
