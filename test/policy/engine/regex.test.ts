import { RE2JS } from 're2js';
import { describe, expect, test } from 'vitest';
import type { BuiltinContext } from '../../../src/policy/engine/builtins/builtin.ts';
import { compile, keptSize } from '../../../src/policy/engine/builtins/regex/compiled.ts';
import { sizeOf } from '../../../src/policy/engine/builtins/regex/size.ts';
import { FuelExhausted } from '../../../src/policy/engine/failure.ts';
import { catalog } from './differential/catalog.ts';
import { Draw } from './differential/draw.ts';

const free: BuiltinContext = { nowMs: 0, seed: '', spend: () => {} };

function withFuel(units: number): BuiltinContext {
  let left = units;
  return {
    ...free,
    spend: (asked) => {
      left -= asked;
      if (left < 0) throw new FuelExhausted('gone');
    },
  };
}

describe('regular expressions', () => {
  test.each([
    ['repetitions in a row', 'a{1000}'.repeat(700)],
    ['repetitions of groups', '((a|b){31}){31}'.repeat(40)],
    ['repetitions of classes', '[a-z0-9]{1000}'.repeat(300)],
    ['optional repetitions', '(x{0,1000})'.repeat(300)],
  ])('%s are paid for before the program is built', (_, pattern) => {
    const before = keptSize();
    expect(() => compile(pattern, withFuel(20_000_000))).toThrow(FuelExhausted);
    // Nothing was built, or it would have been kept, or taken seconds.
    expect(keptSize()).toBe(before);
  });

  test('what the parser refuses costs no more than to read it', () => {
    expect(() => compile('((a{100}){100})', withFuel(2_000_000))).toThrow('not a regular expression');
    expect(() => compile('a{1001}', withFuel(2_000_000))).toThrow('not a regular expression');
  });

  test('the bound holds for what patterns compile to', () => {
    const draw = new Draw(1);
    const generate = catalog['regex.is_valid']?.[0];
    for (let round = 0; round < 3_000; round += 1) {
      const pattern = generate?.(draw);
      if (typeof pattern !== 'string') throw new Error('no pattern');
      let built: number;
      try {
        built = RE2JS.compile(pattern).programSize();
      } catch {
        continue;
      }
      expect(sizeOf(pattern).instructions, pattern).toBeGreaterThanOrEqual(built);
    }
  });

  test('what is kept is bounded by its size, however many there are', () => {
    for (let number = 0; number < 300; number += 1) compile(`${number}(abc){1000}`, free);
    expect(keptSize()).toBeLessThanOrEqual(500_000);
    const before = keptSize();
    compile('(abcdefghijkl){1000}', free);
    expect(keptSize()).toBe(before);
  });
});
