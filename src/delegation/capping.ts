import { isDeepStrictEqual } from 'node:util';
import { inTask } from '../audit/kill.ts';
import { buildRecord } from '../audit/record.ts';
import type { Admission } from '../decision/admission.ts';
import { capMembers } from '../decision/task.ts';
import type { Clock, Random } from '../effects.ts';
import { ServiceError } from '../errors.ts';
import { type GrantId, isSame, uuidv7 } from '../ids.ts';
import { capped, tighter } from '../storage/granting/cap.ts';
import type { GrantStore } from '../storage/grants.ts';
import type { Budget, GrantRow, RecordRow, TaskCap, Use } from '../storage/rows.ts';
import type { Writer } from '../storage/writer.ts';
import type { Caller } from '../tenancy/callers.ts';
import { type DetailTypes, detailProblem } from '../tenancy/details.ts';
import type { Tenant } from '../tenancy/tenants.ts';
import { admitted } from './admitted.ts';
import { budgetOf } from './budgets.ts';
import { sizeProblem } from './details.ts';

/** To what a task is to be narrowed. What says nothing leaves that as it is. */
export interface CapAsked {
  readonly taskId: string;
  /** The task ends no later than that from now. 0: says nothing. */
  readonly lifetimeSeconds: number;
  /** Empty: says nothing. */
  readonly scopes: readonly string[];
  readonly use: Use | undefined;
  /** Types and numbers of authorization details, unchecked. */
  readonly details: readonly unknown[];
  /** Unchecked. */
  readonly budget: Budget;
  readonly reason: string;
}

export interface CappingOptions {
  readonly grants: GrantStore;
  readonly admission: Pick<Admission, 'enter' | 'leave'>;
  readonly writer: Writer;
  readonly clock: Clock;
  readonly random: Random;
}

const MAX_REASON = 1_024;

/** Narrows a task that goes on, and all that came and will come of it. Nothing widens it again. */
export class Capping {
  readonly #options: CappingOptions;

  constructor(options: CappingOptions) {
    this.#options = options;
  }

  /**
   * By whoever may revoke the task. Answers what is left of it, once all who decide know. Throws `invalid_request`,
   * `invalid_scope`, `invalid_authorization_details`, `token_expired`, `token_revoked`, `resource_exhausted` for an agent
   * alone, and `not_found` also for what is not the caller's.
   */
  cap(tenant: Tenant, caller: Caller, asked: CapAsked): Promise<GrantRow> {
    const work = (): Promise<GrantRow> => this.#cap(tenant, caller, asked);
    // Operators are not kept from it by what is under way.
    return caller.principal ? admitted(this.#options.admission, tenant, work) : work();
  }

  async #cap(tenant: Tenant, caller: Caller, asked: CapAsked): Promise<GrantRow> {
    const { grants, writer, clock } = this.#options;
    const now = clock();
    if (asked.reason.length > MAX_REASON)
      throw new ServiceError('invalid_request', `a reason is at most ${MAX_REASON} characters`);
    await grants.heard?.(tenant.no, asked.taskId as GrantId);
    const task = grants.find(tenant.no, asked.taskId as GrantId);
    // An agent's part in it is narrowed with it, or revoked.
    if (!task || task.task?.id !== task.id || !mayCap(caller, task))
      throw new ServiceError('not_found', 'no such task of the caller in this tenant');
    if (task.revokedAt !== null) throw ENDED;
    if (task.expiresAt <= now) throw new ServiceError('token_expired', 'the time of the task is over');
    const cap = capOf(tenant, task, asked, now);
    const record = this.#record(tenant, caller, task, cap, asked.reason);
    // All threads read anew what they keep once something may have been taken away: not for what takes nothing.
    if (takesNothing(task.task.cap, cap)) {
      await writer.append(record);
      return task;
    }
    const { value } = await writer.run('capTask', { tenantNo: tenant.no, id: task.id, cap }, record);
    if (value === undefined) throw ENDED;
    return capped(task, value);
  }

