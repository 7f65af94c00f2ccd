import { describe, expect, test } from 'vitest';
import { policyInvalid } from '../../../src/policy/diagnostics.ts';
import { planned } from '../../../src/policy/testing/planning.ts';

const names = Array.from({ length: 100 }, (_, at) => `t${at}`);
const buildWithout = (bad: readonly string[]) => {
  const built: (readonly string[])[] = [];
  const build = (some: readonly string[]): Promise<readonly string[]> => {
    built.push(some);
    if (some.some((each) => bad.includes(each)))
      return Promise.reject(policyInvalid([{ file: 'policy', line: 0, message: 'no plan' }]));
    return Promise.resolve(some);
  };
  return { build, built };
};

describe('what is built', () => {
  test('is all at once where all can be', async () => {
    const { build, built } = buildWithout([]);
    expect(await planned(names, build)).toEqual({ built: names, refused: new Map() });
    expect(built).toHaveLength(1);
  });

  test('is all but what the compiler refuses, which is told', async () => {
    const { build, built } = buildWithout(['t3', 't77']);
    const { built: whole, refused } = await planned(names, build);
    expect(whole).toEqual(names.filter((each) => !['t3', 't77'].includes(each)));
    expect([...refused.keys()]).toEqual(['t3', 't77']);
    expect(refused.get('t3')).toContain('no plan');
    expect(built.length).toBeLessThan(40);
  });

  test('is nothing where a few are refused and no other is left', async () => {
    const { build } = buildWithout(['t0', 't1']);
    expect(await planned(['t0', 't1'], build)).toMatchObject({ built: undefined });
  });

  test('is given up where too many are refused, or the machine is at fault', async () => {
    const { build, built } = buildWithout(names);
    await expect(planned(names, build)).rejects.toThrow('no plan');
    expect(built.length).toBeLessThanOrEqual(40);
    await expect(planned(names, () => Promise.reject(new Error('gone')))).rejects.toThrow('gone');
  });
});
