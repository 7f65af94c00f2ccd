import { createHash } from 'node:crypto';
import { parsePointer, placeOf } from '../../audit/privacy/pointer.ts';
import { ServiceError } from '../../errors.ts';
import type { PrincipalRef, TenantId } from '../../ids.ts';
import { audiencesOf, type GrantRow } from '../../storage/rows.ts';
import type { Tenant } from '../../tenancy/tenants.ts';
import type { TokenPrincipal } from '../principal.ts';
import type { CheckRequest, JsonObject } from '../request.ts';

/** What is approved: all of what was asked that a policy may decide by, and nothing that changes by itself. */
export interface Question {
  readonly kind: 'decision' | 'exchange';
  readonly subject: PrincipalRef;
  /** What the caller said of the subject. */
  readonly stated: JsonObject;
  readonly actors: readonly PrincipalRef[];
  readonly action: { readonly name: string; readonly properties: JsonObject };
  readonly resource: { readonly type: string; readonly id: string; readonly properties: JsonObject };
  /** The names of the members of the context that are bound, and those of them that are there. */
  readonly bound: readonly string[];
  readonly context: JsonObject;
  readonly grant: GrantFacts | null;
}

/** Of a grant, what lasts from one token of it to the next: neither its id nor when it ends. */
export interface GrantFacts {
  readonly scope: readonly string[];
  readonly use: string;
  readonly audiences: readonly string[];
  readonly authorization_details: GrantRow['details'];
  readonly may_act: PrincipalRef | null;
  readonly jkt: string | null;
  /** Absent for one that is bound to no certificate, as in questions of before there were any. */
  readonly x5t_s256?: string;
  /** The task's id, of one that goes on. */
  readonly task: string | null;
}

export const factsOf = (grant: GrantRow, task = grant.task?.id ?? null): GrantFacts => ({
  scope: grant.scopes.toSorted(),
  use: grant.use,
  audiences: audiencesOf(grant),
  authorization_details: grant.details,
  may_act: grant.mayAct,
  jkt: grant.jkt,
  ...(grant.x5tS256 !== null && { x5t_s256: grant.x5tS256 }),
  task,
});

/** What a decision is asked. */
export function decisionQuestion(
  { principal: asked, action, resource, context }: CheckRequest,
  { subject, actors, grant }: TokenPrincipal,
  bound: readonly string[],
): Question {
  return {
    kind: 'decision',
    subject: { class: subject.class, id: subject.id },
    stated: ('stated' in asked ? asked.properties : undefined) ?? {},
    actors,
    action: { name: action.name, properties: action.properties ?? {} },
    resource: { type: resource.type, id: resource.id, properties: resource.properties ?? {} },
    bound,
    context: named(context ?? {}, bound),
    grant: grant ? factsOf(grant) : null,
  };
}

const named = (context: JsonObject, names: readonly string[]): JsonObject =>
  Object.fromEntries(
    names.filter((name) => Object.hasOwn(context, name)).map((name) => [name, context[name]]),
  );

/** Of the whole question, as its tenant's caller asked it. */
export const digestOf = (tenant: TenantId, caller: string, question: Question): Buffer =>
  createHash('sha256')
    .update(`mandate approval 1\n${canonical({ tenant, caller, question })}`)
    .digest();

/**
 * JSON that is the same for equal values: members sorted by their names (RFC 8785 section 3.2.3), numbers and strings as
 * JSON.stringify writes them.
 */
export function canonical(value: unknown): string {
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`;
  const members = Object.entries(value)
    .filter(([, each]) => each !== undefined)
    .sort(([one], [other]) => (one < other ? -1 : 1))
    .map(([name, each]) => `${JSON.stringify(name)}:${canonical(each)}`);
  return `{${members.join(',')}}`;
}

/** Of the JSON of a question, in characters: an approver reads it. */
const MAX_QUESTION = 32_768;

/**
 * The question as it is kept and shown, as JSON: without what the tenant seals in records, as that is nobody's business
 * here either. Throws `invalid_request` for one that is too long.
 */
export function shownQuestion({ manifest }: Tenant, question: Question): string {
  const { stated, ...rest } = structuredClone(question);
  // By the names that the input has.
  const shown = { ...rest, subject: { ...rest.subject, properties: stated } };
  for (const { path } of manifest.audit.sealed) placeOf(shown, parsePointer(path) ?? [])?.remove();
  const { subject, ...others } = shown;
  const { properties, ...ref } = subject;
  const text = JSON.stringify({ ...others, subject: ref, stated: properties ?? {} });
  if (text.length > MAX_QUESTION)
    throw new ServiceError(
      'invalid_request',
      `what is to be approved has more than ${MAX_QUESTION} characters`,
    );
  return text;
}
