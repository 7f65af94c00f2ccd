import { channel } from 'node:diagnostics_channel';
import type { Clock, Random } from '../effects.ts';
import { ServiceError } from '../errors.ts';
import { type DecisionId, uuidv7 } from '../ids.ts';
import type { GrantRow, RecordRow } from '../storage/rows.ts';
import type { Writer } from '../storage/writer.ts';
import type { Caller } from '../tenancy/callers.ts';
import type { FactSource } from '../tenancy/facts.ts';
import type { Kills } from '../tenancy/kills.ts';
import type { Tenant } from '../tenancy/tenants.ts';
import type { Admission, Share } from './admission.ts';
import { type BatchSemantic, Pace, stopsAt } from './batch.ts';
import { type Decided, decide, type Policy } from './decide.ts';
import { buildInput } from './input.ts';
import { isMetered } from './metering/met.ts';
import type { Meters } from './metering/meters.ts';
import type { Taken } from './metering/taken.ts';
import { asStated, forAnotherAudience, type TokenPrincipal, type TokenResolver } from './principal.ts';
import type { Recorder } from './recorder.ts';
import { type CheckRequest, checkRequest, type Proof, type UncheckedRequest } from './request.ts';
import { decisionDraft, errorRow, soundQuestion, unsoundCodes, unsoundQuestion } from './rows.ts';
import { SharedParts } from './shared-parts.ts';
import { refusal, TENANT_KILLED, type Verdict } from './verdict.ts';

/** Published after each decision is durable: {tenant, outcome, cost, revision, entry: 'check'}. */
export const decisionChannel = channel('mandate:decision');

/** A decision whose record is durable. */
export interface Answer extends Decided {
  readonly decisionId: DecisionId;
  readonly recordIndex: number;
}

/** A decision and the record that must be durable before anybody hears of it. */
interface Pending {
  readonly decided: Decided;
  readonly decisionId: DecisionId;
  /** A promise where it takes a key that is not durable yet. */
  readonly row: RecordRow | Promise<RecordRow>;
  /** What it counts, with the record or not at all. */
  readonly taken: Taken | undefined;
}

export interface DecisionsOptions {
  readonly policyOf: (tenant: Tenant) => Policy;
  readonly facts: FactSource;
  readonly kills: Pick<Kills, 'isKilled'>;
  readonly resolveToken: TokenResolver;
  readonly meters: Pick<Meters, 'look'>;
  readonly admission: Pick<Admission, 'enter' | 'leave' | 'spent'>;
  readonly writer: Writer;
  readonly recorder: Recorder;
  readonly clock: Clock;
  readonly random: Random;
}

/** The policy decision point: who is it, what is known of it, what does the policy say, is it recorded. */
export class Decisions {
  readonly #options: DecisionsOptions;

  constructor(options: DecisionsOptions) {
    this.#options = options;
  }

  /**
   * Throws or rejects with `invalid_request`, `principal_class_unknown` (both recorded), `audit_unavailable`,
   * `resource_exhausted`. Not async: what an async function was given it keeps until it ends, and thousands of requests
   * may wait for a commit.
   */
  check(tenant: Tenant, caller: Caller, unchecked: UncheckedRequest): Promise<Answer> {
    const { admission, clock } = this.#options;
    const place = admission.enter(tenant, 1);
    try {
      const now = clock();
      const request = checkRequest(unchecked);
      const pending =
        'stated' in request.principal
          ? this.#evaluate(tenant, caller, request, now, asStated(request.principal.stated))
          : this.#withToken(tenant, caller, request, request.principal, now);
      if (pending instanceof Promise) return this.#settled(tenant, caller, unchecked, place, pending);
      return this.#recorded(tenant, place, pending);
    } catch (error) {
      return this.#unsound(tenant, caller, unchecked, place, error);
    }
  }

