import { inMillionths } from '../decision/metering/amount.ts';
import { isBudgeted } from '../decision/metering/budget.ts';
import { ServiceError } from '../errors.ts';
import type { Budget, TaskPart } from '../storage/rows.ts';
import type { Tenant } from '../tenancy/tenants.ts';

/**
 * How much a task may be used for, by meters of the tenant's that count for each task: checked, undefined where nothing is
 * said. Throws `invalid_request`.
 */
export function budgetOf({ manifest: { meters } }: Tenant, asked: Budget): Budget | undefined {
  const all = Object.entries(asked);
  for (const [name, most] of all) {
    if (!isBudgeted(meters, name))
      throw new ServiceError(
        'invalid_request',
        `budget: the tenant has no meter ${name.slice(0, 64)} that counts per task, without a window`,
      );
    if (inMillionths(most) === undefined)
      throw new ServiceError(
        'invalid_request',
        `budget: ${name} is a number, 0 or more, of at most six decimals`,
      );
  }
  return all.length === 0 ? undefined : Object.fromEntries(all);
}

/** What nobody counts any more is no bound: such a task goes no further. Throws `exchange_denied`. */
export function checkBudget({ manifest: { meters } }: Tenant, task: TaskPart | null | undefined): void {
  const lost = Object.keys(task?.budget ?? {}).find((name) => !isBudgeted(meters, name));
  if (lost !== undefined)
    throw new ServiceError('exchange_denied', `the tenant does not count ${lost} per task any more`);
}
