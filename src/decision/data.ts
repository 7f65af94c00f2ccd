import { withoutParts } from '../audit/privacy/masking.ts';
import type { Clock, Random } from '../effects.ts';
import { ServiceError } from '../errors.ts';
import { type DecisionId, uuidv7 } from '../ids.ts';
import type { TenantNo } from '../storage/rows.ts';
import type { Writer } from '../storage/writer.ts';
import type { Caller } from '../tenancy/callers.ts';
import type { Kills } from '../tenancy/kills.ts';
import type { Tenant } from '../tenancy/tenants.ts';
import { TENANT_KILLED } from '../verdict.ts';
import type { Admission } from './admission.ts';
import type { ExactPolicy } from './decide.ts';
import { decisionChannel } from './decisions.ts';
import type { Recorder } from './recorder.ts';
import { decisionDraft } from './rows.ts';

export interface DataAnswer {
  /** JSON text; undefined where the rule is, and at a path that the tenant declares no entry point for. */
  readonly result: string | undefined;
  readonly isDeclared: boolean;
  readonly decisionId: DecisionId;
  /** How far the tenant's state was that it was decided by. */
  readonly stateVersion: number;
  readonly revision: string;
  readonly cost: number;
}

/** How an answer is read by who asks in another protocol than OPA's. */
export interface HowAsked {
  /** What the result, JSON text, comes to; undefined where there is none. `failure`: it is not of its form. */
  readonly read: (result: string | undefined) => {
    readonly outcome: 'allow' | 'deny';
    readonly failure?: ServiceError;
  };
  /** JSON Pointers into the record to what is not kept in it. */
  readonly keptOut: readonly string[];
}

export interface DataQueriesOptions {
  readonly policyOf: (tenant: Tenant) => ExactPolicy;
  readonly kills: Pick<Kills, 'isKilled'>;
  readonly admission: Pick<Admission, 'enter' | 'leave' | 'spent'>;
  readonly writer: Writer;
  readonly recorder: Recorder;
  readonly clock: Clock;
  /** How far what is known of a tenant is. */
  readonly versionOf: (no: TenantNo) => number;
  readonly random: Random;
}

/** It stands in the record. */
const MAX_PATH = 1_024;

/** Evaluates entry points that a tenant declares, on any input, as OPA's data API does; recorded like any decision. */
export class DataQueries {
  readonly #options: DataQueriesOptions;

  constructor(options: DataQueriesOptions) {
    this.#options = options;
  }

  /**
   * An input of undefined is none, and what is not declared is undefined, as in OPA; that is recorded like any other
   * answer. Throws `resource_exhausted`, and the evaluation's own error after it was recorded.
   */
  async evaluate(tenant: Tenant, caller: Caller, entryPoint: string, input: unknown): Promise<DataAnswer> {
    const { failure, ...answer } = await this.ask(tenant, caller, entryPoint, input, plainly);
    if (failure && failure !== undeclared.failure) throw failure;
    return answer;
  }

  /** The same, where a failure of the evaluation is told beside what is answered: it was recorded as a deny. */
  async ask(
    tenant: Tenant,
    caller: Caller,
    entryPoint: string,
    input: unknown,
    how: HowAsked,
  ): Promise<DataAnswer & { readonly failure: ServiceError | undefined }> {
    if (entryPoint.length > MAX_PATH)
      throw new ServiceError('invalid_request', `a path is at most ${MAX_PATH} characters`);
    const { admission } = this.#options;
    const place = admission.enter(tenant, 1);
    try {
      return await this.#evaluate(tenant, caller, entryPoint, input, how);
    } finally {
      admission.leave(place, 1);
    }
  }

  async #evaluate(
    tenant: Tenant,
    caller: Caller,
    entryPoint: string,
    input: unknown,
    { read, keptOut }: HowAsked,
  ): Promise<DataAnswer & { readonly failure: ServiceError | undefined }> {
    const { admission, policyOf, kills, writer, recorder, clock, random, versionOf } = this.#options;
    const now = clock();
    const version = versionOf(tenant.no);
    const decisionId = uuidv7(now, random(10)) as DecisionId;
    const policy = policyOf(tenant);
    const text = input === undefined ? '' : JSON.stringify(input);
    const head = { tenantNo: tenant.no, time: now, decisionId, caller: caller.id, version };
    // In the record the input stands under its own name, so that it is never read as the platform's.
    const question = {
      input: `{"action":{"name":"data"},"resource":{"type":"entrypoint","id":${JSON.stringify(entryPoint)}}${
        text === '' ? '' : `,"data_input":${text}`
      }}`,
    };
    const isDeclared = tenant.manifest.entrypoints.some((each) => `${entryPoint}/`.startsWith(`${each}/`));
    const isKilled = kills.isKilled(tenant);
    const {
      result,
      cost,
      failure: failed,
    } = isKilled
      ? killed
      : isDeclared
        ? policy.evaluateData(entryPoint, text, { nowMs: now, seed: decisionId })
        : undeclared;
    admission.spent(tenant.id, cost);
    const said = failed ? ({ outcome: 'deny' } as const) : read(result);
    const failure = failed ?? said.failure;
    const reasons = failure ? [{ code: failure.code, message: failure.message }] : [];
    const decided = { ...verdictOf(said.outcome, entryPoint), reasons, revision: policy.revision, cost };
    const draft = withoutParts(decisionDraft(head, decided, question), keptOut);
    await writer.append(await recorder.row(tenant, draft));
    if (decisionChannel.hasSubscribers)
      decisionChannel.publish({ tenant: tenant.id, outcome: decided.outcome, cost });
    return {
      result,
      isDeclared,
      decisionId,
      stateVersion: version,
      revision: policy.revision,
      cost,
      failure,
    };
  }
}

const undeclared = {
  result: undefined,
  cost: 0,
  failure: new ServiceError('policy_undefined', 'the tenant declares no such entry point'),
};

const killed = { result: undefined, cost: 0, failure: new ServiceError('tenant_killed', TENANT_KILLED) };

const verdictOf = (outcome: 'allow' | 'deny', entryPoint: string) => ({
  outcome,
  rules: [entryPoint.replaceAll('/', '.')],
  obligations: [],
  challenge: undefined,
});

/** What enforcement points of OPA take for an allow: true, or an object whose `allow` is. */
const plainly: HowAsked = {
  read: (result) => ({ outcome: isAllow(result) ? 'allow' : 'deny' }),
  keptOut: [],
};

const isAllow = (result: string | undefined): boolean =>
  result === 'true' ||
  (result?.startsWith('{') === true && (JSON.parse(result) as { allow?: unknown }).allow === true);
