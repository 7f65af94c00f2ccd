import { describe, expect, test } from 'vitest';
import { ServiceError } from '../../../src/errors.ts';
import { compileTests, entrypointOf } from '../../../src/policy/testing/compilation.ts';
import { type Evaluated, Evaluator } from '../../../src/policy/testing/evaluation.ts';
import { judge } from '../../../src/policy/testing/judgement.ts';
import { type Opinion, opinionsIn } from '../../../src/policy/testing/opinion.ts';
import { outcomeOf, reportOf } from '../../../src/policy/testing/report.ts';
import { compiler, read, withFolder } from '../sources.ts';

const place = { file: 'tenant/a_test.rego', row: 3, col: 1 };
const opinion = (said: Partial<Opinion> = {}): Opinion => ({
  location: place,
  package: 'data.authz_test',
  name: 'test_x',
  duration: 5,
  ...said,
});
const evaluated = (said: Partial<Evaluated>): Evaluated => ({
  verdict: 'pass',
  cost: 7,
  milliseconds: 0.5,
  ...said,
});
const failed = (code: 'deadline_exceeded' | 'policy_failed'): Evaluated =>
  evaluated({
    verdict: code === 'policy_failed' ? 'error' : 'limited',
    error: new ServiceError(code, 'It ended.', { detail: 'why' }),
  });
const conflict = { code: 'eval_conflict_error', message: 'two values', location: { file: 'a', row: 1 } };

describe('a test', () => {
  test('passes where both say so, with the engine’s time and cost', () => {
    const judged = judge(opinion(), evaluated({}), false);
    expect(judged).toEqual({ ...opinion(), duration: 500_000, cost: 7 });
    expect(outcomeOf(judged)).toBe('PASS');
  });

  test.each([
    ['fails', 'fail', { fail: true }, 'FAIL'],
    ['is in error', 'error', { error: conflict }, 'ERROR'],
  ] as const)('%s where both say so', (_name, verdict, said, outcome) => {
    const own = verdict === 'error' ? failed('policy_failed') : evaluated({ verdict });
    const judged = judge(opinion(said), own, false);
    expect(outcomeOf(judged)).toBe(outcome);
    expect(judged.differs).toBeUndefined();
  });

  test.each([
    ['pass', 'fail', evaluated({}), opinion({ fail: true })],
    ['fail', 'pass', evaluated({ verdict: 'fail' }), opinion()],
    ['error', 'pass', failed('policy_failed'), opinion()],
    ['error', 'fail', failed('policy_failed'), opinion({ fail: true })],
    ['pass', 'error', evaluated({}), opinion({ error: conflict })],
    ['fail', 'error', evaluated({ verdict: 'fail' }), opinion({ error: conflict })],
  ])('fails where the engine says %s and OPA’s evaluator %s', (engine, opa, own, said) => {
    const judged = judge(said, own, false);
    expect(judged.differs).toEqual({ engine, opa });
    expect(outcomeOf(judged)).toBe('FAIL');
    const report = reportOf([judged], '', false);
    expect(report).toMatch(/^tenant\/a_test\.rego:3:\ndata\.authz_test\.test_x: FAIL /);
    expect(report).toContain(`The engine that serves says ${engine}, OPA's evaluator says ${opa}.`);
    expect(report).toContain("a fault of Mandate's, not of the policy");
    expect(report).toMatch(/FAIL: 1\/1\n$/);
  });

  test('that the tenant’s limits end is in error whatever OPA says, and nothing differs', () => {
    for (const said of [{}, { fail: true }, { error: conflict }]) {
      const judged = judge(opinion(said), failed('deadline_exceeded'), false);
      expect(judged.error).toEqual({ code: 'deadline_exceeded', message: 'It ended.', detail: 'why' });
      expect([outcomeOf(judged), judged.differs]).toEqual(['ERROR', undefined]);
    }
  });

  test('of which OPA’s evaluator has no opinion does not pass', () => {
    const judged = judge(opinion({ error: { code: 'eval_cancel_error' } }), evaluated({}), false);
    expect(judged).toMatchObject({ error: { code: 'unavailable' } });
    expect(outcomeOf(judged)).toBe('ERROR');
  });
});

describe('a test with cases', () => {
  const tried = {
    a: { name: 'a' },
    b: { name: 'b', fail: true, sub_results: { x: { name: 'x' }, y: { name: 'y', fail: true } } },
  };

  test('is told by case, those that hold from the engine’s value', () => {
    const own = evaluated({ verdict: 'fail', value: '{"a": true, "b": {"x": true}}' });
    const judged = judge(opinion({ fail: true, sub_results: tried }), own, true);
    expect(judged).toMatchObject({ fail: true, sub_results: tried });
    expect(judged.differs).toBeUndefined();
    expect(reportOf([judged], '', true)).toContain('  a: PASS\n  b: FAIL\n    x: PASS\n    y: FAIL\n');
    expect(reportOf([judged], '', true)).toMatch(/PASS: 2\/3\nFAIL: 1\/3\n$/);
  });

  test.each([
    ['a case that fails here alone', '{"b": {"x": true}}', 'fail (a, b/y)'],
    ['a case that holds here alone', '{"a": true, "b": {"x": true, "y": true}}', 'pass'],
    ['a case that OPA has not tried', '{"a": true, "b": {"x": true}, "c": true}', 'fail (b/y)'],
    ['a case that is no boolean', '{"a": 1, "b": {"x": true}}', 'fail (a, b/y)'],
  ])('differs by %s', (_name, value, engine) => {
    const judged = judge(
      opinion({ fail: true, sub_results: tried }),
      evaluated({ verdict: 'fail', value }),
      true,
    );
    expect(judged).toMatchObject({ fail: true, differs: { engine, opa: 'fail (b/y)' } });
  });
});

// It is undefined for what is longer than 300 characters.
test('a built-in that answers wrongly on the engine is found by the second opinion', () =>
  withFolder(
    {
      'a.rego': 'package authz\n\nallow if regex.globs_match(input.note, input.note)\n',
      'a_test.rego': `package authz_test\n\ntest_x if data.authz.allow with input.note as "${'n'.repeat(400)}"\n\ntest_y if not data.authz.allow\n`,
    },
    async (folder) => {
      const sources = await read(folder);
      const judged = await compiler().withTests(sources, async (bench) => {
        const { tests, module } = await compileTests(bench, sources, () => () => false);
        const { stdout } = await bench.run(['test', '--format', 'json', 'platform', 'tenant', 'data']);
        if (!module) throw new Error('nothing to run');
        const limits = { fuel: 1_000_000, memoryPages: 256 };
        const evaluator = new Evaluator(module, sources.data, limits, () => 0);
        return (opinionsIn(stdout) ?? []).map((each) => {
          const rule = tests.find(({ location }) => location.row === each.location.row);
          if (!rule) throw new Error('not found');
          return judge(each, evaluator.evaluate(entrypointOf(rule), { nowMs: 0, seed: '' }), rule.cases);
        });
      });
      const byName = Object.fromEntries(judged.map((each) => [each.name, each]));
      expect(byName['test_x']).toMatchObject({ fail: true, differs: { engine: 'fail', opa: 'pass' } });
      expect(outcomeOf(byName['test_y'] as (typeof judged)[0])).toBe('PASS');
    },
  ));
