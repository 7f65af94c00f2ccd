import type { Clock, Random } from '../effects.ts';
import { ServiceError } from '../errors.ts';
import { type DecisionId, uuidv7 } from '../ids.ts';
import type { TenantNo } from '../storage/rows.ts';
import type { Writer } from '../storage/writer.ts';
import type { Caller } from '../tenancy/callers.ts';
import type { Kills } from '../tenancy/kills.ts';
import type { Tenant } from '../tenancy/tenants.ts';
import { refusal, TENANT_KILLED } from '../verdict.ts';
import type { Admission } from './admission.ts';
import type { Policy } from './decide.ts';
import type { Recorder } from './recorder.ts';
import { decisionDraft } from './rows.ts';

/** What is asked of a policy by whoever may read it; here it is passed on. */
export interface PolicyQuestion {
  readonly kind: 'query' | 'compile' | 'explain';
  /** Rego. */
  readonly query: string;
  readonly input: unknown;
}

export interface PolicyQueriesOptions<Q extends PolicyQuestion, A> {
  /** By the files that the revision was made from. */
  readonly ask: (tenant: Tenant, revision: string, question: Q) => Promise<A>;
  readonly policyOf: (tenant: Tenant) => Policy;
  readonly kills: Pick<Kills, 'isKilled'>;
  readonly admission: Pick<Admission, 'enter' | 'leave'>;
  readonly writer: Writer;
  readonly recorder: Pick<Recorder, 'row'>;
  readonly clock: Clock;
  /** How far what is known of a tenant is. */
  readonly versionOf: (no: TenantNo) => number;
  readonly random: Random;
}

/** It stands in the record. */
const MAX_QUERY = 8_192;

/**
 * Queries of a policy beside its entry points, as OPA's query and compile APIs have them. Each is recorded, counts as one
 * request of the tenant's, and decides nothing.
 */
export class PolicyQueries<Q extends PolicyQuestion, A> {
  readonly #options: PolicyQueriesOptions<Q, A>;

  constructor(options: PolicyQueriesOptions<Q, A>) {
    this.#options = options;
  }

  /** Throws `invalid_request`, `tenant_killed`, `policy_undefined`, `resource_exhausted`, and what `ask` rejects with. */
  async ask(tenant: Tenant, caller: Caller, question: Q): Promise<{ answer: A; decisionId: DecisionId }> {
    if (question.query.length > MAX_QUERY)
      throw new ServiceError('invalid_request', `a query is at most ${MAX_QUERY} characters`);
    const { admission, clock, random, policyOf, versionOf, kills, ask } = this.#options;
    const place = admission.enter(tenant, 1);
    try {
      const now = clock();
      const decisionId = uuidv7(now, random(10)) as DecisionId;
      const head = { tenant, caller, now, decisionId, version: versionOf(tenant.no) };
      const { revision } = policyOf(tenant);
      try {
        if (kills.isKilled(tenant)) throw new ServiceError('tenant_killed', TENANT_KILLED);
        if (revision === '')
          throw new ServiceError('policy_undefined', 'the tenant has no policy that compiles');
        const answer = await ask(tenant, revision, question);
        await this.#record(head, question, revision, undefined);
        return { answer, decisionId: head.decisionId };
      } catch (error) {
        if (error instanceof ServiceError && error.code !== 'audit_unavailable')
          await this.#record(head, question, revision, error);
        throw error;
      }
    } finally {
      admission.leave(place, 1);
    }
  }

  async #record(
    {
      tenant,
      caller,
      now,
      decisionId,
      version,
    }: { tenant: Tenant; caller: Caller; now: number; decisionId: DecisionId; version: number },
    { kind, query, input }: Q,
    revision: string,
    error: ServiceError | undefined,
  ): Promise<void> {
    const { recorder, writer } = this.#options;
    // Under its own name, so that it is never read as the platform's.
    const given = input === undefined ? '' : `,"data_input":${JSON.stringify(input)}`;
    const asked = {
      input: `{"action":{"name":"${kind}"},"resource":{"type":"query","id":""},"query":${JSON.stringify(query)}${given}}`,
    };
    const said = error ? refusal(error.code, error.message) : { ...refusal('internal', ''), reasons: [] };
    const decided = { ...said, revision, cost: 0 };
    const head = { tenantNo: tenant.no, time: now, decisionId, caller: caller.id, version };
    const draft = {
      ...decisionDraft(head, decided, asked),
      kind: 'plan' as const,
      outcome: error ? ('error' as const) : ('done' as const),
    };
    await writer.append(await recorder.row(tenant, draft));
  }
}
