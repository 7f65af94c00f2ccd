import { fromJson, type JsonValue, toBinary } from '@bufbuild/protobuf';
import { StructSchema } from '@bufbuild/protobuf/wkt';
import type { Answer } from '../../../decision/decisions.ts';
import type { JsonObject } from '../../../decision/request.ts';
import type { ServiceError } from '../../../errors.ts';
import { UsedApprovalSchema } from '../../../gen/mandate/v1/decision_pb.ts';
import { decisionOf, usedMessage } from '../../connect/messages.ts';
import { PREFIX_BYTES } from '../frames.ts';
import { WireWriter } from './writer.ts';

const writer = new WireWriter();

/** A gRPC frame that holds a CheckResponse. */
export const encodeCheck = (answer: Answer): Uint8Array => framed(() => writeAnswer(answer, REVISION));

/** A gRPC frame that holds a CheckBatchResponse. */
export const encodeBatch = (answers: readonly Answer[]): Uint8Array =>
  framed(() => {
    for (const answer of answers) writer.message(0x0a, () => writeAnswer(answer, NO_REVISION));
    writer.string(0x12, answers[0]?.revision ?? '');
  });

/** A gRPC frame that holds a CheckStreamResponse with an answer. */
export const encodeStreamAnswer = (correlationId: bigint | number, answer: Answer): Uint8Array =>
  framed(() => {
    writer.bigint(0x08, BigInt(correlationId));
    writer.message(0x12, () => writeAnswer(answer, REVISION));
  });

/** A gRPC frame that holds a message that somebody else has made. */
export const encodeRaw = (message: Uint8Array): Uint8Array => framed(() => writer.raw(message));

/** A gRPC frame that holds a CheckStreamResponse with a CheckResponse that somebody else has made. */
export const encodeStreamRaw = (correlationId: bigint | number, message: Uint8Array): Uint8Array =>
  framed(() => {
    writer.bigint(0x08, BigInt(correlationId));
    writer.bytes(0x12, message);
  });

/** A gRPC frame that holds a CheckStreamResponse with an error. */
export const encodeStreamError = (correlationId: bigint | number, error: ServiceError): Uint8Array =>
  framed(() => {
    writer.bigint(0x08, BigInt(correlationId));
    writer.message(0x1a, () => {
      writer.string(0x0a, error.code);
      writer.string(0x12, error.message);
      writer.number(0x18, error.retryAfterMs ?? 0);
    });
  });

function framed(write: () => void): Uint8Array {
  writer.reset();
  writer.byte(0);
  const at = writer.skip(4);
  write();
  writer.putUint32(writer.length - PREFIX_BYTES, at);
  return writer.take();
}

/** CheckResponse has the revision as field 6 and counts on; CheckBatchResult leaves it to the batch. */
const REVISION = { revision: 0x32, index: 0x38, cost: 0x40, version: 0x48 } as const;
const NO_REVISION = { revision: undefined, index: 0x30, cost: 0x38, version: 0x40 } as const;

function writeAnswer(answer: Answer, tags: typeof REVISION | typeof NO_REVISION): void {
  writer.number(0x08, decisionOf[answer.outcome]);
  for (const { code, message, needed_scopes: scopes = [] } of answer.reasons)
    writer.message(0x12, () => {
      writer.string(0x0a, code);
      writer.string(0x12, message);
      for (const scope of scopes) writer.string(0x1a, scope);
    });
  for (const obligation of answer.obligations) writer.bytes(0x1a, struct(obligation));
  if (answer.challenge) writer.bytes(0x22, struct(answer.challenge));
  writer.string(0x2a, answer.decisionId);
  if (tags.revision !== undefined) writer.string(tags.revision, answer.revision);
  writer.number(tags.index, answer.recordIndex);
  writer.number(tags.cost, answer.cost);
  writer.number(tags.version, answer.stateVersion);
  if (tags.revision !== undefined && answer.approval)
    writer.bytes(0x52, toBinary(UsedApprovalSchema, usedMessage(answer.approval)));
}

/** Obligations are rare and of any shape: the generated code writes them. */
const struct = (value: JsonObject): Uint8Array =>
  toBinary(StructSchema, fromJson(StructSchema, value as JsonValue));
