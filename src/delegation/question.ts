import type { Named } from '../audit/record.ts';
import type { HeldApproval } from '../decision/approval/presented.ts';
import { type BuiltInput, buildInput } from '../decision/input.ts';
import type { GrantRow } from '../storage/rows.ts';
import type { FactSource } from '../tenancy/facts.ts';
import type { Tenant } from '../tenancy/tenants.ts';
import { actionName, type ExchangeAsked } from './asked.ts';
import type { Attempt } from './attempt.ts';
import { type Transaction, transactionMembers } from './transactions/asked.ts';

export function actionOf(asked: ExchangeAsked, { task }: GrantRow, now: number, transaction?: Transaction) {
  const { scopes } = asked;
  // As it would be granted, and not as it was asked for.
  const seconds = task && Math.ceil((task.endsAt - now) / 1_000);
  const budget = task?.budget && { budget: task.budget };
  const opened = asked.task && task && { purpose: task.purpose, lifetime_seconds: seconds, ...budget };
  const said = transaction && { transaction: transactionMembers(transaction) };
  return { name: actionName(asked), properties: { scopes, ...(opened && { task: opened }), ...said } };
}

const resourceOf = (
  { audiences }: Tenant,
  { authority }: ExchangeAsked,
  { audience, moreAudiences }: GrantRow,
) =>
  authority === undefined
    ? { type: 'audience', id: audience, properties: { ...audiences.get(audience) } }
    : { type: 'authority', id: audience, properties: { resources: moreAudiences } };

/** What the record of it is found by. */
export const namedIn = (asked: ExchangeAsked, { audience, actors }: GrantRow): Named => ({
  action: actionName(asked),
  resource: { type: asked.authority === undefined ? 'audience' : 'authority', id: audience },
  actors,
});

/** What the package `delegation` is asked: may this be granted? */
export function questionOf(
  { tenant, asked, now, transaction }: Attempt,
  proposed: GrantRow,
  facts: FactSource,
  approval: HeldApproval | undefined,
): BuiltInput {
  return buildInput({
    now,
    tenant: tenant.id,
    subject: facts.of(tenant, proposed.subject),
    stated: undefined,
    actors: proposed.actors.map((each) => facts.of(tenant, each)),
    action: actionOf(asked, proposed, now, transaction),
    resource: resourceOf(tenant, asked, proposed),
    context: undefined,
    authentication: proposed.authentication,
    grant: proposed,
    approval,
  });
}
