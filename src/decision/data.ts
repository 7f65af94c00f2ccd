import type { Clock, Random } from '../effects.ts';
import { ServiceError } from '../errors.ts';
import { type DecisionId, uuidv7 } from '../ids.ts';
import type { Writer } from '../storage/writer.ts';
import type { Caller } from '../tenancy/callers.ts';
import type { Tenant } from '../tenancy/tenants.ts';
import type { Policy } from './decide.ts';
import { decisionRow } from './rows.ts';

export interface DataAnswer {
  /** Undefined where the rule is. */
  readonly result: unknown;
  readonly decisionId: DecisionId;
  readonly revision: string;
  readonly cost: number;
}

/** Evaluates entry points that a tenant declares, on any input, as OPA's data API does; recorded like any decision. */
export class DataQueries {
  readonly #options: { policyOf: (tenant: Tenant) => Policy; writer: Writer; clock: Clock; random: Random };

  constructor(options: {
    policyOf: (tenant: Tenant) => Policy;
    writer: Writer;
    clock: Clock;
    random: Random;
  }) {
    this.#options = options;
  }

  /** Throws `not_found` for what is not declared, and the evaluation's own error after it was recorded. */
  async evaluate(tenant: Tenant, caller: Caller, entryPoint: string, input: unknown): Promise<DataAnswer> {
    const { policyOf, writer, clock, random } = this.#options;
    if (!tenant.manifest.entrypoints.includes(entryPoint))
      throw new ServiceError('not_found', `the tenant declares no entry point ${entryPoint.slice(0, 256)}`);
    const now = clock();
    const decisionId = uuidv7(now, random(10)) as DecisionId;
    const policy = policyOf(tenant);
    const text = JSON.stringify(input ?? {});
    const head = { tenantNo: tenant.no, time: now, decisionId, caller: caller.id };
    // In the record the input stands under its own name, so that it is never read as the platform's.
    const question = {
      input: `{"action":{"name":"data"},"resource":{"type":"entrypoint","id":${JSON.stringify(entryPoint)}},"data_input":${text}}`,
    };
    const { result, cost, failure } = policy.evaluate(entryPoint, text, { nowMs: now, seed: decisionId });
    const reasons = failure ? [{ code: failure.code, message: failure.message }] : [];
    const decided = { ...verdictOf(result, entryPoint), reasons, revision: policy.revision, cost };
    await writer.append(decisionRow(head, decided, question));
    if (failure) throw failure;
    return { result, decisionId, revision: policy.revision, cost };
  }
}

/** What enforcement points of OPA take for an allow: true, or an object whose `allow` is. */
const verdictOf = (result: unknown, entryPoint: string) => ({
  outcome:
    result === true || (result as { allow?: unknown } | null | undefined)?.allow === true
      ? ('allow' as const)
      : ('deny' as const),
  rules: [entryPoint.replaceAll('/', '.')],
  obligations: [],
  challenge: undefined,
});
