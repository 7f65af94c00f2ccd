import { toJson } from '@bufbuild/protobuf';
import { describe, expect, test } from 'vitest';
import { CheckResponseSchema } from '../../../src/gen/envoy/service/auth/v3/external_auth_pb.ts';
import { Malformed, saidBy } from '../../../src/server/connect/opa-envoy/response.ts';

/** The answers of policies for opa-envoy-plugin, by the tables of its own tests (`envoyauth/response_test.go`). */

const answered = (result: unknown): unknown =>
  toJson(CheckResponseSchema, saidBy(result).response({ decisionId: 'id', stateVersion: 7 }) as never);
const header = (key: string, value: string) => ({ header: { key, value } });

describe('a decision', () => {
  test('that is a boolean says whether, and no more', () => {
    expect(answered(true)).toEqual({ status: {}, dynamicMetadata: { decision_id: 'id', state_version: 7 } });
    expect(answered(false)).toEqual({
      status: { code: 7 },
      dynamicMetadata: { decision_id: 'id', state_version: 7 },
    });
  });

  test('that allows changes the request, and the answer to it', () => {
    const result = {
      allowed: true,
      headers: { foo: 'bar', many: ['a', 'b'] },
      request_headers_to_remove: ['x-one', 'x-two'],
      response_headers_to_add: [{ x: 'y' }, { x: ['z'] }],
      query_parameters_to_set: { q: ['1', '2'], r: '3' },
      query_parameters_to_remove: ['s'],
      dynamic_metadata: { foo: [1, { a: null }] },
      // Nothing of a deny.
      body: 'x',
      http_status: 301,
    };
    expect(answered(result)).toEqual({
      status: {},
      okResponse: {
        headers: [header('foo', 'bar'), header('many', 'a'), header('many', 'b')],
        headersToRemove: ['x-one', 'x-two'],
        responseHeadersToAdd: [header('x', 'y'), header('x', 'z')],
        queryParametersToSet: [
          { key: 'q', value: '1' },
          { key: 'q', value: '2' },
          { key: 'r', value: '3' },
        ],
        queryParametersToRemove: ['s'],
      },
      dynamicMetadata: { decision_id: 'id', state_version: 7, foo: [1, { a: null }] },
    });
  });

  test('that denies has headers, a body and a status, 403 where it names none', () => {
    const denied = { allowed: false, headers: { 'x-why': 'no' }, body: 'go away', http_status: 301 };
    expect(answered(denied)).toMatchObject({
      status: { code: 7 },
      deniedResponse: { headers: [header('x-why', 'no')], body: 'go away', status: { code: 301 } },
    });
    expect(answered({ allowed: false })).toMatchObject({ deniedResponse: { status: { code: 403 } } });
  });

  test.each([
    ['nothing', null],
    ['a text', 'true'],
    ['a number', 1],
    ['an array', [true]],
    ['an object without allowed', { allow: true }],
    ['allowed that is a text', { allowed: 'true' }],
    ['headers that are a text', { allowed: true, headers: 'x' }],
    ['headers of numbers', { allowed: true, headers: { a: 1 } }],
    ['headers of arrays of numbers', { allowed: true, headers: { a: [1] } }],
    ['headers of headers that are texts', { allowed: true, headers: ['a'] }],
    ['headers to remove that are a text', { allowed: true, request_headers_to_remove: 'a' }],
    ['headers to remove that are numbers', { allowed: true, request_headers_to_remove: [1] }],
    ['response headers of numbers', { allowed: true, response_headers_to_add: { a: 1 } }],
    ['query parameters that are an array', { allowed: true, query_parameters_to_set: ['a'] }],
    ['query parameters of numbers', { allowed: true, query_parameters_to_set: { a: 1 } }],
    ['query parameters to remove that are a text', { allowed: true, query_parameters_to_remove: 'a' }],
    ['metadata that are a text', { allowed: true, dynamic_metadata: 'a' }],
    ['a body that is a number', { allowed: false, body: 1 }],
    ['a status that is a text', { allowed: false, http_status: '403' }],
    ['a status that is none', { allowed: false, http_status: 999 }],
    ['a status that Envoy has not', { allowed: false, http_status: 418 }],
    ['a status with a fraction', { allowed: false, http_status: 403.5 }],
  ])('%s is none', (_what, result) => {
    expect(() => saidBy(result)).toThrow(Malformed);
  });
});
