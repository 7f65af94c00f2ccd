import { create, toBinary } from '@bufbuild/protobuf';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  CheckBatchRequestSchema,
  CheckRequestSchema,
  CheckStreamRequestSchema,
} from '../../../src/gen/mandate/v1/decision_pb.ts';
import { outlineOf, outlineOfStream } from '../../../src/server/grpc/codec/outline.ts';

const text = fc.string({ unit: 'binary', maxLength: 40 });
const principal = fc.oneof(
  fc.constant({ case: undefined }),
  fc.record({ type: text, id: text }).map((value) => ({ case: 'subject' as const, value })),
  text.map((value) => ({ case: 'subjectToken' as const, value })),
);
const common = fc.record({
  tenant: fc.stringMatching(/^[a-z0-9-]{1,63}$/),
  principal,
  action: fc.record({ name: text }),
  resource: fc.record({ type: text, id: text, properties: fc.dictionary(text, text, { maxKeys: 3 }) }),
  context: fc.dictionary(text, text, { maxKeys: 3 }),
  audience: text,
});

describe('an outline says what the whole message says', () => {
  test('of a CheckRequest', () => {
    fc.assert(
      fc.property(common, text, fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), (shape, approval, atLeast) => {
        const message = create(CheckRequestSchema, { ...shape, approval, atLeast });
        const bytes = toBinary(CheckRequestSchema, message);
        const token = shape.principal.case === 'subjectToken';
        const special = approval !== '' || atLeast > 0n;
        expect(outlineOf(bytes)).toEqual({ tenant: shape.tenant, token, special, items: 1 });
      }),
    );
  });

  test('of a CheckBatchRequest', () => {
    fc.assert(
      fc.property(common, fc.integer({ min: 1, max: 50 }), (shape, count) => {
        const items = Array.from({ length: count }, (_, at) => ({ resource: { type: 't', id: String(at) } }));
        const bytes = toBinary(CheckBatchRequestSchema, create(CheckBatchRequestSchema, { ...shape, items }));
        expect(outlineOf(bytes)).toMatchObject({ tenant: shape.tenant, items: count });
      }),
    );
  });

  test('of a CheckStreamRequest', () => {
    fc.assert(
      fc.property(common, fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), (shape, correlationId) => {
        const request = create(CheckRequestSchema, shape);
        const message = create(CheckStreamRequestSchema, { correlationId, request });
        const outline = outlineOfStream(toBinary(CheckStreamRequestSchema, message));
        expect(outline).toMatchObject({ tenant: shape.tenant, items: 1 });
      }),
    );
  });

  test('of any bytes there is one or none, never an error', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => {
        for (const outline of [outlineOf(bytes), outlineOfStream(bytes)])
          if (outline) expect(outline.items).toBeGreaterThan(0);
      }),
      { numRuns: 2_000 },
    );
  });

  test('of a message with two tenants there is none', () => {
    const bytes = toBinary(CheckRequestSchema, create(CheckRequestSchema, { tenant: 'acme' }));
    expect(outlineOf(bytes)?.tenant).toBe('acme');
    expect(outlineOf(Buffer.concat([bytes, bytes]))).toBeUndefined();
  });
});
