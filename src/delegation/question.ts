import { type BuiltInput, buildInput } from '../decision/input.ts';
import type { GrantRow } from '../storage/rows.ts';
import type { FactSource } from '../tenancy/facts.ts';
import type { Attempt } from './attempt.ts';

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
    action: { name: 'token.exchange', properties: { scopes: asked.scopes } },
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
