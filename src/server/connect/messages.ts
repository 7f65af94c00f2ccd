import { create, type MessageInitShape, type JsonObject as ProtoJson } from '@bufbuild/protobuf';
import { timestampFromMs, timestampMs } from '@bufbuild/protobuf/wkt';
import type { AuditRecord } from '../../audit/read.ts';
import type { Answer } from '../../decision/decisions.ts';
import type { JsonObject, UncheckedRequest } from '../../decision/request.ts';
import { ServiceError } from '../../errors.ts';
import { RecordSchema, StoredRecordSchema } from '../../gen/mandate/v1/audit_pb.ts';
import {
  type CheckBatchRequest,
  type CheckBatchResult,
  CheckBatchResultSchema,
  type CheckRequest,
  CheckRequestSchema,
  type CheckResponse,
  CheckResponseSchema,
  type UsedApproval,
  UsedApprovalSchema,
} from '../../gen/mandate/v1/decision_pb.ts';
import { Decision, type TaskCap, TaskCapSchema } from '../../gen/mandate/v1/model_pb.ts';
import type { DecisionId } from '../../ids.ts';
import type { StoredRecord } from '../../storage/log/records.ts';
import type { TaskCap as Cap } from '../../storage/rows.ts';
import type { Outcome, Reason } from '../../verdict.ts';
import type { AskedBatch } from './decision.ts';

export const decisionOf = {
  allow: Decision.ALLOW,
  deny: Decision.DENY,
  challenge: Decision.CHALLENGE,
} as const satisfies Record<Outcome, Decision>;

/** What a task was capped to. */
export const capMessage = ({ at, endsAt, scopes = [], use, details = {}, budget = {} }: Cap): TaskCap =>
  create(TaskCapSchema, {
    cappedAt: timestampFromMs(at),
    ...(endsAt !== undefined && { endsAt: timestampFromMs(endsAt) }),
    scopes: [...scopes],
    use: use ?? '',
    budget: { ...budget },
    authorizationDetails: Object.entries(details).map(([type, numbers]) => proto({ type, ...numbers })),
  });

export function requestOf(message: CheckRequest | CheckBatchRequest): UncheckedRequest {
  const { principal } = message;
  return {
    subject: principal.case === 'subject' ? principal.value : undefined,
    token: principal.case === 'subjectToken' ? principal.value : undefined,
    proof: message.proof,
    action: message.action,
    resource: message.resource,
    context: message.context,
    audience: message.audience,
    // A batch has none.
    approval: ('approval' in message && message.approval) || undefined,
    atLeast: ('atLeast' in message && Number(message.atLeast)) || undefined,
  };
}

/** The same the other way, for whoever decides it elsewhere. */
export const requestMessage = (
  tenant: string,
  { subject, token, proof, action, resource, context, audience, approval, atLeast }: UncheckedRequest,
): CheckRequest =>
  create(CheckRequestSchema, {
    tenant,
    // One that is empty is none, as far as there is a subject.
    ...(token !== undefined && (token !== '' || !subject)
      ? { principal: { case: 'subjectToken', value: token } }
      : subject && { principal: { case: 'subject', value: named(subject) } }),
    ...(action && { action: named(action) }),
    ...(resource && { resource: named(resource) }),
    ...(context && { context: proto(context) }),
    audience: audience ?? '',
    ...(proof && { proof: { ...proof, x5tS256: proof.x5tS256 ?? '' } }),
    approval: approval ?? '',
    atLeast: BigInt(atLeast ?? 0),
  });

const named = <Part extends { readonly properties?: JsonObject | undefined }>({
  properties,
  ...rest
}: Part) => ({ ...rest, ...(properties && { properties: proto(properties) }) });

