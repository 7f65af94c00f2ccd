import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { editDistance, near } from '../../../src/policy/naming/near.ts';

/** What was probably meant, and what chance explains as well. */

describe('near', () => {
  test.each([
    ['edtor', 'editor'],
    ['raeder', 'reader'],
    ['Reader', 'reader'],
    ['documnet.read', 'document.read'],
    ['document.edt', 'document.edit'],
    ['complaince', 'compliance'],
  ])('%s is %s', (name, meant) => {
    expect(near(name, ['sales', 'auditor', meant])).toBe(meant);
  });

  test.each([
    ['document.get', 'document.set'],
    ['node-1', 'node-2'],
    ['team7', 'team'],
    ['hr', 'it'],
    ['reader', 'header-writer'],
    ['x'.repeat(200), `${'x'.repeat(199)}y`],
  ])('%s is not %s', (name, other) => {
    expect(near(name, [other])).toBeUndefined();
  });

  test('of several the nearest, and never itself', () => {
    expect(near('editors', ['editorial', 'editor', 'editors'])).toBe('editor');
  });
});

describe('editDistance', () => {
  /** The definition, without a bound and without rows. */
  const reference = (a: string, b: string): number => {
    const at = (i: number, j: number): number => {
      if (i === 0 || j === 0) return i + j;
      const least = Math.min(
        at(i - 1, j) + 1,
        at(i, j - 1) + 1,
        at(i - 1, j - 1) + Number(a[i - 1] !== b[j - 1]),
      );
      const swapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      return swapped ? Math.min(least, at(i - 2, j - 2) + 1) : least;
    };
    return at(a.length, b.length);
  };
  const short = fc.string({ unit: fc.constantFrom('a', 'b', 'c'), maxLength: 6 });

  test('is what its definition says, and one more than the bound beyond it', () => {
    fc.assert(
      fc.property(short, short, fc.nat(4), (a, b, most) => {
        expect(editDistance(a, b, most)).toBe(Math.min(reference(a, b), most + 1));
      }),
    );
  });
});
