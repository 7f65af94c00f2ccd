import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import {
  CheckBatchRequestSchema,
  CheckBatchResponseSchema,
  CheckRequestSchema,
  type CheckResponse,
  CheckResponseSchema,
  CheckStreamRequestSchema,
  CheckStreamResponseSchema,
} from '../../src/gen/mandate/v1/decision_pb.ts';
import { Decision } from '../../src/gen/mandate/v1/model_pb.ts';

/** Questions that differ in who asks what, and answers that tell which question they are of. */

export const CHECK = '/mandate.v1.DecisionService/Check';
export const CHECK_BATCH = '/mandate.v1.DecisionService/CheckBatch';
export const CHECK_STREAM = '/mandate.v1.DecisionService/CheckStream';

/** Added to acme: every answer names the resource it is about. */
export const ECHO = `package authz

obligations contains {"type": "echo", "of": input.resource.id} if input.resource.type == "document"

obligations contains {"type": "echo", "on": "deny", "of": input.resource.id} if input.resource.type == "document"
`;

const sensitivities = ['public', 'internal', 'confidential', 'restricted'];
/** Up to which of them each may read documents of the project apollo, by the policy of acme. */
const readers = [
  { id: 'alice', reads: 3 },
  { id: 'bob', reads: 2 },
  { id: 'carol', reads: 4 },
];

const partsOf = (n: number) => {
  const reader = readers[n % readers.length] ?? { id: '', reads: 0 };
  const level = n % sensitivities.length;
  const sensitivity = sensitivities[level] ?? '';
  return {
    allowed: level < reader.reads,
    subject: { type: 'user', id: reader.id },
    resource: { type: 'document', id: `doc-${n}`, properties: { project: 'apollo', sensitivity } },
  };
};

const action = { name: 'document.read' };

export const question = (n: number) => {
  const { subject, resource } = partsOf(n);
  const principal = { case: 'subject' as const, value: subject };
  return create(CheckRequestSchema, { tenant: 'acme', principal, action, resource });
};

export const questionBytes = (n: number): Uint8Array => toBinary(CheckRequestSchema, question(n));

export const streamed = (n: number): Uint8Array =>
  toBinary(
    CheckStreamRequestSchema,
    create(CheckStreamRequestSchema, { correlationId: BigInt(n), request: question(n) }),
  );

/** Question `first` and those after it. `padding` makes each larger. */
export const batch = (count: number, first = 0, padding = '') =>
  create(CheckBatchRequestSchema, {
    tenant: 'acme',
    action,
    items: Array.from({ length: count }, (_, at) => {
      const { subject, resource } = partsOf(first + at);
      return { subject, resource, ...(padding && { context: { padding } }) };
    }),
  });

export const batchBytes = (count: number, first = 0, padding = ''): Uint8Array =>
  toBinary(CheckBatchRequestSchema, batch(count, first, padding));

/** What the answer to a question must say. */
export const rightAnswer = (n: number): string => `${partsOf(n).allowed ? 'ALLOW' : 'DENY'} doc-${n}`;

/** The right answers of so many questions, in their order. */
export const rightAnswers = (count: number, first = 0): string[] =>
  Array.from({ length: count }, (_, at) => rightAnswer(first + at));

const names = new Map<number, string>(Object.entries(Decision).map(([name, value]) => [value, name]));

export function said({ decision, obligations }: Pick<CheckResponse, 'decision' | 'obligations'>): string {
  const of = obligations.find(({ type }) => type === 'echo')?.['of'];
  return `${names.get(decision)} ${typeof of === 'string' ? of : 'of nothing'}`;
}

export const saidIn = (bytes: Uint8Array | undefined): string =>
  bytes ? said(fromBinary(CheckResponseSchema, bytes)) : 'nothing';

export const saidInBatch = (bytes: Uint8Array): string[] =>
  fromBinary(CheckBatchResponseSchema, bytes).results.map(said);

/** What each answer of a stream says, by its correlation id. */
export const saidInStream = (messages: readonly Uint8Array[]): Map<number, string> =>
  new Map(
    messages.map((bytes) => {
      const { correlationId, result } = fromBinary(CheckStreamResponseSchema, bytes);
      return [
        Number(correlationId),
        result.case === 'response' ? said(result.value) : `${result.value?.code}`,
      ];
    }),
  );
