import type { Clock, Random } from '../../effects.ts';
import { ServiceError } from '../../errors.ts';
import { type GrantId, type PrincipalRef, principalKey } from '../../ids.ts';
import { MOST_PENDING, MOST_PENDING_EACH } from '../../storage/approvals/commands.ts';
import type { ApprovalKey, ApprovalRow, NewApproval } from '../../storage/approvals/rows.ts';
import type { ApprovalStore } from '../../storage/approvals/store.ts';
import type { Writer } from '../../storage/writer.ts';
import type { Caller } from '../../tenancy/callers.ts';
import type { Tenant } from '../../tenancy/tenants.ts';
import type { Callback } from './callback.ts';
import { MAX_APPROVAL_ID, type Presented, presentedTo } from './presented.ts';
import { digestOf, type Question, shownQuestion } from './question.ts';
import { approvalRecord, standing } from './records.ts';
import { keptAccess, type RequestedAccess, shownAccess } from './requested.ts';
import type { Terms } from './terms.ts';

export interface ApprovalRequestsOptions {
  readonly store: ApprovalStore;
  readonly writer: Writer;
  readonly clock: Clock;
  readonly random: Random;
  /** Hears of each that was decided, after the commit. */
  readonly settled: (tenant: Tenant, row: ApprovalRow) => void;
}

/** What is asked to be approved, and by whom. */
export interface Opening {
  readonly question: Question;
  readonly terms: Terms;
  /** Of the denial. */
  readonly decisionId: string;
  /** Behind the token that was presented. */
  readonly grantId: GrantId | undefined;
  /** Of the token that all began with; empty for none. */
  readonly issuer: string;
  /** The requester's words. */
  readonly reason: string;
  readonly callback?: Callback | undefined;
  readonly requested?: RequestedAccess | undefined;
  readonly key?: ApprovalKey | undefined;
}

/** Of an id: not to be guessed (profile, section 5.2). */
const ID_BYTES = 20;
const MAX_REASON = 1_024;

/** Requests for approval, for whoever asked: opened, looked at, given up, and presented with what was asked. */
export class ApprovalRequests {
  readonly #options: ApprovalRequestsOptions;

  constructor(options: ApprovalRequestsOptions) {
    this.#options = options;
  }

  /**
   * The request that the caller has sent by the same key. Throws `duplicate_request` where it sent something else with it.
   */
  known(tenant: Tenant, key: ApprovalKey | undefined): ApprovalRow | undefined {
    const known = key && this.#options.store.byKey(tenant.no, key.name);
    if (!known) return undefined;
    if (Buffer.compare(known.body, key.body) === 0) return known.row;
    throw new ServiceError('duplicate_request', 'the Idempotency-Key came before, with something else');
  }

  /**
   * Opens a request, or answers the one that goes on for the very same question of the caller's. Resolves once it is
   * durable. Throws `invalid_request`, `resource_exhausted`, `duplicate_request`, and `not_requestable` where somebody with a part in it is not
   * active, or what it is asked under has ended.
   */
  async open(tenant: Tenant, caller: Caller, opening: Opening): Promise<ApprovalRow> {
    const { store, writer, clock, random } = this.#options;
    const { question, terms, decisionId, grantId = null, issuer, reason, callback, key } = opening;
    const requested = keptAccess(opening.requested);
    if (reason.length > MAX_REASON)
      throw new ServiceError('invalid_request', `a reason is at most ${MAX_REASON} characters`);
    const openedAt = clock();
    if (opening.requested?.until !== undefined && opening.requested.until <= openedAt)
      throw new ServiceError(
        'invalid_request',
        'requested_access.requested_until is over: name a time to come',
      );
    const digest = digestOf(tenant.id, caller.id, question);
    const goesOn = store.open(tenant.no, digest, caller.id, openedAt);
    if (goesOn) return await this.#joined(tenant, goesOn, requested, key);
    const requester = question.actors[0] ?? question.subject;
    const approval: NewApproval = {
      id: Buffer.from(random(ID_BYTES)).toString('hex'),
      digest,
      caller: caller.id,
      requester,
      parties: partiesOf(question, caller),
      grantId,
      issuer,
      question: shownQuestion(tenant, question),
      uses: terms.uses,
      validMs: terms.validMs,
      reason,
      template: terms.template,
      requested,
      decisionId,
      callback: callback ? JSON.stringify(callback) : null,
      openedAt,
      expiresAt: Math.min(openedAt + terms.waitsMs, opening.requested?.until ?? Number.POSITIVE_INFINITY),
    };
    const after = {
      state: 'pending',
      expires_at: new Date(approval.expiresAt).toISOString(),
      uses_left: terms.uses,
      valid_for: terms.validMs / 1_000,
      reason,
      ...shownAccess(requested),
    };
    const record = this.#record(tenant, caller, 'request', approval, undefined, after);
    await writer.run('openApproval', { tenantNo: tenant.no, approval, key }, record);
    const opened = store.find(tenant.no, approval.id) ?? this.known(tenant, key);
    if (opened) return opened;
    const other = store.open(tenant.no, digest, caller.id, openedAt);
    if (other) return await this.#joined(tenant, other, requested, key);
    const { ofTenant, ofRequester } = store.pending(tenant.no, requester, openedAt);
    if (ofTenant < MOST_PENDING && ofRequester < MOST_PENDING_EACH) throw NOT_NOW;
    throw new ServiceError('resource_exhausted', 'too many requests wait to be decided', {
      retryAfterMs: 60_000,
    });
  }

