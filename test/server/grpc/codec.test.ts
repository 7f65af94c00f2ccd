import { create, fromBinary, type JsonObject, type JsonValue, toBinary } from '@bufbuild/protobuf';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Answer } from '../../../src/decision/decisions.ts';
import { ServiceError } from '../../../src/errors.ts';
import {
  type BatchSemantic,
  CheckBatchItemSchema,
  CheckBatchRequestSchema,
  CheckBatchResponseSchema,
  CheckRequestSchema,
  CheckResponseSchema,
  CheckStreamRequestSchema,
  CheckStreamResponseSchema,
} from '../../../src/gen/mandate/v1/decision_pb.ts';
import type { DecisionId } from '../../../src/ids.ts';
import {
  answerIn,
  batchOf,
  batchResult,
  checkResponse,
  requestMessage,
  requestOf,
} from '../../../src/server/connect/messages.ts';
import { decodeBatch, decodeCheck, decodeStreamCheck } from '../../../src/server/grpc/codec/request.ts';
import {
  encodeBatch,
  encodeCheck,
  encodeStreamAnswer,
  encodeStreamError,
} from '../../../src/server/grpc/codec/response.ts';
import { onlyMessage } from '../../../src/server/grpc/frames.ts';

const text = fc.string({ unit: 'binary', maxLength: 60 });
const json = fc.jsonValue({ depthSize: 'small', maxDepth: 6 }) as fc.Arbitrary<JsonValue>;
const struct = fc.option(fc.dictionary(text, json, { maxKeys: 5 }) as fc.Arbitrary<JsonObject>, {
  nil: undefined,
});
const named = fc.record({ type: text, id: text, properties: struct });
const request = fc
  .record({
    tenant: text,
    principal: fc.oneof(
      fc.constant({ case: undefined }),
      named.map((value) => ({ case: 'subject' as const, value })),
      text.map((value) => ({ case: 'subjectToken' as const, value })),
    ),
    action: fc.option(fc.record({ name: text, properties: struct }), { nil: undefined }),
    resource: fc.option(named, { nil: undefined }),
    context: struct,
    audience: text,
  })
  .map((shape) => create(CheckRequestSchema, defined(shape)));

const action = fc.option(fc.record({ name: text, properties: struct }), { nil: undefined });
const maybe = fc.option(named, { nil: undefined });
const batchRequest = fc
  .tuple(
    request,
    fc.array(fc.record({ subject: maybe, action, resource: maybe, context: struct }), { maxLength: 4 }),
    fc.nat({ max: 5 }),
  )
  .map(([common, items, semantic]) =>
    create(CheckBatchRequestSchema, {
      tenant: common.tenant,
      principal: common.principal,
      ...defined({ action: common.action, resource: common.resource, context: common.context }),
      audience: common.audience,
      items: items.map((item) => create(CheckBatchItemSchema, defined(item))),
      semantic: semantic as BatchSemantic,
    }),
  );

const scope = fc.string({ minLength: 1 });
const reason = fc.record(
  { code: text, message: text, needed_scopes: fc.array(scope, { maxLength: 3 }) },
  { requiredKeys: ['code', 'message'] },
);

const answer: fc.Arbitrary<Answer> = fc.record({
  outcome: fc.constantFrom('allow' as const, 'deny' as const, 'challenge' as const),
  reasons: fc.array(reason, { maxLength: 3 }),
  rules: fc.array(text, { maxLength: 2 }),
  obligations: fc.array(fc.dictionary(text, json, { maxKeys: 3 }), { maxLength: 2 }),
  challenge: fc.option(fc.dictionary(text, json, { maxKeys: 3 }), { nil: undefined }),
  decisionId: text.map((id) => id as DecisionId),
  revision: text,
  recordIndex: fc.nat({ max: 2 ** 36 - 1 }),
  approval: fc.option(
    fc.record({
      id: text,
      expires_at: fc
        .date({ noInvalidDate: true, min: new Date(0), max: new Date('2100-01-01') })
        .map((at) => at.toISOString()),
    }),
    { nil: undefined },
  ),
  stateVersion: fc.nat({ max: Number.MAX_SAFE_INTEGER }),
  cost: fc.nat({ max: 2 ** 31 - 1 }),
});

