import { type ErrorCode, ServiceError } from '../errors.ts';
import type { TenantId } from '../ids.ts';
import type { PolicyInput } from '../input.ts';
import type { Bundle } from './bundle.ts';
import type { Diagnostic } from './diagnostics.ts';
import { isDear } from './engine/input.ts';
import type { PolicyInstance, Limits as PolicyLimits } from './engine/instance.ts';
import type { PolicyHealth } from './health.ts';
import type { Circle, Warm } from './instances.ts';
import { servedAt } from './serving.ts';

export interface Evaluated<T = unknown> {
  readonly result: T | undefined;
  readonly cost: number;
  /** Why there is no result: out of fuel, out of memory, or a policy that failed. */
  readonly failure?: ServiceError;
}

/** One tenant's active revision. */
export interface ActivePolicy {
  readonly revision: string;
  /** Whether it has the entry point mandate/audit; of one that does not compile: whether it would. */
  readonly masks: boolean;
  /** Whether it has the entry point mandate/approval. */
  readonly approves: boolean;
  readonly activatedAt: number;
  readonly files: readonly string[];
  /** What is wrong with the newer files on disk, while this older revision stays. */
  readonly rejected: readonly Diagnostic[];
  evaluate(
    entryPoint: string,
    input: PolicyInput | string,
    context: { nowMs: number; seed: string },
  ): Evaluated;
  /** What is at a path of `data`, at or below an entry point of the tenant's: JSON text, its numbers exact. */
  evaluateData(
    path: string,
    input: PolicyInput | string,
    context: { nowMs: number; seed: string },
  ): Evaluated<string>;
}

/** A revision that decides for a tenant, and what is known of it. What tenants have in common is in `circle`. */
export class Active implements ActivePolicy {
  readonly bundle: Bundle;
  readonly activatedAt: number;
  readonly limits: PolicyLimits;
  rejected: readonly Diagnostic[] = [];
  readonly #slot: TenantId;
  readonly #fuel: number;
  readonly #circle: Circle;
  readonly #health: PolicyHealth;

  /** `slot`: under which its failures are counted. */
  constructor(
    slot: TenantId,
    bundle: Bundle,
    activatedAt: number,
    limits: PolicyLimits,
    circle: Circle,
    health: PolicyHealth,
  ) {
    this.bundle = bundle;
    this.activatedAt = activatedAt;
    this.limits = limits;
    this.#slot = slot;
    this.#fuel = limits.fuel;
    this.#circle = circle;
    this.#health = health;
  }

  get revision(): string {
    return this.#circle.revision;
  }

  get masks(): boolean {
    return this.#circle.masks;
  }

  get approves(): boolean {
    return this.#circle.approves;
  }

  /** It evaluates no more, and nothing of what it evaluated is kept. */
  end(): void {
    this.#circle.leave(this);
    this.#health.forget(this.#slot);
  }

  get files(): readonly string[] {
    return this.bundle.files;
  }

  evaluate(
    entryPoint: string,
    input: PolicyInput | string,
    context: { nowMs: number; seed: string },
  ): Evaluated {
    return this.#contain(input, context.nowMs, (instance) =>
      instance.evaluate(entryPoint, input, context, this.#fuel),
    );
  }

  evaluateData(
    path: string,
    input: PolicyInput | string,
    context: { nowMs: number; seed: string },
  ): Evaluated<string> {
    const { entryPoint, below } = servedAt(path, this.#circle.entrypoints);
    return this.#contain(input, context.nowMs, (instance) =>
      instance.evaluateToJson(entryPoint, input, context, this.#fuel, below),
    );
  }

  #contain<T>(
    input: PolicyInput | string,
    nowMs: number,
    evaluate: (instance: PolicyInstance) => Evaluated<T>,
  ): Evaluated<T> {
    const circle = this.#circle;
    const health = this.#health;
    health.admit(this.#slot, nowMs);
    let used: Warm | undefined;
    try {
      used = circle.take(this);
      return evaluate(used.instance);
    } catch (error) {
      if (!(error instanceof ServiceError) || !containable.has(error.code)) throw error;
      if (!failures.has(error.code)) return { result: undefined, cost: 0, failure: error };
      if (!isDear(input, this.#fuel)) health.failed(this.#slot, error.code, nowMs, error.place);
      return { result: undefined, cost: used ? used.instance.spent : 0, failure: error };
    } finally {
      if (used) circle.giveBack(used);
    }
  }
}

/** Failures that are the policy's own, and count against it, but for inputs that are dear. */
const failures: ReadonlySet<ErrorCode> = new Set([
  'deadline_exceeded',
  'policy_memory_exceeded',
  'policy_failed',
]);

/** Failures of an evaluation; they deny the request and go no further. */
const containable: ReadonlySet<ErrorCode> = new Set([...failures, 'policy_undefined', 'payload_too_large']);

const undecided = {
  result: undefined,
  cost: 0,
  failure: new ServiceError('policy_undefined', 'the tenant has no policy that compiles'),
};

/** Of a tenant that has none. */
export const noPolicy: ActivePolicy = {
  revision: '',
  masks: false,
  approves: false,
  activatedAt: 0,
  files: [],
  rejected: [],
  evaluate: () => undecided,
  evaluateData: () => undecided,
};
