import { channel } from 'node:diagnostics_channel';
import { buildRecord } from '../audit/record.ts';
import type { Clock, Random } from '../effects.ts';
import { ServiceError } from '../errors.ts';
import type { RecordRow } from '../storage/rows.ts';
import type { Writer } from '../storage/writer.ts';
import type { Caller } from '../tenancy/callers.ts';
import type { FactSource } from '../tenancy/facts.ts';
import { type DecisionId, uuidv7 } from '../ids.ts';
import type { Tenant } from '../tenancy/tenants.ts';
import { type Decided, decide, type Policy } from './decide.ts';
import { buildInput } from './input.ts';
import type { TokenPrincipal, TokenResolver } from './principal.ts';
import { type CheckRequest, checkRequest, type UncheckedRequest } from './request.ts';
import { refusal } from './verdict.ts';

/** Published after each decision is durable: {tenant, outcome, cost, revision, entry: 'check'}. */
export const decisionChannel = channel('mandate:decision');

/** A decision whose record is durable. */
export interface Answer extends Decided {
  readonly decisionId: DecisionId;
  readonly recordIndex: number;
}

/** A decision and the record that must be durable before anybody hears of it. */
export interface Pending {
  readonly decided: Decided;
  readonly decisionId: DecisionId;
  readonly row: RecordRow;
}

export interface DecisionsOptions {
  readonly policyOf: (tenant: Tenant) => Policy;
  readonly facts: FactSource;
  readonly resolveToken: TokenResolver;
  readonly writer: Writer;
  readonly clock: Clock;
  readonly random: Random;
}

/** The policy decision point: who is it, what is known of it, what does the policy say, is it recorded. */
export class Decisions {
  readonly #options: DecisionsOptions;

  constructor(options: DecisionsOptions) {
    this.#options = options;
  }

  /** Throws `invalid_request`, `principal_class_unknown` (both recorded), `audit_unavailable`, `resource_exhausted`. */
  async check(tenant: Tenant, caller: Caller, unchecked: UncheckedRequest): Promise<Answer> {
    const pending = await this.decide(tenant, caller, unchecked);
    return this.commit(tenant, pending);
  }

  /** Decides without recording: for batches, which commit all their records at once. */
  async decide(tenant: Tenant, caller: Caller, unchecked: UncheckedRequest): Promise<Pending> {
    const now = this.#options.clock();
    const request = await this.#validated(tenant, caller, unchecked, now);
    if ('stated' in request.principal)
      return this.evaluate(tenant, caller, request, now, {
        subject: request.principal.stated,
        actors: [],
        grant: undefined,
      });
    try {
      const principal = await this.#options.resolveToken(tenant, request.principal.token, now);
      return this.evaluate(tenant, caller, request, now, principal);
    } catch (error) {
      if (!(error instanceof ServiceError) || !error.code.startsWith('token_')) throw error;
      return this.#refused(tenant, caller, request, now, error);
    }
  }

  /** Resolves when the record is durable, with its index. */
  async commit(tenant: Tenant, pending: Pending): Promise<Answer> {
    const recordIndex = await this.#options.writer.append(pending.row);
    return this.#answer(tenant, pending, recordIndex);
  }

  /** One commit for all of them. */
  async commitAll(tenant: Tenant, pending: readonly Pending[]): Promise<Answer[]> {
    const indexes = await this.#options.writer.appendAll(pending.map((each) => each.row));
    return pending.map((each, at) => this.#answer(tenant, each, indexes[at] ?? -1));
  }

  #answer(tenant: Tenant, { decided, decisionId }: Pending, recordIndex: number): Answer {
    if (decisionChannel.hasSubscribers)
      decisionChannel.publish({ tenant: tenant.id, outcome: decided.outcome, cost: decided.cost });
    return { ...decided, decisionId, recordIndex };
  }

