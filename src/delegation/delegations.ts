import { channel } from 'node:diagnostics_channel';
import { buildRecord } from '../audit/record.ts';
import type { Admission } from '../decision/admission.ts';
import { type Decided, decide, type Policy } from '../decision/decide.ts';
import type { Recorder } from '../decision/recorder.ts';
import type { Clock, Random } from '../effects.ts';
import { ServiceError } from '../errors.ts';
import { type DecisionId, type GrantId, type PrincipalRef, principalKey, uuidv7 } from '../ids.ts';
import type { GrantStore } from '../storage/grants.ts';
import { audiencesOf, type GrantRow } from '../storage/rows.ts';
import type { Writer } from '../storage/writer.ts';
import type { Caller } from '../tenancy/callers.ts';
import type { FactSource } from '../tenancy/facts.ts';
import type { Issuers } from '../tenancy/issuers.ts';
import { readToken } from '../tenancy/jose.ts';
import { ceilingOf, type Tenant } from '../tenancy/tenants.ts';
import { checkShape, checkTaker, type ExchangeAsked } from './asked.ts';
import { Attempt, deniedByLimits, proposedGrant } from './attempt.ts';
import { narrow } from './exchange.ts';
import { type Cut, type Limited, limit } from './limits.ts';
import { verifyActorToken, verifySubjectToken } from './presented.ts';
import { questionOf } from './question.ts';
import { ExchangeRefused } from './refused.ts';
import type { Tokens } from './tokens.ts';

/** Published after each exchange is durable: {tenant, outcome}, the outcome allow, deny or challenge. */
export const exchangeChannel = channel('mandate:exchange');

export interface Exchanged {
  readonly token: string;
  readonly grant: GrantRow;
  /** What the limits of the policy took from what would have been granted. */
  readonly cut: Cut;
  readonly decisionId: DecisionId;
  readonly recordIndex: number;
}

export interface DelegationsOptions {
  readonly tokens: Tokens;
  readonly issuers: Issuers;
  readonly grants: GrantStore;
  readonly facts: FactSource;
  readonly policyOf: (tenant: Tenant) => Policy;
  readonly admission: Pick<Admission, 'enter' | 'leave' | 'spent'>;
  readonly writer: Writer;
  readonly recorder: Recorder;
  readonly clock: Clock;
  readonly random: Random;
}

/** The delegation authority: may this agent act for that principal, this narrowly? */
export class Delegations {
  readonly #options: DelegationsOptions;

  constructor(options: DelegationsOptions) {
    this.#options = options;
  }

  /**
   * Verifies the subject's token, narrows, asks the tenant's policy, signs, and answers once grant and record are
   * durable. Every refusal is recorded before it is thrown, but for `resource_exhausted`.
   */
  exchange(tenant: Tenant, caller: Caller, asked: ExchangeAsked): Promise<Exchanged> {
    return this.#admitted(tenant, () => this.#attempt(tenant, caller, asked));
  }

