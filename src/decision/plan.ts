import type { Clock, Random } from '../effects.ts';
import { ServiceError } from '../errors.ts';
import { type DecisionId, uuidv7 } from '../ids.ts';
import type { TenantNo } from '../storage/rows.ts';
import type { Writer } from '../storage/writer.ts';
import type { Caller } from '../tenancy/callers.ts';
import type { FactSource } from '../tenancy/facts.ts';
import type { Kills } from '../tenancy/kills.ts';
import type { Tenant } from '../tenancy/tenants.ts';
import { type Reason, refusal, TENANT_KILLED, type Verdict } from '../verdict.ts';
import type { Admission } from './admission.ts';
import type { Policy } from './decide.ts';
import { buildInput } from './input.ts';
import { metersMet } from './metering/met.ts';
import {
  asStated,
  forAnotherAudience,
  GrantRefused,
  type TokenPrincipal,
  type TokenResolver,
} from './principal.ts';
import type { Recorder } from './recorder.ts';
import { type CheckRequest, checkRequest, type JsonObject, type UncheckedRequest } from './request.ts';
import { decisionDraft, type Question, soundQuestion, unsoundQuestion } from './rows.ts';
import { subjectKnown } from './stated.ts';
import { isTrusted } from './waited.ts';

/** What is asked: as of one decision, about all resources of a type. `properties`: what is known of them. */
export type PlanAsked = Omit<UncheckedRequest, 'resource' | 'approval'> & {
  readonly resource: { readonly type: string; readonly properties?: JsonObject | undefined };
};

/** A plan as whoever makes it knows it; here it is passed on. */
export interface Planned {
  /** What the condition comes to for every resource, where it does. */
  readonly always: boolean | undefined;
}

/** The input is JSON text, that of a decision; its resource's id is to be ignored. Rejects with `plan_unsupported`. */
export type Plan<P extends Planned> = (tenant: Tenant, revision: string, input: string) => Promise<P>;

/** A plan whose record is durable. Without one nothing is allowed, for these reasons. */
export interface PlanAnswer<P> {
  readonly plan: P | undefined;
  readonly reasons: readonly Reason[];
  readonly decisionId: DecisionId;
  readonly revision: string;
  readonly recordIndex: number;
}

export interface PlansOptions<P extends Planned> {
  readonly plan: Plan<P>;
  readonly policyOf: (tenant: Tenant) => Policy;
  readonly current: (tenant: Tenant) => Tenant | undefined;
  readonly facts: FactSource;
  readonly kills: Pick<Kills, 'isKilled'>;
  readonly resolveToken: TokenResolver;
  readonly admission: Pick<Admission, 'enter' | 'leave'>;
  readonly writer: Writer;
  readonly recorder: Pick<Recorder, 'row'>;
  readonly clock: Clock;
  /** How far what is known of a tenant is. */
  readonly versionOf: (no: TenantNo) => number;
  readonly random: Random;
}

/** Stands where the id of a resource does. */
const NO_ID = '-';

/** Answers for which resources a principal may act. Recorded like a decision, and counts for none. */
export class Plans<P extends Planned> {
  readonly #options: PlansOptions<P>;

  constructor(options: PlansOptions<P>) {
    this.#options = options;
  }

