import { create, type MessageInitShape, type JsonObject as ProtoJson } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import type { AuditRecord } from '../../audit/read.ts';
import type { Answer } from '../../decision/decisions.ts';
import type { JsonObject, UncheckedRequest } from '../../decision/request.ts';
import { RecordSchema, StoredRecordSchema } from '../../gen/mandate/v1/audit_pb.ts';
import {
  type CheckBatchRequest,
  type CheckBatchResult,
  CheckBatchResultSchema,
  type CheckRequest,
  type CheckResponse,
  CheckResponseSchema,
} from '../../gen/mandate/v1/decision_pb.ts';
import { Decision, type TaskCap, TaskCapSchema } from '../../gen/mandate/v1/model_pb.ts';
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
    ...(answer.stateVersion !== undefined && { stateVersion: BigInt(answer.stateVersion) }),
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
