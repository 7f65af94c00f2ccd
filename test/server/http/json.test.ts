import { describe, expect, test } from 'vitest';
import { parseJson } from '../../../src/server/http/json.ts';

/** What a JSON body may hold: only what the value read from it says the same as the text. */

const parse = (text: string): unknown => parseJson(Buffer.from(text));

describe('numbers', () => {
  test.each([
    '0',
    '-0.0',
    '100',
    '1.10',
    '1e300',
    '12345678901234567000',
    '0.30000000000000004',
    '3.141592653589793',
    '9007199254740992',
    '5e-324',
    '1000000000000000000000',
  ])('%s is held by a double', (text) => {
    expect(parse(`[${text}]`)).toEqual([Number(text)]);
  });

  test.each([
    '9007199254740993',
    '-12345678901234567891',
    '0.1000000000000000055',
    '1e400',
    '-1e999',
    '1e-400',
    `1${'0'.repeat(400)}`,
    `0.${'3'.repeat(120)}`,
  ])('%s is refused', (text) => {
    expect(() => parse(`{"a":{"b":[${text}]}}`)).toThrow('a number that a double does not');
  });

  test('digits in a text are a text', () => {
    expect(parse('{"id":"9007199254740993","\\u0031":"1e999"}')).toEqual({
      id: '9007199254740993',
      '1': '1e999',
    });
  });
});

describe('half a surrogate pair is refused', () => {
  test.each(['{"id":"\\ud800"}', '{"\\uDFFF":1}', '["\\udc00\\ud800"]', '{"a":[{"b":"x\\ud83dy"}]}'])(
    '%s',
    (text) => {
      expect(() => parse(text)).toThrow('half of a surrogate pair');
    },
  );

  test('a whole one is not', () => {
    expect(parse('["\\ud83d\\ude00","😀"]')).toEqual(['😀', '😀']);
  });
});

test('what is no JSON, no UTF-8 or too deep is refused', () => {
  expect(() => parse('{"a":1e400')).toThrow('not JSON');
  expect(() => parseJson(Uint8Array.of(0x22, 0xff, 0x22))).toThrow('not UTF-8');
  expect(() => parse('['.repeat(100))).toThrow('nests deeper');
});
