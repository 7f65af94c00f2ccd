import { type ErrorCode, ServiceError } from '../errors.ts';
import { readVerdict, refusal, type Verdict } from './verdict.ts';

export type EntryPoint = 'mandate/decision' | 'mandate/delegation';

/** An active policy, ready to be asked. `policy/` implements it. */
export interface Policy {
  /** The content hash, `sha256:<hex>`. */
  readonly revision: string;
  /**
   * Evaluates an entry point. `cost` is fuel. Throws `deadline_exceeded` (out of fuel), `policy_memory_exceeded` or
   * `policy_failed`.
   */
  evaluate(
    entryPoint: string,
    input: string,
    context: { nowMs: number; seed: string },
  ): { result: unknown; cost: number };
}

/** The package of the authors' rules that an entry point combines with the platform's. */
const authorsOf = {
  'mandate/decision': 'authz',
  'mandate/delegation': 'delegation',
} as const satisfies Record<EntryPoint, string>;

export interface Decided extends Verdict {
  readonly revision: string;
  readonly cost: number;
}

/** Failures of a policy that deny its request; anything else is a fault of ours and goes up as an error. */
const denials: ReadonlySet<ErrorCode> = new Set([
  'deadline_exceeded',
  'policy_memory_exceeded',
  'policy_failed',
  'policy_undefined',
]);

/**
 * The rule of the decision point: what the policy says is what is decided, and a policy that cannot say it has
 * denied. A pure function of revision, entry point, input, time and seed.
 */
export function decide(
  policy: Policy,
  entryPoint: EntryPoint,
  input: string,
  context: { nowMs: number; seed: string },
): Decided {
  try {
    const { result, cost } = policy.evaluate(entryPoint, input, context);
    if (result === undefined)
      return {
        ...refusal('policy_undefined', 'the policy decides nothing'),
        revision: policy.revision,
        cost,
      };
    return { ...readVerdict(result, authorsOf[entryPoint]), revision: policy.revision, cost };
  } catch (error) {
    if (!(error instanceof ServiceError) || !denials.has(error.code)) throw error;
    const verdict = refusal(error.code, error.message, 'mandate.engine');
    return { ...verdict, revision: policy.revision, cost: 0 };
  }
}
