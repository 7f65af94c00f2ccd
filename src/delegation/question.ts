import { type BuiltInput, buildInput } from '../decision/input.ts';
import type { GrantRow } from '../storage/rows.ts';
import type { FactSource } from '../tenancy/facts.ts';
import type { ExchangeAsked } from './asked.ts';
import type { Attempt } from './attempt.ts';
import { TASK_TYPE } from './tasks.ts';

/** What is done, as policies and records have it. */
export function actionOf({ task, subjectTokenType, scopes }: ExchangeAsked) {
  if (task) {
    const { purpose, lifetimeSeconds: lifetime_seconds } = task;
    return { name: 'task.open', properties: { scopes, task: { purpose, lifetime_seconds } } };
  }
  const name = subjectTokenType === TASK_TYPE ? 'task.renew' : 'token.exchange';
  return { name, properties: { scopes } };
}

/** What the package `delegation` is asked: may this be granted? */
export function questionOf(
  { tenant, asked, now }: Attempt,
  proposed: GrantRow,
  facts: FactSource,
): BuiltInput {
  return buildInput({
    now,
    tenant: tenant.id,
    subject: facts.of(tenant, proposed.subject),
    stated: undefined,
    actors: proposed.actors.map((each) => facts.of(tenant, each)),
    action: actionOf(asked),
    resource: {
      type: 'audience',
      id: proposed.audience,
      properties: { ...tenant.audiences.get(proposed.audience) },
    },
    context: undefined,
    authentication: proposed.authentication,
    grant: proposed,
  });
}
