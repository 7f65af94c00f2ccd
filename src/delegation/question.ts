import { type BuiltInput, buildInput } from '../decision/input.ts';
import type { GrantRow } from '../storage/rows.ts';
import type { FactSource } from '../tenancy/facts.ts';
import { actionName, type ExchangeAsked } from './asked.ts';
import type { Attempt } from './attempt.ts';

function actionOf(asked: ExchangeAsked) {
  const { task, scopes } = asked;
  const opened = task && { purpose: task.purpose, lifetime_seconds: task.lifetimeSeconds };
  return { name: actionName(asked), properties: { scopes, ...(opened && { task: opened }) } };
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
