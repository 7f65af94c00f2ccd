import { describe, expect, test } from 'vitest';
import { Fields } from '../../src/http2/fields.ts';

/** Fields whose list tells how often it was looked into. */
function counting(pairs: readonly (readonly [string, string])[]) {
  const fields = new Fields();
  for (const [name, value] of pairs) fields.list.push(name, value);
  const seen = { looks: 0 };
  const list = new Proxy(fields.list, {
    get(target, key, receiver) {
      if (typeof key === 'string' && /^\d+$/.test(key)) seen.looks += 1;
      return Reflect.get(target, key, receiver);
    },
  });
  Object.defineProperty(fields, 'list', { value: list });
  return { fields, seen };
}

describe('the fields of a request', () => {
  test('by name: all of one in their order, joined as RFC 9110 5.3 and RFC 9113 8.2.3 say', () => {
    const { fields } = counting([
      ['a', '1'],
      ['cookie', 'x=1'],
      ['b', ''],
      ['a', '2'],
      ['cookie', 'y=2'],
      ['a', ''],
    ]);
    expect(fields.get('a')).toBe('1, 2, ');
    expect(fields.get('cookie')).toBe('x=1; y=2');
    expect(fields.get('c')).toBe(undefined);
    expect({ ...fields.toRecord() }).toEqual({ a: '1, 2, ', cookie: 'x=1; y=2', b: '' });
  });

  test('no name is one of the prototype', () => {
    const names = ['__proto__', 'constructor', 'toString', 'hasOwnProperty'];
    const { fields } = counting(names.map((name) => [name, name]));
    const record = fields.toRecord();
    expect(Object.keys(record).sort()).toEqual(names.sort());
    expect(Object.getPrototypeOf(record)).toBe(null);
  });

  test.each([
    ['of many names', Array.from({ length: 990 }, (_, at) => [at.toString(36), ''] as const)],
    ['of one name', Array.from({ length: 990 }, () => ['a', ''] as const)],
    ['empty ones of two names', Array.from({ length: 990 }, (_, at) => [`${at % 2}`, ''] as const)],
  ])('all of them cost as many steps as there are, not their square: %s', (_what, pairs) => {
    // 990 are what 32 KiB have room for, and five kilobytes to send.
    const { fields, seen } = counting(pairs);
    fields.toRecord();
    expect(seen.looks).toBeLessThan(20 * pairs.length);
  });
});
