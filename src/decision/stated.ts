import { ServiceError } from '../errors.ts';
import { type PrincipalClass, type PrincipalRef, principalClass, principalClasses } from '../ids.ts';
import { storedJson } from '../storage/faults.ts';
import { type FactSource, Facts } from '../tenancy/facts.ts';
import type { Manifest } from '../tenancy/manifest.ts';
import type { Tenant } from '../tenancy/tenants.ts';
import type { CheckRequest, JsonObject } from './request.ts';

/** What a tenant's manifest says of subjects that callers state. */
export type StatedBy = Pick<Manifest, 'subject_types' | 'stated_principals'>;

/** What a caller says of a subject, where the tenant takes its word. */
export interface Claims {
  readonly groups: readonly string[];
  readonly roles: readonly string[];
  /** Without them. */
  readonly properties: JsonObject;
}

const MAX_NAMES = 1_000;
const MAX_NAME = 256;
const NONE: readonly string[] = [];

/** The class that a type of subjects stands for. Throws `principal_class_unknown`. */
export const classOf = (type: string, { subject_types: types }: StatedBy): PrincipalClass =>
  principalClass(Object.hasOwn(types, type) ? (types[type] ?? type) : type);

/**
 * Groups and roles are members of the stated properties. Undefined where the directory alone tells who somebody is. Throws
 * `invalid_request` for those that the tenant takes from nobody: to leave one out might allow more.
 */
export function claimsIn(
  cls: PrincipalClass,
  properties: JsonObject | undefined,
  { stated_principals: taken }: StatedBy,
): Claims | undefined {
  if (!taken?.classes.includes(cls)) return undefined;
  const { groups, roles, ...rest } = properties ?? {};
  return {
    groups: namesIn('groups', groups, taken.groups),
    roles: namesIn('roles', roles, taken.roles),
    properties: rest,
  };
}

function namesIn(member: string, value: unknown, taken: 'any' | readonly string[]): readonly string[] {
  if (value === undefined) return NONE;
  const isList = Array.isArray(value) && value.length <= MAX_NAMES && value.every(isName);
  if (!isList)
    throw new ServiceError(
      'invalid_request',
      `subject.properties.${member} is a list of at most ${MAX_NAMES} names`,
    );
  const names = value as readonly string[];
  const other = taken === 'any' ? undefined : names.find((each) => !taken.includes(each));
  if (other !== undefined)
    throw new ServiceError(
      'invalid_request',
      `subject.properties.${member}: this tenant takes ${JSON.stringify(other.slice(0, 64))} from nobody (stated_principals.${member})`,
    );
  return names;
}

const isName = (value: unknown): boolean =>
  typeof value === 'string' && value !== '' && value.length <= MAX_NAME;

/** What is known of a subject, and what is stated of it beside. */
export interface Known {
  readonly subject: Facts;
  readonly stated: JsonObject | undefined;
}

/**
 * The directory's facts, and with them what the caller states where the tenant takes its word: it adds to what the directory
 * says, and makes nobody active whom that has disabled. One whom the directory knows in another class stays unknown.
 */
export function subjectKnown(
  facts: FactSource,
  tenant: Tenant,
  { principal }: Pick<CheckRequest, 'principal'>,
  subject: PrincipalRef,
): Known {
  const found = facts.of(tenant, subject);
  if (!('stated' in principal)) return { subject: found, stated: undefined };
  const { claims, properties } = principal;
  if (!claims) return { subject: found, stated: properties };
  const isTaken = found.status === 'unknown' && hasNamesake(facts, tenant, subject);
  if (isTaken) return { subject: found, stated: claims.properties };
  const status = found.status === 'unknown' ? 'active' : found.status;
  return { subject: new Facts(subject, status, membersWith(found, claims)), stated: claims.properties };
}

const hasNamesake = (facts: FactSource, tenant: Tenant, { class: own, id }: PrincipalRef): boolean =>
  principalClasses.some((cls) => cls !== own && facts.of(tenant, { class: cls, id }).status !== 'unknown');

function membersWith({ members }: Facts, { groups, roles }: Claims): string {
  const known = storedJson(`{${members}}`) as JsonObject & { groups: string[]; roles: string[] };
  const whole = { ...known, groups: union(known.groups, groups), roles: union(known.roles, roles) };
  return JSON.stringify(whole).slice(1, -1);
}

const union = (own: readonly string[], stated: readonly string[]): string[] => [
  ...new Set([...own, ...stated]),
];
