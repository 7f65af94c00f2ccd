import { channel } from 'node:diagnostics_channel';
import type { Admission } from '../decision/admission.ts';
import type { HeldApproval } from '../decision/approval/presented.ts';
import { type Decided, decide, type Policy, toldTo } from '../decision/decide.ts';
import type { Recorder } from '../decision/recorder.ts';
import type { Clock, Random } from '../effects.ts';
import { ServiceError } from '../errors.ts';
import { type DecisionId, type GrantId, type PrincipalRef, uuidv7 } from '../ids.ts';
import { audiencesOf, type GrantRow, isTaskNode, type TenantNo } from '../storage/rows.ts';
import type { Writer } from '../storage/writer.ts';
import type { Caller } from '../tenancy/callers.ts';
import type { FactSource } from '../tenancy/facts.ts';
import type { Held } from '../tenancy/held.ts';
import type { Issuers } from '../tenancy/issuers.ts';
import type { Kills } from '../tenancy/kills.ts';
import { checkLasting } from '../tenancy/lasting.ts';
import { killedAs } from '../tenancy/registry/credentials.ts';
import { ceilingOf, type Tenant } from '../tenancy/tenants.ts';
import { TENANT_KILLED } from '../verdict.ts';
import { admitted } from './admitted.ts';
import { type ExchangeApprovals, exchangeQuestion, usedFor } from './approval.ts';
import { askedWith, checkShape, checkTaker, type ExchangeAsked } from './asked.ts';
import { Attempt, deniedByLimits, proposedGrant } from './attempt.ts';
import { checkBudget } from './budgets.ts';
import { ID_JAG_TYPE, narrow } from './exchange.ts';
import { acceptAssertion } from './id-jag/accept.ts';
import { authorityFor, checkUser, grantedFor, signAssertion, withResources } from './id-jag/issue.ts';
import { joinerOf, partOf, UNBOUND } from './joining.ts';
import { type Cut, type Limited, limit } from './limits.ts';
import { ownGrant } from './own.ts';
import { type SubjectToken, verifyActorToken, verifySubjectToken } from './presented.ts';
import { namedIn, questionOf } from './question.ts';
import { ExchangeRefused } from './refused.ts';
import { bindingFor } from './sender/certificates.ts';
import type { DpopProofs } from './sender/dpop.ts';
import { heldBy } from './sender/held.ts';
import { nodeOf, taskOf } from './tasks.ts';
import type { Tokens } from './tokens.ts';
import { transactionOf, transactionsFor, withDomain } from './transactions/asked.ts';
import { signTransaction } from './transactions/token.ts';

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
  readonly dpop: DpopProofs;
  readonly issuers: Issuers;
  readonly facts: FactSource;
  readonly kills: Pick<Kills, 'isKilled'>;
  readonly policyOf: (tenant: Tenant, subject?: PrincipalRef) => Policy;
  /** The tenant as it is now; undefined where it is served no more. */
  readonly current: (tenant: Tenant) => Tenant | undefined;
  readonly approvals: ExchangeApprovals;
  readonly admission: Pick<Admission, 'enter' | 'leave' | 'spent'>;
  readonly writer: Writer;
  readonly recorder: Recorder;
  readonly clock: Clock;
  /** How far what is known of a tenant is. */
  readonly versionOf: (no: TenantNo) => number;
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
    return admitted(this.#options.admission, tenant, () => this.#attempt(tenant, caller, asked));
  }

  async #attempt(tenant: Tenant, caller: Caller, asked: ExchangeAsked): Promise<Exchanged> {
    const { approvals, clock, random, versionOf } = this.#options;
    const now = clock();
    const decisionId = uuidv7(now, random(10)) as DecisionId;
    const attempt = new Attempt(tenant, caller, asked, { now, decisionId, version: versionOf(tenant.no) });
    if (asked.approval && 'id' in asked.approval) await approvals.poll(tenant, caller, asked.approval.id);
    try {
      return await this.#exchange(attempt);
    } catch (error) {
      const told = await approvals.asked(attempt, await this.#refused(attempt, error));
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
    const { tenant } = attempt;
    const index = await writer.append(await recorder.row(this.#options.current(tenant) ?? tenant, draft));
    const { objection, decisionId } = attempt;
    return objection ? new ExchangeRefused(objection, decisionId, index) : error;
  }

  async #exchange(attempt: Attempt): Promise<Exchanged> {
    const { tenant, caller, asked, decisionId } = attempt;
    const { approvals, tokens, writer, recorder } = this.#options;
    if (this.#options.kills.isKilled(tenant)) throw new ServiceError('tenant_killed', TENANT_KILLED);
    const actor = caller.principal;
    if (!actor)
      throw new ServiceError(
        'unauthenticated',
        'an exchange takes the credential of the agent that will act',
      );
    checkShape(asked);
    const proposed = await this.#proposed(attempt, actor);
    this.#checkServers(tenant, proposed);
    attempt.question = asked.approval && exchangeQuestion(attempt, proposed);
    attempt.proposed = proposed;
    const approved = await approvals.presented(attempt);
    const allowed = this.#allowed(attempt, proposed, approved?.held);
    const { cut } = allowed;
    const opened = asked.task && proposed.task ? nodeOf(proposed.task, allowed.grant) : undefined;
    const grant = opened ? { ...allowed.grant, parentId: opened.id } : allowed.grant;
    const token = await this.#token(attempt, grant);
    tokens.begin(grant);
    const record = await recorder.row(
      this.#options.current(tenant) ?? tenant,
      attempt.record('allow', allowed.decided, { ...allowed, grant }, usedFor(approved?.use)),
    );
    checkLasting(tenant, this.#options.current(tenant), caller, grant.issuer);
    const { no: tenantNo } = tenant;
    const by = caller.credential ? killedAs(caller.credential) : [];
    const { value, index } = approved
      ? await writer.run('grantApproved', { tenantNo, use: approved.use, grant, task: opened, by }, record)
      : opened
        ? await writer.run('openTask', { tenantNo, task: opened, grant, by }, record)
        : await writer.run('insertGrant', { tenantNo, grant, by }, record);
    if (value === undefined) throw approved ? SPENT : REVOKED;
    if (exchangeChannel.hasSubscribers) exchangeChannel.publish({ tenant: tenant.id, outcome: 'allow' });
    return { token, grant, cut, decisionId, recordIndex: index };
  }

  /** What stands for the grant: who joins a task goes on by its id. */
  async #token({ tenant, asked, transaction }: Attempt, grant: GrantRow): Promise<string> {
    const { tokens } = this.#options;
    if (transaction) return signTransaction(tokens, tenant, grant, transaction);
    if (isTaskNode(grant)) return grant.id;
    const authority = authorityFor(tenant, asked, tokens.issuerOf(tenant));
    return authority ? signAssertion(tokens, tenant, grant, authority) : tokens.mint(tenant, grant);
  }

  /** What may be granted at most: by the tokens that were presented, and by what the tenant declares. */
  async #proposed(attempt: Attempt, actor: PrincipalRef): Promise<GrantRow> {
    const { tenant, asked, now } = attempt;
    const { facts, random } = this.#options;
    const joiner = joinerOf(asked, actor);
    if (asked.actorToken !== undefined)
      await verifyActorToken(this.#options, tenant, actor, asked.actorToken);
    const held = await heldBy(this.#options.dpop, tenant, actor, asked);
    const newId = (): GrantId => uuidv7(now, random(10)) as GrantId;
    if (asked.subjectToken === undefined) {
      attempt.subject = actor;
      const issuer = this.#options.tokens.issuerOf(tenant);
      return ownGrant(tenant, actor, facts.heldScopes(tenant, actor), {
        asked,
        bound: bindingFor(tenant, actor, held, false),
        issuer,
        now,
        id: newId(),
      });
    }
    const presented = await this.#presented(attempt, actor, asked.subjectToken, held);
    const request = attempt.asked;
    checkBudget(tenant, presented.parent?.task);
    checkTaker(tenant, request.mayAct);
    const authority = authorityFor(tenant, request, this.#options.tokens.issuerOf(tenant));
    const transactions = transactionsFor(tenant, actor, request);
    if (presented.transaction && !transactions) throw REPLACED_ALONE;
    if (authority) checkUser(presented.subject);
    const narrowed = narrow({
      request: transactions ? { ...request, lifetimeSeconds: transactions.max_lifetime_seconds } : request,
      actor: joiner ?? actor,
      ceiling: ceilingOf(tenant, joiner ?? actor),
      chain: (presented.parent?.actors ?? []).map((each) => ceilingOf(tenant, each)),
      audiences: transactions
        ? withDomain(tenant, transactions, actor)
        : authority
          ? withResources(tenant, authority)
          : tenant.audiences,
      detailTypes: tenant.manifest.authorization_details,
      subject: presented.subject,
      subjectScopes: facts.heldScopes(tenant, presented.subject),
      mayAct: presented.mayAct,
      presentedUntil: presented.until,
      parent: presented.parent,
      asserted: presented.asserted,
      renews: presented.renews && !joiner,
      joins: joiner !== undefined,
      now,
    });
    const bound = joiner ? UNBOUND : bindingFor(tenant, actor, held, presented.isCertificateBound);
    const proposed = proposedGrant(narrowed, presented, bound, now, newId());
    if (transactions) {
      const granted = { ...proposed, ...UNBOUND };
      const said = request.transaction ?? { details: {}, context: {} };
      attempt.transaction = transactionOf(granted.id, said, presented.transaction);
      return granted;
    }
    if (joiner) return partOf(proposed, presented, asked.lifetimeSeconds, now);
    if (authority) return grantedFor(authority, proposed);
    const task = asked.task && taskOf(tenant, asked.task, presented, now, newId());
    return task ? { ...proposed, task, expiresAt: Math.min(proposed.expiresAt, task.endsAt) } : proposed;
  }

  /** Who is acted for, by what was presented. An identity assertion says as well what is asked for. */
  async #presented(attempt: Attempt, actor: PrincipalRef, text: string, held: Held): Promise<SubjectToken> {
    const { tenant, asked, now } = attempt;
    const { subjectTokenType: type } = asked;
    const presented =
      type === ID_JAG_TYPE
        ? await acceptAssertion(this.#options, tenant, actor, { text, held }, now)
        : await verifySubjectToken(this.#options, tenant, actor, { text, type, held }, now);
    attempt.subject = presented.subject;
    if (presented.asserted) attempt.asked = askedWith(asked, presented.asserted);
    return presented;
  }

  /** A server that is disabled is given no tokens: it could verify them by itself, and go on. */
  #checkServers(tenant: Tenant, grant: GrantRow): void {
    for (const audience of audiencesOf(grant)) {
      const server = tenant.audiences.get(audience);
      if (server && this.#options.facts.of(tenant, server).status === 'disabled')
        throw new ServiceError('invalid_target', `${audience} is of a server that is disabled`);
    }
  }

  /** What the policy allows of it. */
  #allowed(
    attempt: Attempt,
    proposed: GrantRow,
    approval: HeldApproval | undefined,
  ): Limited & { readonly decided: Decided } {
    const { tenant, now, decisionId } = attempt;
    const { admission, facts, policyOf } = this.#options;
    const input = questionOf(attempt, proposed, facts, approval);
    attempt.input = input.json;
    attempt.named = namedIn(attempt.asked, proposed);
    const context = { nowMs: now, seed: decisionId };
    const policy = policyOf(tenant, proposed.subject);
    const decided = toldTo(attempt.caller, decide(policy, 'mandate/delegation', input, context));
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
}

/** What exactly the policy said is told once it is recorded. */
const NOT_ALLOWED = new ServiceError('exchange_denied', 'the policy does not allow it');

const REVOKED = new ServiceError(
  'token_revoked',
  'the token, one of its principals or your credential was revoked meanwhile, or its task capped: ask again',
);

const REPLACED_ALONE = new ServiceError(
  'token_invalid',
  'a transaction token is exchanged for another one alone: it is no access token',
);

const SPENT = new ServiceError('approval_invalid', 'the approval, or what it was for, is of no use any more');

const UNKNOWN = new ServiceError('internal', 'something went wrong here');
