import type { Clock, Random } from '../../effects.ts';
import { ServiceError } from '../../errors.ts';
import { type PrincipalRef, uuidv7 } from '../../ids.ts';
import type { ApprovalRow } from '../../storage/approvals/rows.ts';
import type { ApprovalPlace, ApprovalStore } from '../../storage/approvals/store.ts';
import { storedJson } from '../../storage/faults.ts';
import type { Writer } from '../../storage/writer.ts';
import type { Caller } from '../../tenancy/callers.ts';
import type { FactSource } from '../../tenancy/facts.ts';
import type { Issuers } from '../../tenancy/issuers.ts';
import type { Kills } from '../../tenancy/kills.ts';
import { checkLasting } from '../../tenancy/lasting.ts';
import type { Tenant } from '../../tenancy/tenants.ts';
import { type Reason, refusal, TENANT_KILLED } from '../../verdict.ts';
import type { Admission } from '../admission.ts';
import { type Decided, decide, type Policy } from '../decide.ts';
import { membersOf } from '../input.ts';
import type { JsonObject } from '../request.ts';
import { type Approver, approverOf } from './approver.ts';
import { type AskedOfApproval, askedOf } from './asked.ts';
import { MAX_APPROVAL_ID } from './presented.ts';
import type { Question } from './question.ts';
import { approvalRecord, standing } from './records.ts';
import { type RequestedAccess, shownAccess } from './requested.ts';
import { type ApprovalRequests, isOver } from './requests.ts';
import { conflictOf } from './separation.ts';

export interface ApproversOptions {
  readonly store: ApprovalStore;
  readonly requests: Pick<ApprovalRequests, 'lapsed'>;
  readonly issuers: Issuers;
  readonly facts: FactSource;
  readonly kills: Pick<Kills, 'isKilled'>;
  readonly policyOf: (tenant: Tenant) => Policy;
  /** The tenant as it is now; undefined where it is served no more. */
  readonly current: (tenant: Tenant) => Tenant | undefined;
  readonly admission: Pick<Admission, 'enter' | 'leave' | 'spent'>;
  readonly writer: Writer;
  readonly clock: Clock;
  readonly random: Random;
  /** Hears of each that was decided, after the commit. */
  readonly settled: (tenant: Tenant, row: ApprovalRow) => void;
}

export type Ruling = 'approve' | 'reject';

export interface ApprovalsAsked {
  readonly includesSettled: boolean;
  readonly pageSize: number;
  readonly pageToken: string;
}

const MAX_PAGE = 100;
const MAX_NOTE = 1_024;

/** Requests for approval, for whoever decides them. Who that is, the tenant's package `approval` says. */
export class Approvers {
  readonly #options: ApproversOptions;

  constructor(options: ApproversOptions) {
    this.#options = options;
  }

  /** The newest first. Throws `invalid_request`. */
  list(
    tenant: Tenant,
    { includesSettled, pageSize, pageToken }: ApprovalsAsked,
  ): { approvals: ApprovalRow[]; nextPageToken: string } {
    if (pageSize < 1 || pageSize > MAX_PAGE)
      throw new ServiceError('invalid_request', `page_size is 1 to ${MAX_PAGE}`);
    const now = this.#options.clock();
    const filter = { pendingAt: includesSettled ? undefined : now };
    const found = this.#options.store.list(tenant.no, filter, placeOf(pageToken), pageSize + 1);
    const approvals = found.slice(0, pageSize).map((row) => standingAt(row, now));
    return { approvals, nextPageToken: tokenOf(found.length > pageSize ? approvals.at(-1) : undefined) };
  }

  /** Throws `not_found`. */
  async show(tenant: Tenant, caller: Caller, id: string): Promise<ApprovalRow> {
    const { store, requests } = this.#options;
    const row = id.length <= MAX_APPROVAL_ID ? store.find(tenant.no, id) : undefined;
    if (!row) throw new ServiceError('not_found', 'no such request in this tenant');
    return (await requests.lapsed(tenant, caller, row)) ? { ...row, state: 'expired' } : row;
  }

  /**
   * Approves or rejects what is pending; what was approved may be rejected after all, and is of no use then. Resolves once
   * it is durable. Throws `not_found`, `approval_settled`, `invalid_request`, what `approverOf` and `checkLasting` throw, and after it was
   * recorded `permission_denied` for whoever may not.
   */
  async settle(
    tenant: Tenant,
    caller: Caller,
    asked: { id: string; ruling: Ruling; note: string; approverToken: string },
  ): Promise<ApprovalRow> {
    const { admission, issuers } = this.#options;
    const { id, note } = asked;
    if (note.length > MAX_NOTE)
      throw new ServiceError('invalid_request', `a note is at most ${MAX_NOTE} characters`);
    const place = admission.enter(tenant, 1);
    try {
      const approver = await approverOf(issuers, tenant, caller, asked.approverToken);
      const row = await this.show(tenant, caller, id);
      const now = this.#options.current(tenant);
      checkLasting(tenant, now, caller, approver.issuer);
      return await this.#settled(now, row, approver, asked.ruling, note);
    } finally {
      admission.leave(place, 1);
    }
  }