  async #admitted<T>(tenant: Tenant, work: () => Promise<T>): Promise<T> {
    const { admission } = this.#options;
    const place = admission.enter(tenant, 1);
    try {
      return await work();
    } finally {
      admission.leave(place, 1);
    }
  }

  async #attempt(tenant: Tenant, caller: Caller, asked: ExchangeAsked): Promise<Exchanged> {
    const now = this.#options.clock();
    const decisionId = uuidv7(now, this.#options.random(10)) as DecisionId;
    const attempt = new Attempt(tenant, caller, asked, now, decisionId);
    try {
      return await this.#exchange(attempt);
    } catch (error) {
      const told = await this.#refused(attempt, error);
      const outcome = attempt.objection?.outcome ?? 'deny';
      if (exchangeChannel.hasSubscribers) exchangeChannel.publish({ tenant: tenant.id, outcome });
      throw told;
    }
  }

  /** Records a refusal; answers the error that tells of it. */
  async #refused(attempt: Attempt, error: unknown): Promise<unknown> {
    if (error instanceof ServiceError && error.code === 'audit_unavailable') return error;
    const { writer, recorder } = this.#options;
    const draft = attempt.refused(error instanceof ServiceError ? error : UNKNOWN);
    const index = await writer.append(await recorder.row(attempt.tenant, draft));
    const { objection, decisionId } = attempt;
    return objection ? new ExchangeRefused(objection, decisionId, index) : error;
  }

  async #exchange(attempt: Attempt): Promise<Exchanged> {
    const { tenant, caller, asked, decisionId } = attempt;
    const { tokens, writer, recorder } = this.#options;
    const actor = caller.principal;
    if (!actor)
      throw new ServiceError(
        'unauthenticated',
        'an exchange takes the credential of the agent that will act',
      );
    checkShape(asked);
    const proposed = await this.#proposed(attempt, actor);
    const allowed = this.#allowed(attempt, proposed);
    const { grant, cut } = allowed;
    const token = await tokens.mint(tenant, grant);
    tokens.begin(grant);
    const record = await recorder.row(tenant, attempt.record('allow', allowed.decided, allowed));
    const { value, index } = await writer.run('insertGrant', { tenantNo: tenant.no, grant }, record);
    if (value === undefined)
      throw new ServiceError('token_revoked', 'the token or one of its principals was revoked meanwhile');
    if (exchangeChannel.hasSubscribers) exchangeChannel.publish({ tenant: tenant.id, outcome: 'allow' });
    return { token, grant, cut, decisionId, recordIndex: index };
  }

  /** What may be granted at most: by the tokens that were presented, and by what the tenant declares. */
  async #proposed(attempt: Attempt, actor: PrincipalRef): Promise<GrantRow> {
    const { tenant, asked, now } = attempt;
    const { facts, random } = this.#options;
    if (asked.actorToken !== undefined)
      await verifyActorToken(this.#options, tenant, actor, asked.actorToken);
    const presented = await verifySubjectToken(
      this.#options,
      tenant,
      actor,
      asked.subjectToken,
      asked.subjectTokenType,
      now,
    );
    attempt.subject = presented.subject;
    checkTaker(tenant, asked.mayAct);
    const narrowed = narrow({
      request: asked,
      actor,
      ceiling: ceilingOf(tenant, actor),
      chain: (presented.parent?.actors ?? []).map((each) => ceilingOf(tenant, each)),
      audiences: tenant.audiences,
      detailTypes: tenant.manifest.authorization_details,
      subject: presented.subject,
      subjectScopes: facts.heldScopes(tenant, presented.subject),
      mayAct: presented.mayAct,
      presentedUntil: presented.until,
      parent: presented.parent,
      now,
    });
    return proposedGrant(narrowed, presented, now, uuidv7(now, random(10)) as GrantId);
  }

  /** What the policy allows of it. */
  #allowed(attempt: Attempt, proposed: GrantRow): Limited & { readonly decided: Decided } {
    const { tenant, now, decisionId } = attempt;
    const { admission, facts, policyOf } = this.#options;
    const input = questionOf(attempt, proposed, facts);
    attempt.input = input.json;
    const context = { nowMs: now, seed: decisionId };
    const decided = decide(policyOf(tenant), 'mandate/delegation', input, context);
    attempt.decided = decided;
    admission.spent(tenant.id, decided.cost);
    if (attempt.objection) throw NOT_ALLOWED;
    const limited = limit(proposed, decided.limits, now, tenant.manifest.authorization_details);
    if ('reason' in limited) {
      attempt.decided = deniedByLimits(decided, limited.reason);
      throw NOT_ALLOWED;
    }
    return { ...limited, decided };
  }

  /**
   * The living grant behind a token, or undefined: for a token that is not good and for one that is none of the
   * caller's business alike (RFC 7662 section 2.2). Recorded either way.
   */
  introspect(tenant: Tenant, caller: Caller, token: string): Promise<GrantRow | undefined> {
    return this.#admitted(tenant, () => this.#introspect(tenant, caller, token));
  }

  async #introspect(tenant: Tenant, caller: Caller, token: string): Promise<GrantRow | undefined> {
    const now = this.#options.clock();
    const grant = await this.#livingGrant(tenant, caller, token, now);
    await this.#options.writer.append(
      buildRecord({
        ...head(tenant, caller, now, this.#options.random),
        kind: 'introspection',
        outcome: grant ? 'allow' : 'deny',
        subject: grant?.subject,
        actor: grant?.actors[0],
        grantId: grant?.id,
        members: grant ? `,"grant_id":"${grant.id}"` : '',
        input: JSON.stringify(grant ? { subject: grant.subject, actors: grant.actors } : {}),
      }),
    );
    return grant;
  }

  async #livingGrant(
    tenant: Tenant,
    caller: Caller,
    token: string,
    now: number,
  ): Promise<GrantRow | undefined> {
    const { tokens, facts } = this.#options;
    try {
      const read = readToken(token);
      if (!tokens.isOwn(tenant, read)) return undefined;
      const grant = await tokens.grantOf(tenant, read, now);
      const targets = audiencesOf(grant).map((audience) => tenant.audiences.get(audience));
      const involved = [...targets, grant.actors[0]];
      if (caller.principal && !involved.some((one) => one && sameAs(one, caller.principal))) return undefined;
      const everyone = [grant.subject, ...grant.actors];
      return everyone.every((one) => facts.of(tenant, one).status === 'active') ? grant : undefined;
    } catch (error) {
      if (error instanceof ServiceError && error.code.startsWith('token_')) return undefined;
      throw error;
    }
  }

  /**
   * Ends a grant and its subtree; answers how many were alive. 0 for what does not exist or is not the caller's
   * (RFC 7009 section 2.1). Resolves after the commit: the next Check sees it. No clock is asked whether there is still
   * something to end.
   */
  async revoke(
    tenant: Tenant,
    caller: Caller,
    target: { token: string } | { grantId: string },
  ): Promise<number> {
    const { writer, clock, random } = this.#options;
    const now = clock();
    const grant = await this.#revocable(tenant, caller, target);
    const draft = {
      ...head(tenant, caller, now, random),
      kind: 'revocation' as const,
      subject: grant?.subject,
      actor: grant?.actors[0],
      grantId: grant?.id,
      input: JSON.stringify(grant ? { subject: grant.subject, actors: grant.actors } : {}),
      members: grant ? `,"grant_id":"${grant.id}"` : '',
    };
    if (grant) {
      const record = buildRecord({ ...draft, outcome: 'done' });
      const { value } = await writer.run(
        'revokeGrant',
        { tenantNo: tenant.no, id: grant.id, at: now },
        record,
      );
      if (value !== undefined) return value;
    }
    await writer.append(buildRecord({ ...draft, outcome: 'deny' }));
    return 0;
  }

  async #revocable(
    tenant: Tenant,
    caller: Caller,
    target: { token: string } | { grantId: string },
  ): Promise<GrantRow | undefined> {
    const { tokens, grants } = this.#options;
    let grant: GrantRow | undefined;
    if ('grantId' in target) grant = grants.find(tenant.no, target.grantId as GrantId);
    else {
      try {
        const token = readToken(target.token);
        if (tokens.isOwn(tenant, token)) grant = await tokens.grantBehind(tenant, token);
      } catch (error) {
        if (!(error instanceof ServiceError) || !error.code.startsWith('token_')) throw error;
      }
    }
    // Whoever acts in the chain may cut it off below; an operator may end any.
    if (grant && caller.principal && !grant.actors.some((actor) => sameAs(actor, caller.principal)))
      return undefined;
    return grant;
  }
}

/** What exactly the policy said is told once it is recorded. */
const NOT_ALLOWED = new ServiceError('exchange_denied', 'the policy does not allow it');

const UNKNOWN = new ServiceError('internal', 'something went wrong here');

const sameAs = (one: PrincipalRef, other: PrincipalRef | undefined): boolean =>
  other !== undefined && principalKey(one) === principalKey(other);

function head(tenant: Tenant, caller: Caller, now: number, random: Random) {
  return { tenantNo: tenant.no, time: now, decisionId: uuidv7(now, random(10)), caller: caller.id };
}