/** What was answered elsewhere. Throws `unavailable` where it is no answer. */
export function answerIn(message: CheckResponse): Answer {
  const { reasons, obligations, challenge, stateVersion, approval } = message;
  const outcome = outcomes.find((each) => decisionOf[each] === message.decision);
  if (!outcome)
    throw new ServiceError('unavailable', 'the authority gave no answer', { retryAfterMs: 1_000 });
  return {
    outcome,
    reasons: reasons.map(({ code, message: text, neededScopes: scopes }) => ({
      code,
      message: text,
      ...(scopes.length > 0 && { needed_scopes: scopes }),
    })),
    obligations,
    challenge,
    rules: [],
    revision: message.policyRevision,
    cost: message.cost,
    decisionId: message.decisionId as DecisionId,
    recordIndex: Number(message.recordIndex),
    ...(approval && { approval: usedIn(approval) }),
    stateVersion: Number(stateVersion),
  };
}

const usedIn = ({ id, expiresAt }: UsedApproval): NonNullable<Answer['approval']> => ({
  id,
  expires_at: new Date(expiresAt ? timestampMs(expiresAt) : 0).toISOString(),
});

/** The approval that was used for an answer. */
export const usedMessage = ({ id, expires_at: until }: NonNullable<Answer['approval']>): UsedApproval =>
  create(UsedApprovalSchema, { id, expiresAt: timestampFromMs(Date.parse(until)) });

const outcomes = ['allow', 'deny', 'challenge'] as const satisfies readonly Outcome[];

export const reasonMessage = ({ code, message, needed_scopes: scopes = [] }: Reason) => ({
  code,
  message,
  neededScopes: [...scopes],
});

export const batchOf = (message: CheckBatchRequest): AskedBatch => ({
  tenant: message.tenant,
  defaults: requestOf(message),
  items: message.items,
  semantic: message.semantic,
});

export function checkResponse(answer: Answer): CheckResponse {
  return create(CheckResponseSchema, {
    decision: decisionOf[answer.outcome],
    reasons: answer.reasons.map(reasonMessage),
    obligations: answer.obligations.map(proto),
    ...(answer.challenge ? { challenge: proto(answer.challenge) } : {}),
    decisionId: answer.decisionId,
    policyRevision: answer.revision,
    recordIndex: BigInt(answer.recordIndex),
    cost: answer.cost,
    stateVersion: BigInt(answer.stateVersion),
    ...(answer.approval && { approval: usedMessage(answer.approval) }),
  });
}

export function batchResult(answer: Answer): CheckBatchResult {
  return create(CheckBatchResultSchema, {
    decision: decisionOf[answer.outcome],
    reasons: answer.reasons.map(reasonMessage),
    obligations: answer.obligations.map(proto),
    ...(answer.challenge ? { challenge: proto(answer.challenge) } : {}),
    decisionId: answer.decisionId,
    recordIndex: BigInt(answer.recordIndex),
    cost: answer.cost,
    stateVersion: BigInt(answer.stateVersion),
  });
}

/** `opened`: what of it is sealed in the clear, where it may be had. `node`: which server made it. */
export function recordMessage(
  record: AuditRecord,
  opened: Uint8Array | undefined,
  node: string,
): MessageInitShape<typeof RecordSchema> {
  return create(RecordSchema, {
    index: BigInt(record.index),
    time: timestampFromMs(record.time),
    kind: record.kind,
    outcome: record.outcome,
    ...(record.subject ? { subject: record.subject } : {}),
    actors: [...record.actors],
    ...(record.target ? { target: record.target } : {}),
    action: record.action,
    resourceType: record.resource.type,
    resourceId: record.resource.id,
    rules: [...record.rules],
    reasons: record.reasons.map(reasonMessage),
    policyRevision: record.revision,
    decisionId: record.decisionId,
    grantId: record.grantId,
    caller: record.caller,
    body: record.body,
    node,
    ...(opened ? { opened } : {}),
  });
}

export const storedMessage = (
  { index, body }: StoredRecord,
  opened: Uint8Array | undefined,
): MessageInitShape<typeof StoredRecordSchema> =>
  create(StoredRecordSchema, { index: BigInt(index), body, ...(opened ? { opened } : {}) });

/** What came out of JSON.parse goes into a Struct. */
export const proto = (value: JsonObject): ProtoJson => value as ProtoJson;
