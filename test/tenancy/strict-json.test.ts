import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { checkStrict } from '../../src/tenancy/strict-json.ts';

type Tree = { members: [name: string, value: Tree][] } | { items: Tree[] } | { leaf: string };

const spelled = (name: string, how: number): string =>
  `"${Array.from(name, (char, at) => ((how >> at) & 1 ? `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}` : char)).join('')}"`;

const name = fc.constantFrom('a', 'b', 'ab', '', '{', ':', ',', 'é', ']');
const spaces = fc.constantFrom('', '', ' ', '\n\t ', '\r');
const { tree } = fc.letrec<{ tree: Tree }>((tie) => ({
  tree: fc.oneof(
    { maxDepth: 4 },
    fc
      .constantFrom('1', 'null', 'true', '"x"', '"\\""', '"\\\\"', '"}"', '"\\u005c"')
      .map((leaf) => ({ leaf })),
    fc.array(fc.tuple(name, tie('tree')), { maxLength: 3 }).map((members) => ({ members })),
    fc.array(tie('tree'), { maxLength: 3 }).map((items) => ({ items })),
  ),
}));

const written = (each: Tree, how: number, gap: string): string => {
  if ('leaf' in each) return each.leaf;
  if ('items' in each) return `[${each.items.map((item) => written(item, how, gap)).join(`${gap},`)}]`;
  const members = each.members.map(
    ([key, value], at) => `${gap}${spelled(key, how >> at)}${gap}:${written(value, how, gap)}`,
  );
  return `{${members.join(',')}${gap}}`;
};

const depthOf = (each: Tree): number => {
  if ('leaf' in each) return 0;
  const inner = 'items' in each ? each.items : each.members.map(([, value]) => value);
  return 1 + Math.max(0, ...inner.map(depthOf));
};

const repeats = (each: Tree): boolean => {
  if ('leaf' in each) return false;
  if ('items' in each) return each.items.some(repeats);
  const names = each.members.map(([key]) => key);
  return new Set(names).size < names.length || each.members.some(([, value]) => repeats(value));
};

describe('JSON is strict', () => {
  test('where no member stands twice, however it is spelled, and it is not too deep', () => {
    const met = { sound: 0, refused: 0 };
    fc.assert(
      fc.property(tree, fc.nat(255), spaces, (each, how, gap) => {
        const text = written(each, how, gap);
        JSON.parse(text);
        const isSound = !repeats(each) && depthOf(each) <= 3;
        met[isSound ? 'sound' : 'refused'] += 1;
        const check = expect(() => checkStrict(text, 3));
        if (isSound) check.not.toThrow();
        else check.toThrow(SyntaxError);
      }),
      { numRuns: 2_000 },
    );
    expect(Math.min(met.sound, met.refused)).toBeGreaterThan(50);
  });

  test.each([
    ['half a pair', '{"a":"\\ud800"}'],
    ['half a pair, as it is', '{"a":"\ud800"}'],
    ['half a pair in a name', '{"\\udc00":1}'],
    ['the same name, spelled otherwise', '{"a":1,"\\u0061":2}'],
    ['the same name after an object', '{"a":{"a":1},"a":2}'],
  ])('and not with %s', (_what, text) => {
    expect(() => JSON.parse(text)).not.toThrow();
    expect(() => checkStrict(text, 8)).toThrow(SyntaxError);
  });

  test('what is no JSON is left to the parser, and takes no longer', () => {
    for (const text of ['"', '{"a', '{"a\\', '"\\', '{"a" "b":1}', '"a\nb"']) {
      expect(() => JSON.parse(text)).toThrow();
      try {
        checkStrict(text, 8);
      } catch (error) {
        expect(error).toBeInstanceOf(SyntaxError);
      }
    }
  });
});
