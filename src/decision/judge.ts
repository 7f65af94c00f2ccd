import type { RecordDraft } from '../audit/record.ts';
import type { Random } from '../effects.ts';
import { type DecisionId, type PrincipalRef, uuidv7 } from '../ids.ts';
import type { GrantRow, TenantNo } from '../storage/rows.ts';
import type { Caller } from '../tenancy/callers.ts';
import type { FactSource } from '../tenancy/facts.ts';
import type { Kills } from '../tenancy/kills.ts';
import type { Tenant } from '../tenancy/tenants.ts';
import { refusal, TENANT_KILLED, type Verdict } from '../verdict.ts';
import type { Admission } from './admission.ts';
import { type Presented, unheldReason, usedMembers } from './approval/presented.ts';
import { type Decided, decide, type Policy, toldTo } from './decide.ts';
import { buildInput } from './input.ts';
import type { Meters } from './metering/meters.ts';
import type { Usage } from './metering/usage.ts';
import { forAnotherAudience, type TokenPrincipal } from './principal.ts';
import type { Recorder } from './recorder.ts';
import type { CheckRequest } from './request.ts';
import { decisionDraft } from './rows.ts';
import type { SharedParts } from './shared-parts.ts';
import { subjectKnown } from './stated.ts';

/** A decision, and what its record is made from. */
export interface Judged {
  readonly decided: Decided;
  readonly decisionId: DecisionId;
  /** Of the state that it was decided by. */
  readonly version: number;
  readonly draft: RecordDraft;
  /** Of an allow that meters count: taken once the record is made, with nothing awaited in between. */
  readonly counts: Usage | undefined;
}

/** How it is decided, where not for itself. */
export interface How {
  readonly shared?: SharedParts | undefined;
  readonly presented?: Presented | undefined;
  /** Left out: to act. A search counts nothing. */
  readonly purpose?: 'act' | 'search' | undefined;
}

interface JudgeOptions {
  /** What decides for a subject. */
  readonly policyOf: (tenant: Tenant, subject?: PrincipalRef) => Policy;
  readonly facts: FactSource;
  readonly kills: Pick<Kills, 'isKilled'>;
  readonly meters: Pick<Meters, 'look'>;
  readonly admission: Pick<Admission, 'spent'>;
  readonly recorder: Pick<Recorder, 'shares'>;
  /** How far what is known of a tenant is. */
  readonly versionOf: (no: TenantNo) => number;
  readonly random: Random;
}

/** What is known of a request's principals, what the policy says of it, and what is to be recorded. */
export class Judge {
  readonly #options: JudgeOptions;

  constructor(options: JudgeOptions) {
    this.#options = options;
  }

  /** For a principal that is known. Synchronous: nothing changes between facts and answer. */
  of(
    tenant: Tenant,
    caller: Caller,
    request: CheckRequest,
    now: number,
    principal: TokenPrincipal,
    { shared, presented, purpose = 'act' }: How = {},
  ): Judged {
    const { admission, facts, meters, policyOf, recorder, random, versionOf } = this.#options;
    const version = versionOf(tenant.no);
    const decisionId = uuidv7(now, random(10)) as DecisionId;
    const { subject, actors, grant, authentication } = principal;
    const refused = this.#unasked(tenant, caller, request, grant);
    const usage = refused ? undefined : meters.look(tenant, request, principal, now, purpose);
    const given = {
      now,
      tenant: tenant.id,
      ...subjectKnown(facts, tenant, request, subject),
      actors: actors.map((actor) => facts.of(tenant, actor)),
      action: request.action,
      resource: request.resource,
      context: request.context,
      authentication,
      grant,
      usage: usage?.seen,
      approval: presented && 'held' in presented ? presented.held : undefined,
    };
    // A policy that keeps something out may have come since.
    const input = buildInput(given, recorder.shares(tenant) ? shared : undefined);
    const policy = policyOf(tenant, subject);
    const unasked = refused ?? usage?.problem;
    const asked = unasked
      ? { ...unasked, revision: policy.revision, cost: 0 }
      : toldTo(caller, decide(policy, 'mandate/decision', input, { nowMs: now, seed: decisionId }));
    const exceeded = asked.outcome === 'allow' ? usage?.exceeded : undefined;
    const said = exceeded ? { ...exceeded, revision: asked.revision, cost: asked.cost } : asked;
    const decided = presented ? withPresented(said, presented) : said;
    const counts = decided.outcome === 'allow' ? usage : undefined;
    admission.spent(tenant.id, decided.cost);
    usage?.checkAllowed(decided);
    const head = { tenantNo: tenant.no, time: now, decisionId, caller: caller.id, version };
    const draft = decisionDraft(head, decided, {
      subject,
      actor: actors[0],
      grantId: grant?.id,
      named: { action: request.action.name, resource: request.resource, actors },
      input: input.kept.json,
      parts: input.kept.members + usedIn(decided, presented) + (counts?.counted ?? ''),
    });
    return { decided, decisionId, version, draft, counts };
  }

  /** Why it is denied without asking the policy, if it is. */
  #unasked(
    tenant: Tenant,
    caller: Caller,
    request: CheckRequest,
    grant: GrantRow | undefined,
  ): Verdict | undefined {
    if (this.#options.kills.isKilled(tenant)) return refusal('tenant_killed', TENANT_KILLED);
    return forAnotherAudience(tenant, caller, request, grant)
      ? refusal('audience_mismatch', 'the token is for another audience')
      : undefined;
  }
}

/** A decision tells what became of the approval that was presented with it. */
export function withPresented(decided: Decided, presented: Presented): Decided {
  if ('why' in presented)
    return { ...decided, reasons: [...decided.reasons, unheldReason(presented.why)], text: undefined };
  if (decided.outcome !== 'allow') return decided;
  const { id, expires_at } = presented.held;
  return { ...decided, approval: { id, expires_at } };
}

const usedIn = ({ approval }: Decided, presented: Presented | undefined): string =>
  approval && presented && 'use' in presented ? usedMembers(presented.use) : '';