describe('the hot path reads what the generated code reads', () => {
  test('a CheckRequest of any shape', () => {
    fc.assert(
      fc.property(request, (message) => {
        const { tenant, request: decoded } = decodeCheck(toBinary(CheckRequestSchema, message));
        expect(tenant).toBe(message.tenant);
        expect(normal(decoded)).toEqual(normal(requestOf(message)));
      }),
    );
  });

  test('a CheckStreamRequest with any correlation id', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), request, (correlationId, message) => {
        const bytes = toBinary(
          CheckStreamRequestSchema,
          create(CheckStreamRequestSchema, { correlationId, request: message }),
        );
        const decoded = decodeStreamCheck(bytes);
        expect(BigInt(decoded.correlationId)).toBe(correlationId);
        expect(normal(decoded.asked?.request)).toEqual(normal(requestOf(message)));
      }),
    );
  });

  test('a CheckBatchRequest of any shape', () => {
    fc.assert(
      fc.property(batchRequest, (message) => {
        const decoded = decodeBatch(toBinary(CheckBatchRequestSchema, message));
        expect(normal(decoded)).toEqual(normal(batchOf(message)));
      }),
    );
  });

  test('a batch that was tampered with: both read the same, or both refuse', () => {
    fc.assert(
      fc.property(
        batchRequest,
        fc.array(fc.tuple(fc.nat(), fc.nat({ max: 255 })), { minLength: 1, maxLength: 4 }),
        (message, edits) => {
          const bytes = toBinary(CheckBatchRequestSchema, message);
          if (bytes.length === 0) return;
          for (const [at, value] of edits) bytes[at % bytes.length] = value;
          const generated = attempt(() => batchOf(fromBinary(CheckBatchRequestSchema, bytes)));
          const ours = attempt(() => decodeBatch(bytes));
          expect(ours === undefined).toBe(generated === undefined);
          if (ours && generated) expect(normal(ours)).toEqual(normal(generated));
        },
      ),
      { numRuns: 1_000 },
    );
  });

  test('bytes that were tampered with: both read the same, or both refuse', () => {
    fc.assert(
      fc.property(
        request,
        fc.array(fc.tuple(fc.nat(), fc.nat({ max: 255 })), { minLength: 1, maxLength: 4 }),
        (message, edits) => {
          const bytes = toBinary(CheckRequestSchema, message);
          if (bytes.length === 0) return;
          for (const [at, value] of edits) bytes[at % bytes.length] = value;
          const generated = attempt(() => requestOf(fromBinary(CheckRequestSchema, bytes)));
          const ours = attempt(() => decodeCheck(bytes).request);
          expect(ours === undefined).toBe(generated === undefined);
          if (ours && generated) expect(normal(ours)).toEqual(normal(generated));
        },
      ),
      { numRuns: 1_000 },
    );
  });

  test('a name that would set a prototype is a name like any other, or refused', () => {
    const context = JSON.parse('{"__proto__": {"admin": true}, "ip": "::1"}') as JsonObject;
    const bytes = toBinary(CheckRequestSchema, create(CheckRequestSchema, { context }));
    const decoded = decodeCheck(bytes).request.context as { admin?: unknown };
    expect(Object.hasOwn(decoded, 'admin')).toBe(false);
    expect(({} as { admin?: unknown }).admin).toBeUndefined();
  });

  test('properties nested a thousand deep are refused, not followed', () => {
    let deep: JsonObject = {};
    for (let level = 0; level < 90; level += 1) deep = { deep };
    const bytes = toBinary(CheckRequestSchema, create(CheckRequestSchema, { context: deep }));
    expect(() => decodeCheck(bytes)).toThrow(ServiceError);
  });
});

describe('the generated code reads what the hot path writes', () => {
  test('a CheckResponse', () => {
    fc.assert(
      fc.property(answer, (each) => {
        const message = fromBinary(CheckResponseSchema, onlyMessage(encodeCheck(each)));
        expect(message).toEqual(
          fromBinary(CheckResponseSchema, toBinary(CheckResponseSchema, checkResponse(each))),
        );
      }),
    );
  });

  test('an answer that was made elsewhere is the same here', () => {
    fc.assert(
      fc.property(answer, (each) => {
        const { rules: _rules, ...told } = each;
        const reasons = told.reasons.map(({ needed_scopes: scopes = [], ...rest }) =>
          scopes.length > 0 ? { ...rest, needed_scopes: scopes } : rest,
        );
        const read = answerIn(fromBinary(CheckResponseSchema, onlyMessage(encodeCheck(each))));
        expect(normal(read)).toEqual(normal({ ...told, reasons, rules: [] }));
      }),
    );
  });

  test('a request that is decided elsewhere is the same there', () => {
    fc.assert(
      fc.property(request, (message) => {
        const asked = requestOf(message);
        const there = decodeCheck(toBinary(CheckRequestSchema, requestMessage(message.tenant, asked)));
        expect(there.tenant).toBe(message.tenant);
        expect(normal(there.request)).toEqual(
          normal(requestOf(fromBinary(CheckRequestSchema, toBinary(CheckRequestSchema, message)))),
        );
      }),
    );
  });

  test('a CheckBatchResponse', () => {
    fc.assert(
      fc.property(fc.array(answer, { maxLength: 5 }), (answers) => {
        const message = fromBinary(CheckBatchResponseSchema, onlyMessage(encodeBatch(answers)));
        const expected = create(CheckBatchResponseSchema, {
          results: answers.map(batchResult),
          policyRevision: answers[0]?.revision ?? '',
        });
        expect(message).toEqual(
          fromBinary(CheckBatchResponseSchema, toBinary(CheckBatchResponseSchema, expected)),
        );
      }),
    );
  });

  test('a CheckStreamResponse, with an answer and with an error', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), answer, (id, each) => {
        const message = fromBinary(CheckStreamResponseSchema, onlyMessage(encodeStreamAnswer(id, each)));
        expect(message.correlationId).toBe(id);
        expect(message.result.case).toBe('response');
      }),
    );
    const error = new ServiceError('resource_exhausted', 'come back', { retryAfterMs: 50 });
    const message = fromBinary(CheckStreamResponseSchema, onlyMessage(encodeStreamError(7, error)));
    expect(message.result).toMatchObject({
      case: 'error',
      value: { code: 'resource_exhausted', message: 'come back', retryAfterMs: 50 },
    });
  });
});

/** Drops what is undefined, so that absent and undefined compare alike; plain objects only. */
const normal = (value: unknown): unknown =>
  JSON.parse(
    JSON.stringify(value ?? null, (name, each: unknown) =>
      name === '$typeName' || (name === 'audience' && each === '')
        ? undefined
        : Object.is(each, -0)
          ? 0
          : each,
    ),
  );

const defined = <T extends object>(shape: T): T =>
  Object.fromEntries(
    Object.entries(shape).flatMap(([name, value]) => {
      if (value === undefined) return [];
      if (
        typeof value === 'object' &&
        value !== null &&
        !Array.isArray(value) &&
        name !== 'properties' &&
        name !== 'context'
      )
        return [[name, defined(value as object)]];
      return [[name, value]];
    }),
  ) as T;

function attempt<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}