  /**
   * Rejects with what `Decisions.check` does, and with `plan_unsupported`; both are recorded. A token that is refused is a
   * plan by which nothing is allowed.
   */
  async plan(tenant: Tenant, caller: Caller, asked: PlanAsked): Promise<PlanAnswer<P>> {
    const { admission, clock, random, versionOf } = this.#options;
    const place = admission.enter(tenant, 1);
    const now = clock();
    const decisionId = uuidv7(now, random(10)) as DecisionId;
    const head = { tenant, caller: caller.id, now, decisionId, version: versionOf(tenant.no) };
    const whole = { ...asked, resource: { ...asked.resource, id: NO_ID } };
    let question: Question = {
      input: unsoundQuestion({ ...whole, resource: { ...asked.resource, id: '' } }),
    };
    try {
      const request = checkRequest(whole, tenant.manifest);
      question = soundQuestion(withoutId(request), undefined);
      const principal = await this.#principal(tenant, request, now);
      if (principal instanceof ServiceError) {
        const grant = principal instanceof GrantRefused ? principal.grant : undefined;
        const of = soundQuestion(withoutId(request), grant);
        return await this.#denied(head, of, refusal(principal.code, principal.message));
      }
      const after = this.#after(tenant);
      if (!isTrusted(tenant, after, principal))
        throw new ServiceError('token_invalid', 'the tenant trusts the issuer of the token no more');
      return await this.#planned({ ...head, tenant: after }, caller, request, principal, (known) => {
        question = known;
      });
    } catch (error) {
      if (error instanceof ServiceError && RECORDED.has(error.code))
        await this.#record(head, question, 'error', refusal(error.code, error.message), '');
      throw error;
    } finally {
      admission.leave(place, 1);
    }
  }

  async #planned(
    head: Head,
    caller: Caller,
    request: CheckRequest,
    principal: TokenPrincipal,
    known: (question: Question) => void,
  ): Promise<PlanAnswer<P>> {
    const { tenant, now } = head;
    const { grant, actors, subject } = principal;
    const input = this.#input(tenant, request, principal, now);
    const question: Question = {
      named: { action: request.action.name, resource: withoutId(request).resource, actors },
      subject,
      actor: actors[0],
      grantId: grant?.id,
      input,
    };
    known(question);
    const { revision } = this.#options.policyOf(tenant);
    if (this.#options.kills.isKilled(tenant))
      return this.#denied(head, question, refusal('tenant_killed', TENANT_KILLED));
    if (forAnotherAudience(tenant, caller, request, grant))
      return this.#denied(head, question, refusal('audience_mismatch', 'the token is for another audience'));
    if (revision === '')
      return this.#denied(
        head,
        question,
        refusal('policy_undefined', 'the tenant has no policy that compiles'),
      );
    // What is counted depends on what was asked before, and on amounts that differ from resource to resource.
    if (metersMet(tenant.manifest, request.action.name))
      throw new ServiceError(
        'plan_unsupported',
        `a meter counts ${request.action.name}, or is seen by it: ask for each resource`,
      );
    const plan = await this.#options.plan(tenant, revision, input);
    const after = this.#after(tenant);
    // Whoever was disabled while it was planned, or killed, is answered by what holds now.
    if (this.#options.kills.isKilled(after) || this.#input(after, request, principal, now) !== input)
      throw new ServiceError(
        'unavailable',
        'what is known of the principal has changed meanwhile; ask again',
        {
          retryAfterMs: 0,
        },
      );
    const outcome = plan.always === undefined ? 'done' : plan.always ? 'allow' : 'deny';
    const { rules, reasons } = outcome === 'deny' ? NOTHING_ALLOWED : { rules: ['authz.allow'], reasons: [] };
    const recordIndex = await this.#record(
      { ...head, tenant: after },
      question,
      outcome,
      { rules, reasons },
      revision,
    );
    return { plan, reasons, decisionId: head.decisionId, revision, recordIndex };
  }

  #input(tenant: Tenant, request: CheckRequest, principal: TokenPrincipal, now: number): string {
    const { facts } = this.#options;
    const { subject, actors, grant, authentication } = principal;
    const { json } = buildInput({
      now,
      tenant: tenant.id,
      ...subjectKnown(facts, tenant, request, subject),
      actors: actors.map((actor) => facts.of(tenant, actor)),
      action: request.action,
      resource: withoutId(request).resource,
      context: request.context,
      authentication,
      grant,
    });
    return json;
  }

  /** Why the token does not tell who asks, where it does not. */
  async #principal(
    tenant: Tenant,
    { principal: by }: CheckRequest,
    now: number,
  ): Promise<TokenPrincipal | ServiceError> {
    if ('stated' in by) return asStated(by.stated);
    try {
      return await this.#options.resolveToken(tenant, by.token, now, by.proof);
    } catch (error) {
      if (error instanceof ServiceError && /^(?:token|dpop|certificate)_/.test(error.code)) return error;
      throw error;
    }
  }

  #after(before: Tenant): Tenant {
    const now = this.#options.current(before);
    if (!now) throw new ServiceError('tenant_unknown', 'the tenant is served no more');
    return now;
  }

  async #denied(head: Head, question: Question, { rules, reasons }: Verdict): Promise<PlanAnswer<P>> {
    const { revision } = this.#options.policyOf(head.tenant);
    const recordIndex = await this.#record(head, question, 'deny', { rules, reasons }, revision);
    return { plan: undefined, reasons, decisionId: head.decisionId, revision, recordIndex };
  }

  /** The plan is no part of it: it is what the revision makes of the input. */
  async #record(
    { tenant, caller, now, decisionId, version }: Head,
    question: Question,
    outcome: 'allow' | 'deny' | 'done' | 'error',
    { rules, reasons }: Pick<Verdict, 'rules' | 'reasons'>,
    revision: string,
  ): Promise<number> {
    const { recorder, writer } = this.#options;
    const head = { tenantNo: tenant.no, time: now, decisionId, caller, version };
    const decided = {
      ...refusal('internal', ''),
      outcome: 'deny' as const,
      rules,
      reasons,
      revision,
      cost: 0,
    };
    const draft = { ...decisionDraft(head, decided, question), kind: 'plan' as const, outcome };
    return writer.append(await recorder.row(tenant, draft));
  }
}

interface Head {
  readonly tenant: Tenant;
  readonly caller: string;
  readonly now: number;
  readonly decisionId: DecisionId;
  readonly version: number;
}

const RECORDED: ReadonlySet<string> = new Set([
  'invalid_request',
  'principal_class_unknown',
  'plan_unsupported',
  'token_invalid',
]);

const NOTHING_ALLOWED = {
  rules: ['authz.allow'],
  reasons: [{ code: 'not_allowed', message: 'no rule allows it, whatever the resource' }],
};

const withoutId = (request: CheckRequest): CheckRequest => ({
  ...request,
  resource: { ...request.resource, id: '' },
});