  /** The decision itself, for a principal that is known. Synchronous: nothing can change between facts and answer. */
  evaluate(
    tenant: Tenant,
    caller: Caller,
    request: CheckRequest,
    now: number,
    principal: TokenPrincipal,
  ): Pending {
    const { facts, policyOf, random } = this.#options;
    const decisionId = uuidv7(now, random(10)) as DecisionId;
    const { subject, actors, grant } = principal;
    const input = buildInput({
      now,
      tenant: tenant.id,
      subject: facts.of(tenant, subject),
      stated: 'stated' in request.principal ? request.principal.properties : undefined,
      actors: actors.map((actor) => facts.of(tenant, actor)),
      action: request.action,
      resource: request.resource,
      context: request.context,
      grant,
    });
    const policy = policyOf(tenant);
    const decided = forAnotherAudience(caller, request, grant?.audience)
      ? {
          ...refusal('audience_mismatch', 'the token is for another audience'),
          revision: policy.revision,
          cost: 0,
        }
      : decide(policy, 'mandate/decision', input, { nowMs: now, seed: decisionId });
    return {
      decided,
      decisionId,
      row: buildRecord({
        tenantNo: tenant.no,
        time: now,
        kind: 'decision',
        outcome: decided.outcome,
        decisionId,
        caller: caller.id,
        subject,
        actor: actors[0],
        members: recordMembers(decided, grant?.id),
        input,
      }),
    };
  }

  /** A token that is not good names nobody: denied, and recorded with what was asked. */
  #refused(tenant: Tenant, caller: Caller, request: CheckRequest, now: number, error: ServiceError): Pending {
    const decisionId = uuidv7(now, this.#options.random(10)) as DecisionId;
    const { revision } = this.#options.policyOf(tenant);
    const decided: Decided = { ...refusal(error.code, error.message), revision, cost: 0 };
    const input = JSON.stringify({
      subject: null,
      actors: [],
      action: request.action,
      resource: request.resource,
      context: request.context ?? {},
    });
    const row = buildRecord({
      tenantNo: tenant.no,
      time: now,
      kind: 'decision',
      outcome: 'deny',
      decisionId,
      caller: caller.id,
      subject: undefined,
      actor: undefined,
      members: recordMembers(decided, undefined),
      input,
    });
    return { decided, decisionId, row };
  }

  async #validated(
    tenant: Tenant,
    caller: Caller,
    unchecked: UncheckedRequest,
    now: number,
  ): Promise<CheckRequest> {
    try {
      return checkRequest(unchecked);
    } catch (error) {
      if (error instanceof ServiceError)
        await this.#recordError(tenant, caller, now, unchecked.subject, error);
      throw error;
    }
  }

  /** A request that could not be decided is in the log too, with what was wrong with it. */
  async #recordError(
    tenant: Tenant,
    caller: Caller,
    now: number,
    stated: UncheckedRequest['subject'],
    error: ServiceError,
  ): Promise<void> {
    const reasons = JSON.stringify([{ code: error.code, message: error.message }]);
    await this.#options.writer.append(
      buildRecord({
        tenantNo: tenant.no,
        time: now,
        kind: 'decision',
        outcome: 'error',
        decisionId: uuidv7(now, this.#options.random(10)),
        caller: caller.id,
        subject: undefined,
        actor: undefined,
        members: `,"rules":["mandate.core"],"reasons":${reasons}`,
        input: JSON.stringify({
          stated: { type: clip(stated?.type), id: clip(stated?.id) },
        }),
      }),
    );
  }
}

const clip = (text: unknown): string | undefined =>
  typeof text === 'string' ? text.slice(0, 256) : undefined;

/** A token minted for one server is no good at another, whoever passes it on (RFC 8707 section 2.2). */
function forAnotherAudience(caller: Caller, request: CheckRequest, audience: string | undefined): boolean {
  if (audience === undefined) return false;
  if (caller.audiences && !caller.audiences.includes(audience)) return true;
  return request.audience !== undefined && request.audience !== audience;
}

export function recordMembers(decided: Decided, grantId: string | undefined): string {
  const grant = grantId === undefined ? '' : `,"grant_id":"${grantId}"`;
  return `,"revision":"${decided.revision}","cost":${decided.cost},"rules":${JSON.stringify(
    decided.rules,
  )},"reasons":${JSON.stringify(decided.reasons)}${grant}`;
}
