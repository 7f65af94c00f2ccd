import { create, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import {
  CheckBatchRequestSchema,
  CheckRequestSchema,
  CheckStreamRequestSchema,
} from '../../../src/gen/mandate/v1/decision_pb.ts';
import { frame } from '../../harness/grpc.ts';
import type { Question } from '../../scenario/questions.ts';

/** The scenario's questions as Mandate is asked them: it knows the principals itself. */
type Check = MessageInitShape<typeof CheckRequestSchema>;

const subjectOf = ({ principal }: Question) => ({ type: 'user', id: principal.id });
const resourceOf = ({ document: { id, ...properties } }: Question) => ({ type: 'document', id, properties });

export const checkOf = (tenant: string, question: Question): Check => ({
  tenant,
  principal: { case: 'subject', value: subjectOf(question) },
  action: { name: question.action },
  resource: resourceOf(question),
});

export const checkFrame = (tenant: string, question: Question): Buffer =>
  frame(toBinary(CheckRequestSchema, create(CheckRequestSchema, checkOf(tenant, question))));

/** One frame a question, correlated by their place. */
export const streamFrames = (tenant: string, asked: readonly Question[]): Buffer =>
  Buffer.concat(
    asked.map((question, place) => {
      const message = { correlationId: BigInt(place), request: checkOf(tenant, question) };
      return frame(toBinary(CheckStreamRequestSchema, create(CheckStreamRequestSchema, message)));
    }),
  );

/** One principal and action over many resources, as a retrieval pipeline asks. */
export function batchFrame(tenant: string, by: Question, asked: readonly Question[]): Buffer {
  const message = create(CheckBatchRequestSchema, {
    tenant,
    principal: { case: 'subject', value: subjectOf(by) },
    action: { name: by.action },
    items: asked.map((question) => ({ resource: resourceOf(question) })),
  });
  return frame(toBinary(CheckBatchRequestSchema, message));
}
