import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { isWithin, parsePointer, placeOf, pointerText, valueAt } from '../../../src/audit/privacy/pointer.ts';

/** RFC 6901. */

const DOCUMENT = {
  foo: ['bar', 'baz'],
  '': 0,
  'a/b': 1,
  'c%d': 2,
  'e^f': 3,
  'g|h': 4,
  'i\\j': 5,
  'k"l': 6,
  ' ': 7,
  'm~n': 8,
};

test.each([
  ['/foo', ['bar', 'baz']],
  ['/foo/0', 'bar'],
  ['/', 0],
  ['/a~1b', 1],
  ['/c%d', 2],
  ['/e^f', 3],
  ['/g|h', 4],
  ['/i\\j', 5],
  ['/k"l', 6],
  ['/ ', 7],
  ['/m~0n', 8],
])('section 5: %s', (text, value) => {
  expect(valueAt(DOCUMENT, parsePointer(text) ?? [])).toEqual(value);
});

test.each([
  '/foo/2',
  '/foo/00',
  '/foo/-',
  '/foo/length',
  '/foo/+1',
  '/bar',
  '/toString',
  '/constructor',
  '/foo/0/0',
])('%s names nothing', (text) => {
  expect(placeOf(DOCUMENT, parsePointer(text) ?? [])).toBeUndefined();
});

test('each text that is a pointer is that of its tokens', () => {
  const token = fc.oneof(
    fc.string({ unit: 'grapheme', maxLength: 8 }),
    fc.constantFrom('~', '/', '~1', '__proto__', ''),
  );
  fc.assert(
    fc.property(fc.array(token, { minLength: 1, maxLength: 8 }), (pointer) => {
      expect(parsePointer(pointerText(pointer))).toEqual(pointer);
    }),
  );
});

describe('what stands at a place', () => {
  const json = '{"a":{"__proto__":{"x":1}},"list":[1,2,3]}';

  test.each([
    ['/a/__proto__', '{"a":{"__proto__":"gone"},"list":[1,2,3]}'],
    ['/a/__proto__/x', '{"a":{"__proto__":{"x":"gone"}},"list":[1,2,3]}'],
    ['/list/1', '{"a":{"__proto__":{"x":1}},"list":[1,"gone",3]}'],
  ])('%s is replaced, whatever it is called', (text, after) => {
    const document = JSON.parse(json) as object;
    placeOf(document, parsePointer(text) ?? [])?.replace('gone');
    expect(JSON.stringify(document)).toBe(after);
  });

  test('is taken out; of an array null stays, so that the others keep their places', () => {
    const document = JSON.parse(json) as object;
    for (const text of ['/a/__proto__', '/list/1']) placeOf(document, parsePointer(text) ?? [])?.remove();
    expect(JSON.stringify(document)).toBe('{"a":{},"list":[1,null,3]}');
  });
});

test('a pointer lies in another by its tokens, and not by its letters', () => {
  const within = (inner: string, outer: string): boolean =>
    isWithin(parsePointer(inner) ?? [], parsePointer(outer) ?? []);
  expect([within('/a/b', '/a'), within('/a', '/a'), within('/ab', '/a'), within('/a', '/a/b')]).toEqual([
    true,
    true,
    false,
    false,
  ]);
});
