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

/** Somebody by name: a principal, or an operator, who is none. */
export interface NamedRef {
  readonly class: string;
  readonly id: string;
}

/** What a server is called. */
export const nodePattern = /^[a-z0-9][a-z0-9-]{0,62}$/;

const tenantPattern = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;

export const isTenantId = (text: string): text is TenantId => tenantPattern.test(text);

/** Throws `tenant_unknown`: a malformed id names no tenant, and an oracle for which ids exist is not needed. */
export function tenantId(text: string): TenantId {
  if (!isTenantId(text)) throw new ServiceError('tenant_unknown', 'no such tenant');
  return text;
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

/** Whether both are there and are one: the same class and id. */
export const isSame = (one: PrincipalRef | undefined, other: PrincipalRef | undefined): boolean =>
  one !== undefined && other !== undefined && one.class === other.class && one.id === other.id;

/** Who a caller is by its id, which begins with its class; undefined where it is nobody's name. */
export function namedIn(callerId: string): NamedRef | undefined {
  const colon = callerId.indexOf(':');
  return colon < 1 ? undefined : { class: callerId.slice(0, colon), id: callerId.slice(colon + 1) };
}

/** A UUIDv7 (RFC 9562 section 5.7): sorts by time, unique without coordination. Takes ten random bytes. */
export function uuidv7(nowMs: number, random: Uint8Array): string {
  const hex = (at: number): string | undefined => HEX[random[at] ?? 0];
  const version = HEX[((random[0] ?? 0) & 0x0f) | 0x70];
  const variant = HEX[((random[2] ?? 0) & 0x3f) | 0x80];
  return `${timePart(nowMs)}${version}${hex(1)}-${variant}${hex(3)}-${hex(4)}${hex(5)}${hex(6)}${hex(7)}${hex(8)}${hex(9)}`;
}

/** When an id that `uuidv7` made was made, in milliseconds since the epoch. */
export const timeIn = (id: string): number => Number.parseInt(id.slice(0, 8) + id.slice(9, 13), 16);

/** Hundreds are made in one millisecond, and this takes longer than the rest. */
function timePart(nowMs: number): string {
  if (nowMs === partOf) return part;
  const time = nowMs.toString(16).padStart(12, '0');
  [partOf, part] = [nowMs, `${time.slice(0, 8)}-${time.slice(8)}-`];
  return part;
}
let [partOf, part] = [Number.NaN, ''];

const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'));