  async #settled(
    tenant: Tenant,
    row: ApprovalRow,
    approver: Approver,
    ruling: Ruling,
    note: string,
  ): Promise<ApprovalRow> {
    const { store, writer, clock } = this.#options;
    const at = clock();
    const step = { event: ruling, caller: approver.caller, approval: row, before: standing(row) };
    const { decided, decisionId, asked } = this.#mayDecide(tenant, row, approver, at);
    const ruled = { decisionId, rules: decided.rules, asked };
    if (decided.outcome !== 'allow') {
      const { reasons, revision } = decided;
      const denied = { ...step, after: undefined, by: approver.named, reasons, revision, ruled };
      await writer.append(approvalRecord(tenant, denied, this.#options));
      throw new ServiceError('permission_denied', `you may not decide this request (${textOf(reasons)})`);
    }
    const isApproved = ruling === 'approve';
    const to = isApproved ? 'approved' : 'rejected';
    const wanted = row.requested === null ? {} : (storedJson(row.requested) as RequestedAccess);
    const until = isApproved
      ? Math.min(at + row.validMs, wanted.until ?? Number.POSITIVE_INFINITY)
      : row.expiresAt;
    const after = { ...standing(row), state: to, expires_at: new Date(until).toISOString(), note };
    const { revision } = decided;
    const allowed = { ...step, after, by: approver.named, revision, ruled };
    const record = approvalRecord(tenant, allowed, this.#options);
    const { named } = approver;
    const args = { tenantNo: tenant.no, id: row.id, to, approver: named, note, at } as const;
    const { value } = await writer.run('settleApproval', args, record);
    const now = store.find(tenant.no, row.id);
    if (value && now) {
      this.#options.settled(tenant, now);
      return now;
    }
    // What its parties or its grant have come to since keeps it from being approved, and leaves it as it was.
    const why =
      now?.state === 'pending' ? 'of no use any more: somebody or something in it has ended' : now?.state;
    throw new ServiceError('approval_settled', `the request is ${why ?? 'gone'}`);
  }

  /** Whether somebody may decide a request: by law, then by the tenant's policy. Synchronous, as every decision is. */
  #mayDecide(tenant: Tenant, row: ApprovalRow, approver: Approver, now: number): Judged {
    const { admission, facts, kills, policyOf, random } = this.#options;
    const policy = policyOf(tenant);
    const { revision } = policy;
    const decisionId = uuidv7(now, random(10));
    const denied = (code: Parameters<typeof refusal>[0], message: string): Judged => ({
      decided: { ...refusal(code, message), revision, cost: 0 },
      decisionId,
      asked: undefined,
    });
    if (kills.isKilled(tenant)) return denied('tenant_killed', TENANT_KILLED);
    const conflict = conflictOf(tenant, facts, row, approver);
    if (conflict !== undefined) return denied('permission_denied', conflict);
    if (!policy.approves)
      return denied('policy_undefined', 'the tenant has no package approval: nobody approves anything in it');
    const input = this.#inputOf(tenant, row, approver, now);
    const context = { nowMs: now, seed: decisionId };
    const decided = decide(policy, 'mandate/approval', JSON.stringify(input), context);
    admission.spent(tenant.id, decided.cost);
    return { decided, decisionId, asked: askedOf(tenant, input, policy.masks) };
  }

  /** What the package `approval` is asked: who would decide, and the request, with what is known of its people now. */
  #inputOf(
    tenant: Tenant,
    row: ApprovalRow,
    { named, principal, caller }: Approver,
    now: number,
  ): JsonObject {
    const { facts } = this.#options;
    const known = (ref: PrincipalRef): JsonObject => membersOf(facts.of(tenant, ref));
    const question = storedJson(row.question) as Question;
    return {
      now: new Date(now).toISOString(),
      tenant: { id: tenant.id },
      approver: principal ? known(principal) : operator(named.class, named.id),
      presented_by: caller,
      request: {
        id: row.id,
        kind: question.kind,
        caller: row.caller,
        reason: row.reason,
        template: row.template,
        ...shownAccess(row.requested),
        opened_at: new Date(row.openedAt).toISOString(),
        expires_at: new Date(row.expiresAt).toISOString(),
        uses: row.uses,
        valid_for: row.validMs / 1_000,
        subject: known(question.subject),
        stated: question.stated,
        actors: question.actors.map(known),
        action: question.action,
        resource: question.resource,
        context: question.context,
        grant: question.grant,
      },
    };
  }
}

/** What became of the question whether somebody may decide; nothing was asked where the policy was not. */
interface Judged {
  readonly decided: Decided;
  readonly decisionId: string;
  readonly asked: AskedOfApproval | undefined;
}

/** Whoever lists many notes of none that its time is over. */
const standingAt = (row: ApprovalRow, now: number): ApprovalRow =>
  isOver(row, now) ? { ...row, state: 'expired' } : row;

/** Operators are known by the configuration alone. */
const operator = (cls: string, id: string): JsonObject => ({
  class: cls,
  type: cls,
  id,
  properties: {},
  groups: [],
  roles: [],
  status: 'active',
});

const MAX_TEXT = 500;
const textOf = (reasons: readonly Reason[]): string =>
  reasons
    .map(({ code, message }) => (message ? `${code}: ${message}` : code))
    .join('; ')
    .slice(0, MAX_TEXT);

const tokenOf = (place: ApprovalPlace | undefined): string =>
  place ? Buffer.from(JSON.stringify([place.openedAt, place.id])).toString('base64url') : '';

const MAX_TOKEN = 256;

/** Throws `invalid_request` for what is no place, or is written otherwise than `tokenOf` does. */
function placeOf(token: string): ApprovalPlace | undefined {
  if (token === '') return undefined;
  try {
    if (token.length > MAX_TOKEN) throw new RangeError('too long');
    const [openedAt, id] = JSON.parse(Buffer.from(token, 'base64url').toString('utf8')) as unknown[];
    if (!Number.isSafeInteger(openedAt) || typeof id !== 'string') throw new TypeError('not a place');
    const place = { openedAt: openedAt as number, id };
    if (tokenOf(place) === token) return place;
    throw new TypeError('not as it was given');
  } catch (cause) {
    throw new ServiceError('invalid_request', 'page_token is not one of this list', { cause });
  }
}
