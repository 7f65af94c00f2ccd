import { ServiceError } from '../errors.ts';
import type { PolicyInput } from '../input.ts';
import type { Caller } from '../tenancy/callers.ts';
import { readVerdict, refusal, type Verdict } from '../verdict.ts';

export type EntryPoint = 'mandate/decision' | 'mandate/delegation' | 'mandate/approval';

/** An active policy, ready to be asked. `policy/` implements it. */
export interface Policy {
  /** The content hash, `sha256:<hex>`. */
  readonly revision: string;
  /** Whether it says what is kept out of records, by the entry point mandate/audit. */
  readonly masks: boolean;
  /** Whether it says who may approve, by the entry point mandate/approval. */
  readonly approves: boolean;
  /**
   * Evaluates an entry point, on an input of ours or on JSON text of anybody's. `cost` is fuel. A `failure` of the
   * policy denies; what is thrown is a fault of ours.
   */
  evaluate(
    entryPoint: string,
    input: PolicyInput | string,
    context: { nowMs: number; seed: string },
  ): { readonly result: unknown; readonly cost: number; readonly failure?: ServiceError };
}

/** One that serves entry points of the tenant's too: results are JSON text, in which numbers are exact. */
export interface ExactPolicy extends Policy {
  /** What is at a path of `data`, at or below an entry point. */
  evaluateData(
    path: string,
    input: PolicyInput | string,
    context: { nowMs: number; seed: string },
  ): { readonly result: string | undefined; readonly cost: number; readonly failure?: ServiceError };
}

/** The package of the authors' rules that an entry point combines with the platform's. */
const authorsOf = {
  'mandate/decision': 'authz',
  'mandate/delegation': 'delegation',
  'mandate/approval': 'approval',
} as const satisfies Record<EntryPoint, string>;

export interface Decided extends Verdict {
  /** Where in the policy it failed, as `file:line:column`. */
  readonly failedAt?: string | undefined;
  readonly revision: string;
  readonly cost: number;
  /** The approval that was used for it. */
  readonly approval?: { readonly id: string; readonly expires_at: string } | undefined;
}

/**
 * The rule of the decision point: what the policy says is what is decided, and a policy that cannot say it has
 * denied. A pure function of revision, entry point, input, time and seed.
 */
export function decide(
  policy: Policy,
  entryPoint: EntryPoint,
  input: PolicyInput | string,
  context: { nowMs: number; seed: string },
): Decided {
  const { result, cost, failure } = policy.evaluate(entryPoint, input, context);
  const verdict = verdictOf(result, failure, authorsOf[entryPoint]);
  const said = { ...verdict, revision: policy.revision, cost };
  return failure?.place === undefined ? said : { ...said, failedAt: failure.place };
}

/** What a caller is told: where a policy failed only those who may read it. */
export function toldTo({ may }: Pick<Caller, 'may'>, decided: Decided): Decided {
  const { failedAt, reasons } = decided;
  if (failedAt === undefined || !may.has('policy.read')) return decided;
  const [first, ...rest] = reasons;
  if (!first) return decided;
  const message = `${first.message} It failed at ${failedAt}.`;
  return { ...decided, reasons: [{ ...first, message }, ...rest], text: undefined };
}

function verdictOf(result: unknown, failure: ServiceError | undefined, authors: string): Verdict {
  if (failure) return refusal(failure.code, failure.message, 'mandate.engine');
  if (result === undefined) return refusal('policy_undefined', 'the policy decides nothing');
  try {
    return readVerdict(result, authors);
  } catch (error) {
    if (error instanceof ServiceError) return refusal(error.code, error.message, 'mandate.engine');
    throw error;
  }
}
