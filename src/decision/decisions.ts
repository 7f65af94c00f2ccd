import { channel } from 'node:diagnostics_channel';
import type { Clock, Random } from '../effects.ts';
import { ServiceError } from '../errors.ts';
import { type DecisionId, type PrincipalRef, uuidv7 } from '../ids.ts';
import type { RecordRow, TenantNo } from '../storage/rows.ts';
import type { Writer } from '../storage/writer.ts';
import type { Caller } from '../tenancy/callers.ts';
import type { FactSource } from '../tenancy/facts.ts';
import type { Kills } from '../tenancy/kills.ts';
import type { Tenant } from '../tenancy/tenants.ts';
import { refusal } from '../verdict.ts';
import type { Admission, Share } from './admission.ts';
import { decisionQuestion } from './approval/question.ts';
import type { ApprovalRequests } from './approval/requests.ts';
import { decidedWith } from './approval/used.ts';
import { type BatchSemantic, Pace, stopsAt } from './batch.ts';
import type { Decided, Policy } from './decide.ts';
import { Asking, decidedThere, type Elsewhere, ForAuthority } from './elsewhere.ts';
import { type How, Judge } from './judge.ts';
import { isMetered } from './metering/met.ts';
import type { Meters } from './metering/meters.ts';
import { decidedAnew, Outrun } from './metering/outrun.ts';
import type { Taken } from './metering/taken.ts';
import { asStated, GrantRefused, type TokenPrincipal, type TokenResolver } from './principal.ts';
import type { Recorder } from './recorder.ts';
import { type CheckRequest, checkRequest, type Proof, type UncheckedRequest } from './request.ts';
import {
  decisionDraft,
  errorRow,
  type Question,
  soundQuestion,
  unsoundCodes,
  unsoundQuestion,
} from './rows.ts';
import { SharedParts } from './shared-parts.ts';
import { isTrusted, sameLog } from './waited.ts';

/** Published after each decision is durable: {tenant, outcome, cost, revision, entry: 'check'}. */
export const decisionChannel = channel('mandate:decision');

/** A decision whose record is durable. */
export interface Answer extends Decided {
  readonly decisionId: DecisionId;
  readonly recordIndex: number;
  /** Of the tenant's state: every change up to it was known where it was decided. */
  readonly stateVersion: number;
}

/** A decision and the record that must be durable before anybody hears of it. */
interface Pending {
  readonly decided: Decided;
  readonly decisionId: DecisionId;
  readonly version: number;
  /** A promise where it takes a key that is not durable yet. */
  readonly row: RecordRow | Promise<RecordRow>;
  /** Where the record stands, of one that is durable already. */
  readonly index?: number | undefined;
  /** What it counts, with the record or not at all. */
  readonly taken?: Taken | undefined;
}

/** What is answered, once it is recorded. */
type Said = Pick<Pending, 'decided' | 'decisionId' | 'version'>;

/** How a batch is decided. */
interface BatchHow {
  /** Says that nobody waits for it any more. */
  readonly isOver?: (() => boolean) | undefined;
  readonly purpose?: How['purpose'];
  readonly elsewhere?: Elsewhere | undefined;
}

type ItemAsked = [
  tenant: Tenant,
  caller: Caller,
  unchecked: UncheckedRequest,
  now: number,
  how: How,
  elsewhere?: Elsewhere | undefined,
];

/** What a request would be answered, and whom it turned out to be about. */
export interface Weighed {
  /** As it was when it was weighed. */
  readonly tenant: Tenant;
  readonly request: CheckRequest;
  readonly principal: TokenPrincipal;
  readonly decided: Decided;
}

export interface DecisionsOptions {
  readonly policyOf: (tenant: Tenant, subject?: PrincipalRef) => Policy;
  /** The tenant as it is now; undefined where it is served no more. */
  readonly current: (tenant: Tenant) => Tenant | undefined;
  readonly facts: FactSource;
  readonly kills: Pick<Kills, 'isKilled'>;
  readonly resolveToken: TokenResolver;
  readonly approvals: Pick<ApprovalRequests, 'present'>;
  readonly meters: Pick<Meters, 'look'>;
  readonly admission: Pick<Admission, 'enter' | 'leave' | 'spent'>;
  readonly writer: Writer;
  readonly recorder: Recorder;
  readonly clock: Clock;
  /** How far what is known of a tenant is. */
  readonly versionOf: (no: TenantNo) => number;
  readonly random: Random;
}

