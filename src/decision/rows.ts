import { buildRecord, type Named, type RecordDraft } from '../audit/record.ts';
import type { ServiceError } from '../errors.ts';
import type { PrincipalRef } from '../ids.ts';
import type { GrantRow, RecordRow, TenantNo } from '../storage/rows.ts';
import { verdictText } from '../verdict.ts';
import type { Decided } from './decide.ts';
import { refusedGrant } from './principal.ts';
import type { CheckRequest, UncheckedRequest } from './request.ts';
import { Kept, type SharedParts } from './shared-parts.ts';

interface Head {
  readonly tenantNo: TenantNo;
  readonly time: number;
  readonly decisionId: string;
  readonly caller: string;
  /** Of the tenant's state: every change up to it was known. */
  readonly version: number;
}

export interface Question {
  readonly named?: Named | undefined;
  readonly subject?: PrincipalRef | undefined;
  readonly actor?: PrincipalRef | undefined;
  readonly grantId?: string | undefined;
  /** JSON text: the policy input, or what is known of the request. */
  readonly input: string;
  /** JSON members that say what of it stands elsewhere, each with a leading comma. */
  readonly parts?: string;
}

/** What the record of a decision is made from. */
export const decisionDraft = (
  { version, ...head }: Head,
  decided: Decided,
  question: Question,
): RecordDraft => ({
  ...head,
  kind: 'decision',
  outcome: decided.outcome,
  subject: question.subject,
  actor: question.actor,
  named: question.named,
  grantId: question.grantId,
  reason: decided.reasons[0]?.code,
  revision: decided.revision,
  members: versionMember(version) + decidedMembers(decided, question.grantId) + (question.parts ?? ''),
  input: question.input,
});

/** What `checkRequest` throws, and what the resolver of tokens does where it cannot tell. */
export const unsoundCodes: ReadonlySet<string> = new Set([
  'invalid_request',
  'principal_class_unknown',
  'unavailable',
]);

/** The record of a request that was answered with an error. */
export const errorRow = ({ version, ...head }: Head, error: ServiceError, input: string): RecordRow =>
  buildRecord({
    ...head,
    kind: 'decision',
    outcome: 'error',
    subject: undefined,
    actor: undefined,
    reason: error.code,
    members: `${versionMember(version)},"rules":["mandate.core"],"reasons":${JSON.stringify([{ code: error.code, message: error.message }])}`,
    input,
  });

/** The JSON member of a record that says by which state it was decided. */
export const versionMember = (version: number): string => `,"state_version":${version}`;

/** JSON members of a record that tell what was decided and by what. */
export function decidedMembers(decided: Decided, grantId: string | undefined): string {
  const grant = grantId === undefined ? '' : `,"grant_id":"${grantId}"`;
  const { revision, cost, challenge, failedAt, text = verdictText(decided) } = decided;
  const failed = failedAt === undefined ? '' : `,"failed_at":${JSON.stringify(failedAt)}`;
  const asked = challenge === undefined ? '' : `,"challenge":${JSON.stringify(challenge)}`;
  return `,"revision":"${revision}","cost":${cost}${text}${failed}${asked}${grant}`;
}

/** A request whose parts are sound but whose principal is not: nobody is named, but for who is in a grant of ours. */
export function soundQuestion(
  { action, resource, context = {} }: CheckRequest,
  grant: GrantRow | undefined,
  shared?: SharedParts,
): Question {
  const { subject = null, actors = [] } = grant ?? {};
  const of = {
    named: { action: action.name, resource, actors },
    subject: grant?.subject,
    actor: actors[0],
    grantId: grant?.id,
  };
  const behind = grant && { grant: refusedGrant(grant) };
  if (!shared)
    return { ...of, input: JSON.stringify({ subject, actors, action, resource, context, ...behind }) };
  const kept = new Kept(shared);
  const textOf = (member: string, object: object | undefined): string =>
    kept.text(member, object, JSON.stringify(object ?? {}));
  const { name } = action;
  const { type, id } = resource;
  const input = `{"subject":${JSON.stringify(subject)},"actors":${JSON.stringify(actors)},"action":{"name":${JSON.stringify(name)},"properties":${textOf(
    'action.properties',
    action.properties,
  )}},"resource":{"type":${JSON.stringify(type)},"id":${JSON.stringify(id)},"properties":${textOf(
    'resource.properties',
    resource.properties,
  )}},"context":${textOf('context', context)}${behind ? `,${JSON.stringify(behind).slice(1, -1)}` : ''}}`;
  return { ...of, input, parts: kept.members };
}

/** Of a request that is not sound only names are kept, and not all of those: it may be anything. */
export const unsoundQuestion = ({ subject, action, resource }: UncheckedRequest): string =>
  JSON.stringify({
    stated: { type: clip(subject?.type), id: clip(subject?.id) },
    action: { name: clip(action?.name) },
    resource: { type: clip(resource?.type), id: clip(resource?.id) },
  });

const clip = (text: unknown): string | undefined =>
  typeof text === 'string' ? text.slice(0, 256) : undefined;
