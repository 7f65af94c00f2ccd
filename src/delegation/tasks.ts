import { ServiceError } from '../errors.ts';
import type { GrantId } from '../ids.ts';
import type { Budget, GrantRow } from '../storage/rows.ts';
import type { Tenant } from '../tenancy/tenants.ts';
import { budgetOf } from './budgets.ts';
import type { SubjectToken } from './presented.ts';

/** By which a task is presented to be renewed: its id in the place of a token. Only the agent that opened it may. */
export const TASK_TYPE = 'urn:mandate:params:oauth:token-type:task';

/** What an exchange asks to be opened. */
export interface TaskAsked {
  /** For people: why all this is done. */
  readonly purpose: string;
  /** 0: as long as the tenant allows. */
  readonly lifetimeSeconds: number;
  /** Unchecked. */
  readonly budget: Budget;
}

const MAX_PURPOSE = 256;

/**
 * The task that is opened: its root, one human at its end. Whole seconds, as tokens count them. Throws `invalid_request`,
 * or `exchange_denied` where there may be none.
 */
export function taskOf(
  tenant: Tenant,
  { purpose, lifetimeSeconds, budget: askedBudget }: TaskAsked,
  { parent, asserted }: Pick<SubjectToken, 'parent' | 'asserted'>,
  now: number,
  id: GrantId,
): NonNullable<GrantRow['task']> {
  const { max_hours: hours } = tenant.manifest.tasks;
  if (purpose === '' || purpose.length > MAX_PURPOSE)
    throw new ServiceError('invalid_request', `the purpose of a task is 1 to ${MAX_PURPOSE} characters`);
  if (hours === 0) throw new ServiceError('exchange_denied', 'the tenant allows no tasks (tasks.max_hours)');
  if (parent)
    throw new ServiceError(
      'exchange_denied',
      "a task is opened with the user's own token, not with a delegated one",
    );
  const most = Math.round(hours * 3_600);
  if (lifetimeSeconds > most)
    throw new ServiceError('exchange_denied', `a task of this tenant lasts ${most} seconds at most`);
  const endsAt = Math.floor(now / 1_000) * 1_000 + (lifetimeSeconds || most) * 1_000;
  const budget = budgetOf(tenant, askedBudget);
  return {
    id,
    purpose,
    endsAt: Math.min(endsAt, asserted?.sessionEnds ?? Number.POSITIVE_INFINITY),
    ...(budget && { budget }),
  };
}

/**
 * The node of the tree that the first token stands below, and all that come after it: what was granted, for the whole
 * task. It has no token of its own.
 */
export const nodeOf = (task: NonNullable<GrantRow['task']>, granted: GrantRow): GrantRow => ({
  ...granted,
  id: task.id,
  task,
  expiresAt: task.endsAt,
});