  #record(tenant: Tenant, caller: Caller, task: GrantRow, cap: TaskCap, reason: string): RecordRow {
    return buildRecord({
      tenantNo: tenant.no,
      time: cap.at,
      kind: 'revocation',
      outcome: 'done',
      decisionId: uuidv7(cap.at, this.#options.random(10)),
      caller: caller.id,
      subject: task.subject,
      actor: task.actors[0],
      grantId: task.id,
      members: `,"grant_id":${JSON.stringify(task.id)},"detail":${JSON.stringify({ reason })}`,
      input: JSON.stringify({
        subject: task.subject,
        actors: task.actors,
        ...inTask(task),
        action: { name: 'task.cap', properties: { cap: capMembers(cap) } },
        resource: { type: 'task', id: task.id },
      }),
    });
  }
}

const ENDED = new ServiceError('token_revoked', 'the task has ended');

/** Whether a cap leaves what one before it has left. */
const takesNothing = (before: TaskCap | undefined, cap: TaskCap): boolean =>
  before !== undefined && isDeepStrictEqual({ ...tighter(before, cap), at: 0 }, { ...before, at: 0 });

/** Whoever acts in it, and operators. */
const mayCap = ({ principal }: Caller, { actors }: GrantRow): boolean =>
  principal === undefined || actors.some((actor) => isSame(actor, principal));

/** Whole seconds, as all ends of grants are. */
function capOf(tenant: Tenant, task: GrantRow, asked: CapAsked, now: number): TaskCap {
  const { lifetimeSeconds: seconds, scopes, use } = asked;
  const unknown = scopes.find((scope) => !task.scopes.includes(scope));
  // A slip of the pen would end what it was to narrow.
  if (unknown !== undefined)
    throw new ServiceError('invalid_scope', `the task has no scope ${unknown.slice(0, 256)}`);
  const details = boundsOf(tenant.manifest.authorization_details, task, asked.details);
  const budget = budgetOf(tenant, asked.budget);
  if (seconds === 0 && scopes.length === 0 && use === undefined && !details && !budget)
    throw new ServiceError(
      'invalid_request',
      'a cap says a lifetime, scopes, a use, authorization_details or a budget',
    );
  return {
    at: now,
    ...(seconds > 0 && { endsAt: Math.floor(now / 1_000) * 1_000 + seconds * 1_000 }),
    ...(scopes.length > 0 && { scopes: [...new Set(scopes)] }),
    ...(use && { use }),
    ...(details && { details }),
    ...(budget && { budget }),
  };
}

/**
 * Only numbers are lowered. To take members of a set, or a whole detail, could leave none of its type, which to a policy
 * that reads them as a bound says that there is none; and so could a type that the task has not.
 */
function boundsOf(types: DetailTypes, task: GrantRow, asked: readonly unknown[]): TaskCap['details'] {
  if (asked.length === 0) return undefined;
  const size = sizeProblem(asked);
  if (size !== undefined) throw invalid(size);
  const bounds: Record<string, Record<string, number>> = {};
  for (const [at, value] of asked.entries()) {
    const problem = detailProblem(types, value, 'bound');
    if (problem !== undefined) throw invalid(`authorization_details[${at}] ${problem}`);
    const { type, ...numbers } = value as { type: string } & Record<string, number>;
    const other = Object.keys(numbers).find((name) => types[type]?.members[name] !== 'at_most');
    if (other !== undefined)
      throw invalid(`authorization_details[${at}] ${other} is not at_most: a cap lowers numbers alone`);
    if (!task.details.some((each) => each.type === type))
      throw invalid(`authorization_details[${at}] is of a type that the task has none of: ${type}`);
    if (bounds[type] || Object.keys(numbers).length === 0)
      throw invalid(`authorization_details[${at}] says nothing, or what another says of its type`);
    bounds[type] = numbers;
  }
  // They are in every record of their use.
  const left = sizeProblem(capped(task, { at: 0, details: bounds }).details);
  if (left !== undefined) throw invalid(`with the cap: ${left}`);
  return bounds;
}

const invalid = (message: string): ServiceError => new ServiceError('invalid_authorization_details', message);