  /** Throws `not_found`, also for somebody else's. */
  async show(tenant: Tenant, caller: Caller, id: string): Promise<ApprovalRow> {
    const { store } = this.#options;
    const row = id.length <= MAX_APPROVAL_ID ? store.find(tenant.no, id) : undefined;
    if (!row || row.caller !== caller.id) throw new ServiceError('not_found', 'no such request of yours');
    return (await this.lapsed(tenant, caller, row)) ? { ...row, state: 'expired' } : row;
  }

  /** Throws `not_found`, and `approval_settled` for one that is not pending. */
  async cancel(tenant: Tenant, caller: Caller, id: string, note: string): Promise<ApprovalRow> {
    const { store, writer, clock } = this.#options;
    if (note.length > MAX_REASON)
      throw new ServiceError('invalid_request', `a comment is at most ${MAX_REASON} characters`);
    const row = await this.show(tenant, caller, id);
    const after = { ...standing(row), state: 'cancelled', note };
    const record = this.#record(tenant, caller, 'cancel', row, standing(row), after);
    const args = { tenantNo: tenant.no, id, to: 'cancelled', approver: null, note, at: clock() } as const;
    const { value } = await writer.run('settleApproval', args, record);
    const now = store.find(tenant.no, id);
    if (value && now) {
      this.#options.settled(tenant, now);
      return now;
    }
    throw new ServiceError('approval_settled', `the request is ${now?.state ?? 'gone'}, and not pending`);
  }

  /** Looks at an approval that is presented with a question; one whose time is over is noted. */
  async present(
    tenant: Tenant,
    caller: Caller,
    id: string,
    ask: (bound: readonly string[]) => Question,
    now: number,
  ): Promise<Presented> {
    const presented = presentedTo(this.#options.store, tenant, caller, id, ask, now);
    if ('lapsed' in presented && presented.lapsed) await this.lapsed(tenant, caller, presented.lapsed);
    return presented;
  }

  /** One that goes on for the very same question, known by this key as well from now on. */
  async #joined(
    { no: tenantNo }: Tenant,
    row: ApprovalRow,
    requested: string | null,
    key: ApprovalKey | undefined,
  ): Promise<ApprovalRow> {
    if (row.requested !== requested)
      throw new ServiceError(
        'duplicate_request',
        'the same is asked for already, with another requested_access: give that up first, or wait for it',
      );
    if (key) await this.#options.writer.run('keepApprovalKey', { tenantNo, id: row.id, key });
    return row;
  }

  /** Notes that the time of one is over, if it is; answers whether it is. Recorded once, by whoever comes upon it first. */
  async lapsed(tenant: Tenant, caller: Pick<Caller, 'id'>, row: ApprovalRow): Promise<boolean> {
    const { writer, clock } = this.#options;
    const at = clock();
    if (!isOver(row, at)) return row.state === 'expired';
    const after = { ...standing(row), state: 'expired' };
    const record = this.#record(tenant, caller, 'expire', row, standing(row), after);
    const args = { tenantNo: tenant.no, id: row.id, at };
    const { value } = await writer.run('expireApproval', args, record);
    if (value) this.#options.settled(tenant, { ...row, state: 'expired' });
    return true;
  }

  #record(
    tenant: Tenant,
    { id }: Pick<Caller, 'id'>,
    event: 'request' | 'cancel' | 'expire',
    approval: ApprovalRow | NewApproval,
    before: object | undefined,
    after: object,
  ) {
    return approvalRecord(tenant, { event, caller: id, approval, before, after }, this.#options);
  }
}

/** Whether the time of one is over, and that is not noted yet. */
export const isOver = ({ state, expiresAt, approvedUntil }: ApprovalRow, now: number): boolean =>
  (state === 'pending' && expiresAt <= now) || (state === 'approved' && (approvedUntil ?? 0) <= now);

const NOT_NOW = new ServiceError(
  'not_requestable',
  'what is asked under has ended, or somebody is not active',
);

/** Whoever has a part in it, each once. */
function partiesOf({ subject, actors }: Question, { principal }: Caller): PrincipalRef[] {
  const all = [subject, ...actors, ...(principal ? [principal] : [])];
  const plain = all.map(({ class: cls, id }) => ({ class: cls, id }));
  return [...new Map(plain.map((each) => [principalKey(each), each])).values()];
}
