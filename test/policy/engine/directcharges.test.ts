import { describe, expect, test } from 'vitest';
import type { BuiltinContext } from '../../../src/policy/engine/builtins/builtin.ts';
import { hostBuiltins } from '../../../src/policy/engine/builtins/index.ts';
import { FuelExhausted } from '../../../src/policy/engine/failure.ts';
import { parseJson } from '../../../src/policy/engine/values/parse.ts';
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

  test('many keys of YAML take a time in proportion to them: each is looked at once', () => {
    const text = Array.from({ length: 30_000 }, (_, index) => `k${index}: ${index}`).join('\n');
    const json = `{${Array.from({ length: 30_000 }, (_, index) => `"k${index}":${index}`).join(',')}}`;
    expect(call('yaml.unmarshal', [text], Number.POSITIVE_INFINITY)).toEqual(parseJson(json));
  });
});
