import { describe, expect, test } from 'vitest';
import type { BuiltinContext } from '../../../src/policy/engine/builtins/builtin.ts';
import { hostBuiltins } from '../../../src/policy/engine/builtins/index.ts';
import { FuelExhausted } from '../../../src/policy/engine/failure.ts';
import { parseJson } from '../../../src/policy/engine/values/parse.ts';
import { Draw } from './differential/draw.ts';
import { directAdversaries } from './directadversaries.ts';

function withFuel(units: number): BuiltinContext {
  let left = units;
  return {
    nowMs: 0,
    seed: '',
    spend: (asked) => {
      left -= asked;
      if (!(left >= 0)) throw new FuelExhausted('gone');
    },
  };
}

function call(
  builtin: string,
  args: Parameters<NonNullable<ReturnType<typeof hostBuiltins.get>>>[0],
  units: number,
) {
  return hostBuiltins.get(builtin)?.(args, withFuel(units));
}

describe('what a built-in does is paid for, however it is called', () => {
  test.each(directAdversaries.map(({ builtin, name, args, units }) => [units, builtin, name, args] as const))(
    '%d units are not enough for %s of %s',
    (units, builtin, _, args) => {
      expect(() => call(builtin, args, units)).toThrow(FuelExhausted);
    },
  );

  test.each([
    ['json.unmarshal', `${'['.repeat(5_000)}${']'.repeat(5_000)}`],
    ['json.unmarshal', '{"a":'.repeat(20_000)],
    ['yaml.unmarshal', `${'['.repeat(5_000)}${']'.repeat(5_000)}`],
    ['yaml.unmarshal', '- '.repeat(20_000)],
    ['yaml.unmarshal', '&a [*a]'],
    ['glob.match', '{'.repeat(50_000)],
    ['regex.match', '('.repeat(50_000)],
  ])('%s fails for what is nested too deeply, and nothing else does', (builtin, text) => {
    const args =
      builtin === 'glob.match' ? [text, null, 'a'] : builtin === 'regex.match' ? [text, 'a'] : [text];
    expect(() => call(builtin, args, Number.POSITIVE_INFINITY)).toThrow(
      expect.objectContaining({ constructor: expect.objectContaining({ name: 'BuiltinError' }) }),
    );
  });

  test('a search takes no longer than it costs', () => {
    const [haystack, needle] = ['a'.repeat(1_000_000), `${'a'.repeat(200_000)}b${'a'.repeat(200_000)}`];
    // The runtime's own search would take minutes for each.
    const enough = 100_000_000;
    expect(call('contains', [haystack, needle], enough)).toBe(false);
    expect(call('contains', [`${haystack}b${haystack}`, needle], enough)).toBe(true);
    expect(call('indexof', [haystack, needle], enough)).toBe(-1);
    expect(call('indexof_n', [`${haystack}b${haystack}`, needle], enough)).toEqual([800_000]);
    expect(call('strings.count', [haystack, needle], enough)).toBe(0);
    expect(call('split', [`${haystack}b${haystack}`, needle], enough)).toEqual([
      'a'.repeat(800_000),
      'a'.repeat(800_000),
    ]);
    expect(call('replace', [`${haystack}b${haystack}`, needle, 'x'], enough)).toBe(
      `${'a'.repeat(800_000)}x${'a'.repeat(800_000)}`,
    );
  });

  test('and finds what the runtime finds', () => {
    const draw = new Draw(3);
    for (let round = 0; round < 200; round += 1) {
      const text = Array.from({ length: 800 }, () => draw.one(['a', 'a', 'a', 'b'])).join('');
      const part = draw.chance(2)
        ? text.slice(300, 390)
        : `${'a'.repeat(45)}${draw.one(['a', 'b'])}${'a'.repeat(45)}`;
      expect(call('indexof', [text, part], 1e9)).toBe(text.indexOf(part));
      expect(call('split', [text, part], 1e9)).toEqual(text.split(part));
      const places = Array.from(text, (_, at) => at).filter((at) => text.startsWith(part, at));
      expect(call('indexof_n', [text, part], 1e9)).toEqual(places);
    }
  });

  test('many keys of YAML take a time in proportion to them: each is looked at once', () => {
    const text = Array.from({ length: 30_000 }, (_, index) => `k${index}: ${index}`).join('\n');
    const json = `{${Array.from({ length: 30_000 }, (_, index) => `"k${index}":${index}`).join(',')}}`;
    expect(call('yaml.unmarshal', [text], Number.POSITIVE_INFINITY)).toEqual(parseJson(json));
  });
});
