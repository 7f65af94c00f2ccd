import type { Clock, Random } from '../effects.ts';
import { ServiceError } from '../errors.ts';
import { type DecisionId, uuidv7 } from '../ids.ts';
import type { Writer } from '../storage/writer.ts';
import type { Caller } from '../tenancy/callers.ts';
import type { Tenant } from '../tenancy/tenants.ts';
import type { Admission } from './admission.ts';
import type { Policy } from './decide.ts';
import { decisionChannel } from './decisions.ts';
import { decisionRow } from './rows.ts';

export interface DataAnswer {
  /** Undefined where the rule is. */
  readonly result: unknown;
  readonly decisionId: DecisionId;
  readonly revision: string;
  readonly cost: number;
}

export interface DataQueriesOptions {
  readonly policyOf: (tenant: Tenant) => Policy;
  readonly admission: Pick<Admission, 'enter' | 'leave' | 'spent'>;
  readonly writer: Writer;
  readonly clock: Clock;
  readonly random: Random;
}

/** Evaluates entry points that a tenant declares, on any input, as OPA's data API does; recorded like any decision. */
export class DataQueries {
  readonly #options: DataQueriesOptions;

  constructor(options: DataQueriesOptions) {
    this.#options = options;
  }

  /**
   * An input of undefined is none, as in OPA. Throws `not_found` for what is not declared, `resource_exhausted`, and the
   * evaluation's own error after it was recorded.
   */
  async evaluate(tenant: Tenant, caller: Caller, entryPoint: string, input: unknown): Promise<DataAnswer> {
    if (!tenant.manifest.entrypoints.includes(entryPoint))
      throw new ServiceError('not_found', `the tenant declares no entry point ${entryPoint.slice(0, 256)}`);
    const { admission } = this.#options;
    const place = admission.enter(tenant, 1);
    try {
      return await this.#evaluate(tenant, caller, entryPoint, input);
    } finally {
      admission.leave(place, 1);
    }
  }

  async #evaluate(tenant: Tenant, caller: Caller, entryPoint: string, input: unknown): Promise<DataAnswer> {
    const { admission, policyOf, writer, clock, random } = this.#options;
    const now = clock();
    const decisionId = uuidv7(now, random(10)) as DecisionId;
    const policy = policyOf(tenant);
    const text = input === undefined ? '' : JSON.stringify(input);
    const head = { tenantNo: tenant.no, time: now, decisionId, caller: caller.id };
    // In the record the input stands under its own name, so that it is never read as the platform's.
    const question = {
      input: `{"action":{"name":"data"},"resource":{"type":"entrypoint","id":${JSON.stringify(entryPoint)}}${
        text === '' ? '' : `,"data_input":${text}`
      }}`,
    };
    const { result, cost, failure } = policy.evaluate(entryPoint, text, { nowMs: now, seed: decisionId });
    admission.spent(tenant.id, cost);
    const reasons = failure ? [{ code: failure.code, message: failure.message }] : [];
    const decided = { ...verdictOf(result, entryPoint), reasons, revision: policy.revision, cost };
    await writer.append(decisionRow(head, decided, question));
    if (decisionChannel.hasSubscribers)
      decisionChannel.publish({ tenant: tenant.id, outcome: decided.outcome, cost });
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
