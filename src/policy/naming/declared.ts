import { principalClasses } from '../../ids.ts';
import type { Manifest } from '../../tenancy/manifest.ts';

/** What a constant in Rego can be the name of. */
export const kinds = ['action', 'type', 'role', 'group', 'scope', 'principal', 'class'] as const;
export type Kind = (typeof kinds)[number];

/** By kind, the names that the tenant has. */
export type Declared = Readonly<Record<Kind, ReadonlySet<string>>>;

/** What exchanges, tasks and assertions are called; see `delegation/asked.ts`. */
export const PLATFORM_ACTIONS = [
  'token.exchange',
  'token.issue',
  'task.open',
  'task.join',
  'task.renew',
  'task.cap',
  'assertion.issue',
  'assertion.accept',
  'transaction.issue',
  'transaction.replace',
];

export function declaredIn(manifest: Manifest): Declared {
  const { roles, actions, principals, resources } = manifest;
  const scopes = new Set<string>(Object.keys(actions));
  for (const { scope } of Object.values(actions)) if (scope !== undefined) scopes.add(scope);
  for (const holder of [...Object.values(roles), ...principals])
    for (const scope of holder.scopes) scopes.add(scope);
  for (const { ceiling } of principals) for (const scope of ceiling?.scopes ?? []) scopes.add(scope);
  return {
    action: new Set([...Object.keys(actions), ...PLATFORM_ACTIONS]),
    type: new Set(resources.map(({ type }) => type)),
    role: new Set([...Object.keys(roles), ...principals.flatMap((each) => each.roles)]),
    group: new Set(principals.flatMap((each) => each.groups)),
    scope: scopes,
    principal: new Set(principals.map(({ id }) => id)),
    class: new Set(principalClasses),
  };
}