/** The policy decision point: who is it, what is known of it, what does the policy say, is it recorded. */
export class Decisions {
  readonly #options: DecisionsOptions;
  readonly #judge: Judge;

  constructor(options: DecisionsOptions) {
    this.#options = options;
    this.#judge = new Judge(options);
  }

  /**
   * Throws or rejects with `invalid_request`, `principal_class_unknown` (both recorded), `audit_unavailable`,
   * `resource_exhausted`. Not async: what an async function was given it keeps until it ends, and thousands of requests
   * may wait for a commit. `elsewhere`: who decides what cannot be decided here.
   */
  check(tenant: Tenant, caller: Caller, unchecked: UncheckedRequest, elsewhere?: Elsewhere): Promise<Answer> {
    if (elsewhere?.takes(tenant, unchecked)) return elsewhere.decide(tenant, unchecked);
    if (!isMetered(tenant.manifest)) return this.#check(tenant, caller, unchecked);
    const decide = (): Promise<Answer> => this.#check(this.#after(tenant), caller, unchecked);
    return this.#check(tenant, caller, unchecked).catch((error: unknown) =>
      error instanceof ForAuthority ? decidedThere(elsewhere, tenant, unchecked) : decidedAnew(error, decide),
    );
  }

  #check(tenant: Tenant, caller: Caller, unchecked: UncheckedRequest): Promise<Answer> {
    const { admission, clock } = this.#options;
    const place = admission.enter(tenant, 1);
    try {
      const now = clock();
      const request = checkRequest(unchecked, tenant.manifest);
      const pending =
        'stated' in request.principal
          ? this.#decided(tenant, caller, request, now, asStated(request.principal.stated))
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
    const { decided, decisionId, version } = pending;
    return this.#answered(tenant, place, { decided, decisionId, version }, this.#appended(pending));
  }

  #appended({ row, index, taken }: Pending): Promise<number> {
    const { writer } = this.#options;
    if (index !== undefined) return Promise.resolve(index);
    if (taken) return this.#counted(row, taken);
    return row instanceof Promise ? row.then((made) => writer.append(made)) : writer.append(row);
  }

  #counted(row: Pending['row'], taken: Taken): Promise<number> {
    const write = (made: RecordRow): Promise<number> =>
      taken.by(taken.written(this.#options.writer, made)).then(({ value, index }) => {
        if (value === undefined) throw new Outrun();
        return index;
      });
    const made = taken.made(row);
    return made instanceof Promise ? made.then(write) : write(made);
  }

  /** Is given nothing of the record, so that nothing of it is kept while it is committed. */
  async #answered(tenant: Tenant, place: Share, said: Said, recorded: Promise<number>): Promise<Answer> {
    try {
      return this.#answer(tenant, said, await recorded);
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
    const { admission, clock, random, versionOf, writer } = this.#options;
    try {
      if (error instanceof ServiceError && unsoundCodes.has(error.code)) {
        const now = clock();
        const decisionId = uuidv7(now, random(10));
        const version = versionOf(tenant.no);
        const head = { tenantNo: tenant.no, time: now, decisionId, caller: caller.id, version };
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
   * what would be decided: nothing is counted. What is for an authority is asked there, each item for itself.
   */
  async checkBatch(
    tenant: Tenant,
    caller: Caller,
    items: readonly UncheckedRequest[],
    semantic: BatchSemantic,
    { isOver = () => false, purpose = 'act', elsewhere }: BatchHow = {},
  ): Promise<Answer[]> {
    const { admission } = this.#options;
    const place = admission.enter(tenant, items.length);
    const isEach =
      isMetered(tenant.manifest) || items.some((each) => elsewhere?.takes(tenant, each) === true);
    try {
      return isEach
        ? await this.#eachOf(tenant, caller, items, semantic, { isOver, purpose, elsewhere })
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
    const decisions: Said[] = [];
    /** From the first on that waits for its key; their keys are made together. */
    const late: (RecordRow | Promise<RecordRow>)[] = [];
    const shared = this.#options.recorder.shares(tenant) ? SharedParts.of(items) : undefined;
    const pace = new Pace(isOver);
    for (const item of items) {
      if (pace.isDue) await pace.pause();
      const each = this.#item(tenant, caller, item, now, { shared });
      const { decided, decisionId, version, row } = each instanceof Promise ? await each : each;
      if (late.length > 0 || row instanceof Promise) late.push(row);
      else parcel.add(row);
      decisions.push({ decided, decisionId, version });
      pace.decided(decided.cost);
      if (stopsAt[semantic](decided.outcome)) break;
    }
    for (const row of late) parcel.add(row instanceof Promise ? await row : row);
    const indexes = await writer.appendAll(parcel, tenant.no, shared?.used);
    return decisions.map((each, at) => this.#answer(tenant, each, indexes[at] ?? -1));
  }

  /**
   * The same where decisions may count, or are for an authority: each is written with what it counts. One that is answered
   * is durable as ever; if a store fails halfway, nobody is answered, and some are in the log.
   */
  async #eachOf(
    tenant: Tenant,
    caller: Caller,
    items: readonly UncheckedRequest[],
    semantic: BatchSemantic,
    { isOver, purpose, elsewhere }: BatchHow & { readonly isOver: () => boolean },
  ): Promise<Answer[]> {
    const now = this.#options.clock();
    const decided: (Pending | { readonly answer: Promise<Answer> })[] = [];
    const [pace, asking] = [new Pace(isOver), new Asking()];
    const stops = stopsAt[semantic];
    try {
      for (const item of items) {
        if (pace.isDue) await pace.pause();
        const each =
          (await this.#itemHere(tenant, caller, item, now, { purpose }, elsewhere)) ??
          (await asking.ask(() => decidedThere(elsewhere, tenant, item)));
        decided.push(each);
        if ('answer' in each) {
          pace.decided(0);
          if (semantic !== 'execute_all' && stops((await each.answer).outcome)) break;
        } else {
          pace.decided(each.decided.cost);
          if (stops(each.decided.outcome)) break;
        }
      }
    } catch (error) {
      for (const each of decided) if ('taken' in each) each.taken?.release();
      throw error;
    }
    return allSettled(
      decided.map((each, at) => {
        if ('answer' in each) return each.answer;
        // Others may have counted the same while it was on its way.
        const again = (): Promise<Answer> => this.#check(this.#after(tenant), caller, items[at] ?? {});
        return this.#appended(each).then(
          (index) => this.#answer(tenant, each, index),
          (error: unknown) => decidedAnew(error, again),
        );
      }),
    );
  }

  /** Undefined where an authority is to decide it. */
  async #itemHere(...asked: ItemAsked): Promise<Pending | undefined> {
    try {
      return await this.#item(...asked);
    } catch (error) {
      if (error instanceof ForAuthority) return undefined;
      throw error;
    }
  }

  #item(...[tenant, caller, unchecked, now, how, elsewhere]: ItemAsked): Pending | Promise<Pending> {
    let request: CheckRequest;
    try {
      request = checkRequest(unchecked, tenant.manifest);
    } catch (error) {
      if (!(error instanceof ServiceError)) throw error;
      return this.#refused(tenant, caller, { input: unsoundQuestion(unchecked) }, now, error);
    }
    if (request.approval !== undefined)
      return this.#refused(tenant, caller, { input: unsoundQuestion(unchecked) }, now, ONE_BY_ONE);
    if (elsewhere?.takes(tenant, unchecked)) throw new ForAuthority();
    if ('stated' in request.principal)
      return this.#evaluate(tenant, caller, request, now, asStated(request.principal.stated), how);
    return this.#withToken(tenant, caller, request, request.principal, now, how, (changed) =>
      sameLog(tenant, changed),
    );
  }

  #withToken(
    tenant: Tenant,
    caller: Caller,
    request: CheckRequest,
    { token, proof }: { readonly token: string; readonly proof: Proof | undefined },
    now: number,
    how: How = {},
    changed: (tenant: Tenant) => Tenant = (same) => same,
  ): Pending | Promise<Pending> {
    const refused = (error: unknown): Pending => {
      if (!(error instanceof ServiceError) || !/^(?:token|dpop|certificate)_/.test(error.code)) throw error;
      const parts = this.#options.recorder.shares(tenant) ? how.shared : undefined;
      const grant = error instanceof GrantRefused ? error.grant : undefined;
      return this.#refused(tenant, caller, soundQuestion(request, grant, parts), now, error);
    };
    let principal: TokenPrincipal | Promise<TokenPrincipal>;
    try {
      principal = this.#options.resolveToken(tenant, token, now, proof);
    } catch (error) {
      return refused(error);
    }
    if (!(principal instanceof Promise)) return this.#decided(tenant, caller, request, now, principal, how);
    return principal.then((found) => {
      const after = changed(this.#after(tenant));
      if (isTrusted(tenant, after, found)) return this.#decided(after, caller, request, now, found, how);
      return refused(new ServiceError('token_invalid', 'the tenant trusts the issuer of the token no more'));
    }, refused);
  }

  /** The tenant once something was waited for: what it seals, counts and trusts may be something else by then. */
  #after(before: Tenant): Tenant {
    const now = this.#options.current(before);
    if (!now) throw new ServiceError('tenant_unknown', 'the tenant is served no more');
    return now;
  }

  #decided(
    tenant: Tenant,
    caller: Caller,
    request: CheckRequest,
    now: number,
    principal: TokenPrincipal,
    how: How = {},
  ): Pending | Promise<Pending> {
    const { approval } = request;
    if (approval === undefined) return this.#evaluate(tenant, caller, request, now, principal, how);
    return this.#withApproval(tenant, caller, request, now, principal, approval);
  }

  /** See `decidedWith`. */
  #withApproval(
    tenant: Tenant,
    caller: Caller,
    request: CheckRequest,
    now: number,
    principal: TokenPrincipal,
    id: string,
  ): Promise<Pending> {
    const { approvals, writer } = this.#options;
    const ask = (bound: readonly string[]) => decisionQuestion(request, principal, bound);
    return decidedWith<Pending>({
      present: () => approvals.present(tenant, caller, id, ask, now),
      judge: (presented) => this.#evaluate(tenant, caller, request, now, principal, { presented }),
      use: async (use, { row: unused, taken }) => {
        const row = taken ? await taken.made(unused) : await unused;
        const used = writer.run('useApproval', { tenantNo: tenant.no, use, counts: taken?.command }, row);
        const { value, index } = await (taken?.by(used) ?? used);
        return value && index;
      },
    });
  }

  #answer(tenant: Tenant, { decided, decisionId, version }: Said, recordIndex: number): Answer {
    if (decisionChannel.hasSubscribers)
      decisionChannel.publish({ tenant: tenant.id, outcome: decided.outcome, cost: decided.cost });
    return { ...decided, decisionId, recordIndex, stateVersion: version };
  }

  /** The decision itself, for a principal that is known. Synchronous: nothing changes between facts and answer. */
  #evaluate(
    tenant: Tenant,
    caller: Caller,
    request: CheckRequest,
    now: number,
    principal: TokenPrincipal,
    how: How = {},
  ): Pending {
    const judged = this.#judge.of(tenant, caller, request, now, principal, how);
    const { decided, decisionId, version, draft, counts } = judged;
    const row = this.#options.recorder.row(tenant, draft);
    return { decided, decisionId, version, row, taken: counts?.take() };
  }

  /**
   * What would be answered, and recorded by whoever asks for it otherwise than as a decision. Rejects as `check` does, and
   * with what the resolver of tokens throws.
   */
  async weigh(tenant: Tenant, caller: Caller, unchecked: UncheckedRequest): Promise<Weighed> {
    const request = checkRequest(unchecked, tenant.manifest);
    const { principal: by } = request;
    const now = this.#options.clock();
    const principal =
      'stated' in by
        ? asStated(by.stated)
        : await this.#options.resolveToken(tenant, by.token, now, by.proof);
    const after = this.#after(tenant);
    if (!isTrusted(tenant, after, principal))
      throw new ServiceError('token_invalid', 'the tenant trusts the issuer of the token no more');
    const { decided } = this.#judge.of(after, caller, request, now, principal, { purpose: 'search' });
    return { tenant: after, request, principal, decided };
  }

  /** What cannot be put to the policy is a deny with the reason, recorded with as much of the question as is sound. */
  #refused(tenant: Tenant, caller: Caller, asked: Question, now: number, error: ServiceError): Pending {
    const decisionId = uuidv7(now, this.#options.random(10)) as DecisionId;
    const { revision } = this.#options.policyOf(tenant);
    const decided: Decided = { ...refusal(error.code, error.message), revision, cost: 0 };
    const version = this.#options.versionOf(tenant.no);
    const head = { tenantNo: tenant.no, time: now, decisionId, caller: caller.id, version };
    const row = this.#options.recorder.row(tenant, decisionDraft(head, decided, asked));
    return { decided, decisionId, version, row };
  }
}

/** An approval is used with the one record of the one decision that it is for. */
const ONE_BY_ONE = new ServiceError('invalid_request', 'an approval is presented with one evaluation alone');

/** All their results, once each has come to an end: what is not waited for would fail unheard. */
async function allSettled<Result>(promises: readonly Promise<Result>[]): Promise<Result[]> {
  await Promise.allSettled(promises);
  return Promise.all(promises);
}