  async #settled(
    tenant: Tenant,
    caller: Caller,
    unchecked: UncheckedRequest,
    place: Share,
    pending: Promise<Pending>,
  ): Promise<Answer> {
    let settled: Pending;
    try {
      settled = await pending;
    } catch (error) {
      return this.#unsound(tenant, caller, unchecked, place, error);
    }
    return this.#recorded(tenant, place, settled);
  }

  #recorded(tenant: Tenant, place: Share, pending: Pending): Promise<Answer> {
    const { decided, decisionId } = pending;
    return this.#answered(tenant, place, decided, decisionId, this.#appended(pending));
  }

  #appended({ row, taken }: Pending): Promise<number> {
    const { writer } = this.#options;
    const append = (made: RecordRow): Promise<number> =>
      taken ? writer.run('countUsage', taken.command, made).then(({ index }) => index) : writer.append(made);
    const appended = row instanceof Promise ? row.then(append) : append(row);
    return taken ? taken.by(appended) : appended;
  }

  /** Is given nothing of the record, so that nothing of it is kept while it is committed. */
  async #answered(
    tenant: Tenant,
    place: Share,
    decided: Decided,
    decisionId: DecisionId,
    recorded: Promise<number>,
  ): Promise<Answer> {
    try {
      return this.#answer(tenant, decided, decisionId, await recorded);
    } finally {
      this.#options.admission.leave(place, 1);
    }
  }

  /** What could not be decided is in the log too, with what was wrong: the request, or an issuer without keys. */
  async #unsound(
    tenant: Tenant,
    caller: Caller,
    unchecked: UncheckedRequest,
    place: Share,
    error: unknown,
  ): Promise<never> {
    const { admission, clock, random, writer } = this.#options;
    try {
      if (error instanceof ServiceError && unsoundCodes.has(error.code)) {
        const now = clock();
        const decisionId = uuidv7(now, random(10));
        const head = { tenantNo: tenant.no, time: now, decisionId, caller: caller.id };
        await writer.append(errorRow(head, error, unsoundQuestion(unchecked)));
      }
    } finally {
      admission.leave(place, 1);
    }
    throw error;
  }

  /**
   * Decides a batch, one evaluation and one record an item, and answers once all records are durable, by one commit.
   * An item that is not a request is a deny with the reason. Answers fewer where the semantic stops early. Once `isOver`
   * says that nobody waits any more it goes no further, records nothing and rejects with `deadline_exceeded`. A search asks
   * what would be decided: nothing is counted.
   */
  async checkBatch(
    tenant: Tenant,
    caller: Caller,
    items: readonly UncheckedRequest[],
    semantic: BatchSemantic,
    isOver = (): boolean => false,
    purpose: 'act' | 'search' = 'act',
  ): Promise<Answer[]> {
    const { admission } = this.#options;
    const place = admission.enter(tenant, items.length);
    try {
      return isMetered(tenant.manifest)
        ? await this.#meteredBatch(tenant, caller, items, semantic, isOver, purpose)
        : await this.#batch(tenant, caller, items, semantic, isOver);
    } finally {
      admission.leave(place, items.length);
    }
  }

  /** Records and answers a deny for a reason of the protocol's own, found before the policy could be asked. */
  async refuse(
    tenant: Tenant,
    caller: Caller,
    unchecked: UncheckedRequest,
    error: ServiceError,
  ): Promise<Answer> {
    const { admission, clock } = this.#options;
    const place = admission.enter(tenant, 1);
    const asked = { input: unsoundQuestion(unchecked) };
    return this.#recorded(tenant, place, this.#refused(tenant, caller, asked, clock(), error));
  }

  async #batch(
    tenant: Tenant,
    caller: Caller,
    items: readonly UncheckedRequest[],
    semantic: BatchSemantic,
    isOver: () => boolean,
  ): Promise<Answer[]> {
    const { clock, writer } = this.#options;
    const now = clock();
    const parcel = writer.parcel();
    const decisions: Pick<Pending, 'decided' | 'decisionId'>[] = [];
    /** From the first on that waits for its key; their keys are made together. */
    const late: (RecordRow | Promise<RecordRow>)[] = [];
    const shared = this.#options.recorder.shares(tenant) ? SharedParts.of(items) : undefined;
    const pace = new Pace(isOver);
    for (const item of items) {
      if (pace.isDue) await pace.pause();
      const each = this.#item(tenant, caller, item, now, shared);
      const { decided, decisionId, row } = each instanceof Promise ? await each : each;
      if (late.length > 0 || row instanceof Promise) late.push(row);
      else parcel.add(row);
      decisions.push({ decided, decisionId });
      pace.decided(decided.cost);
      if (stopsAt[semantic](decided.outcome)) break;
    }
    for (const row of late) parcel.add(row instanceof Promise ? await row : row);
    const indexes = await writer.appendAll(parcel, tenant.no, shared?.used);
    return decisions.map(({ decided, decisionId }, at) =>
      this.#answer(tenant, decided, decisionId, indexes[at] ?? -1),
    );
  }

  /**
   * The same where decisions may count: each is written with what it counts. One that is answered is durable as ever; if the
   * store fails halfway, nobody is answered, and some are in the log.
   */
  async #meteredBatch(
    tenant: Tenant,
    caller: Caller,
    items: readonly UncheckedRequest[],
    semantic: BatchSemantic,
    isOver: () => boolean,
    purpose: 'act' | 'search',
  ): Promise<Answer[]> {
    const now = this.#options.clock();
    const decided: Pending[] = [];
    const pace = new Pace(isOver);
    try {
      for (const item of items) {
        if (pace.isDue) await pace.pause();
        const each = await this.#item(tenant, caller, item, now, undefined, purpose);
        decided.push(each);
        pace.decided(each.decided.cost);
        if (stopsAt[semantic](each.decided.outcome)) break;
      }
    } catch (error) {
      for (const { taken } of decided) taken?.release();
      throw error;
    }
    const indexes = await allSettled(decided.map((each) => this.#appended(each)));
    return decided.map((each, at) => this.#answer(tenant, each.decided, each.decisionId, indexes[at] ?? -1));
  }

  #item(
    tenant: Tenant,
    caller: Caller,
    unchecked: UncheckedRequest,
    now: number,
    shared: SharedParts | undefined,
    purpose: 'act' | 'search' = 'act',
  ): Pending | Promise<Pending> {
    let request: CheckRequest;
    try {
      request = checkRequest(unchecked);
    } catch (error) {
      if (!(error instanceof ServiceError)) throw error;
      return this.#refused(tenant, caller, { input: unsoundQuestion(unchecked) }, now, error);
    }
    if ('stated' in request.principal)
      return this.#evaluate(
        tenant,
        caller,
        request,
        now,
        asStated(request.principal.stated),
        shared,
        purpose,
      );
    return this.#withToken(tenant, caller, request, request.principal, now, shared, purpose);
  }

  async #withToken(
    tenant: Tenant,
    caller: Caller,
    request: CheckRequest,
    { token, proof }: { readonly token: string; readonly proof: Proof | undefined },
    now: number,
    shared?: SharedParts,
    purpose: 'act' | 'search' = 'act',
  ): Promise<Pending> {
    try {
      const principal = await this.#options.resolveToken(tenant, token, now, proof);
      return this.#evaluate(tenant, caller, request, now, principal, shared, purpose);
    } catch (error) {
      if (!(error instanceof ServiceError) || !/^(?:token|dpop)_/.test(error.code)) throw error;
      const parts = this.#options.recorder.shares(tenant) ? shared : undefined;
      return this.#refused(tenant, caller, soundQuestion(request, parts), now, error);
    }
  }

  #answer(tenant: Tenant, decided: Decided, decisionId: DecisionId, recordIndex: number): Answer {
    if (decisionChannel.hasSubscribers)
      decisionChannel.publish({ tenant: tenant.id, outcome: decided.outcome, cost: decided.cost });
    return { ...decided, decisionId, recordIndex };
  }

  /** The decision itself, for a principal that is known. Synchronous: nothing changes between facts and answer. */
  #evaluate(
    tenant: Tenant,
    caller: Caller,
    request: CheckRequest,
    now: number,
    principal: TokenPrincipal,
    shared?: SharedParts,
    purpose: 'act' | 'search' = 'act',
  ): Pending {
    const { admission, facts, meters, policyOf, recorder, random } = this.#options;
    const decisionId = uuidv7(now, random(10)) as DecisionId;
    const { subject, actors, grant, authentication } = principal;
    const refused = this.#unasked(tenant, caller, request, grant);
    const usage = refused ? undefined : meters.look(tenant, request, principal, now, purpose);
    const given = {
      now,
      tenant: tenant.id,
      subject: facts.of(tenant, subject),
      stated: 'stated' in request.principal ? request.principal.properties : undefined,
      actors: actors.map((actor) => facts.of(tenant, actor)),
      action: request.action,
      resource: request.resource,
      context: request.context,
      authentication,
      grant,
      usage: usage?.seen,
    };
    // A policy that keeps something out may have come since.
    const input = buildInput(given, recorder.shares(tenant) ? shared : undefined);
    const policy = policyOf(tenant);
    const unasked = refused ?? usage?.problem;
    const asked = unasked
      ? { ...unasked, revision: policy.revision, cost: 0 }
      : decide(policy, 'mandate/decision', input, { nowMs: now, seed: decisionId });
    const exceeded = asked.outcome === 'allow' ? usage?.exceeded : undefined;
    const decided = exceeded ? { ...exceeded, revision: asked.revision, cost: asked.cost } : asked;
    const counts = decided.outcome === 'allow' ? usage : undefined;
    admission.spent(tenant.id, decided.cost);
    const head = { tenantNo: tenant.no, time: now, decisionId, caller: caller.id };
    const draft = decisionDraft(head, decided, {
      subject,
      actor: actors[0],
      grantId: grant?.id,
      named: { action: request.action.name, resource: request.resource, actors },
      input: input.kept.json,
      parts: input.kept.members + (counts?.counted ?? ''),
    });
    const row = recorder.row(tenant, draft);
    return { decided, decisionId, row, taken: counts?.take() };
  }

  /** Why it is denied without asking the policy, if it is. */
  #unasked(
    tenant: Tenant,
    caller: Caller,
    request: CheckRequest,
    grant: GrantRow | undefined,
  ): Verdict | undefined {
    if (this.#options.kills.isKilled(tenant)) return refusal('tenant_killed', TENANT_KILLED);
    return forAnotherAudience(caller, request, grant)
      ? refusal('audience_mismatch', 'the token is for another audience')
      : undefined;
  }

  /** What cannot be put to the policy is a deny with the reason, recorded with as much of the question as is sound. */
  #refused(
    tenant: Tenant,
    caller: Caller,
    asked: { readonly input: string; readonly parts?: string },
    now: number,
    error: ServiceError,
  ): Pending {
    const decisionId = uuidv7(now, this.#options.random(10)) as DecisionId;
    const { revision } = this.#options.policyOf(tenant);
    const decided: Decided = { ...refusal(error.code, error.message), revision, cost: 0 };
    const head = { tenantNo: tenant.no, time: now, decisionId, caller: caller.id };
    const row = this.#options.recorder.row(tenant, decisionDraft(head, decided, asked));
    return { decided, decisionId, row, taken: undefined };
  }
}

/** All their results, once each has come to an end: what is not waited for would fail unheard. */
async function allSettled<Result>(promises: readonly Promise<Result>[]): Promise<Result[]> {
  await Promise.allSettled(promises);
  return Promise.all(promises);
}
