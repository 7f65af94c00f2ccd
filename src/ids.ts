import { ServiceError } from './errors.ts';

declare const brand: unique symbol;
type Brand<T, Name extends string> = T & { readonly [brand]: Name };

/** A tenant's id: 1 to 63 of `a-z 0-9 -`, so that it fits a path segment and a host label. */
export type TenantId = Brand<string, 'TenantId'>;

/** A grant's id, a UUIDv7; also the `jti` of its token. */
export type GrantId = Brand<string, 'GrantId'>;

/** A decision's id, a UUIDv7. */
export type DecisionId = Brand<string, 'DecisionId'>;

export const principalClasses = ['user', 'agent', 'mcp_server', 'service', 'job'] as const;
export type PrincipalClass = (typeof principalClasses)[number];

/** A principal without its facts. Class and id together name it; an id alone names nobody. */
export interface PrincipalRef {
  readonly class: PrincipalClass;
  readonly id: string;
}

const tenantPattern = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;

/** Throws `tenant_unknown`: a malformed id names no tenant, and an oracle for which ids exist is not needed. */
export function tenantId(text: string): TenantId {
  if (!tenantPattern.test(text)) throw new ServiceError('tenant_unknown', 'no such tenant');
  return text as TenantId;
}

/** Throws `principal_class_unknown`. */
export function principalClass(text: string): PrincipalClass {
  const found = principalClasses.find((known) => known === text);
  if (!found)
    throw new ServiceError(
      'principal_class_unknown',
      `unknown principal class ${JSON.stringify(text.slice(0, 32))}; use one of ${principalClasses.join(', ')}`,
    );
  return found;
}

/** `class:id`, the form of principals in logs, tables and `sub` of nothing: it is for people and indexes. */
export const principalKey = (ref: PrincipalRef): string => `${ref.class}:${ref.id}`;

/** A UUIDv7 (RFC 9562 section 5.7): sorts by time, unique without coordination. */
export function uuidv7(nowMs: number, random: Uint8Array): string {
  const hex = nowMs.toString(16).padStart(12, '0');
  const tail = Buffer.from(random.buffer, random.byteOffset, 10);
  tail[0] = ((tail[0] ?? 0) & 0x0f) | 0x70;
  tail[2] = ((tail[2] ?? 0) & 0x3f) | 0x80;
  const rest = tail.toString('hex');
  return `${hex.slice(0, 8)}-${hex.slice(8)}-${rest.slice(0, 4)}-${rest.slice(4, 8)}-${rest.slice(8)}`;
}
