import { describe, expect, test } from 'vitest';
import { outcomeOf } from '../../../src/policy/testing/report.ts';
import { tested, withFolder } from '../sources.ts';

const base = {
  'authz.rego': 'package authz\n\ndefault allow := false\n\nallow if input.x == 1\n',
  'delegation.rego': 'package delegation\n\nallow := true\n',
};

/** The outcome of each test by OPA's name for it; no two may differ. */
const outcomes = (files: Readonly<Record<string, string>>): Promise<Record<string, string>> =>
  withFolder({ ...base, ...files }, async (folder) => {
    const ran = await tested(folder);
    if (!('tests' in ran)) throw new Error(ran.refused.stderr);
    for (const each of ran.tests) expect(each.differs, each.name).toBeUndefined();
    return Object.fromEntries(ran.tests.map((each) => [`${each.package}.${each.name}`, outcomeOf(each)]));
  });

describe('tests are found as opa test finds them:', () => {
  test('by prefix, in packages and references of any spelling, and among what decides', async () => {
    const rego = [
      'package authz["x-y"].z_test',
      'test_plain if true',
      'test_no if false',
      'todo_test_later if false',
      'deep.test_inner if true',
      'helper_test_x if false',
      'test_case.one if true',
    ].join('\n\n');
    expect(
      await outcomes({ 'a_test.rego': rego, 'own.rego': 'package authz.own\n\ntest_here if true\n' }),
    ).toEqual({
      'data.authz["x-y"].z_test.test_plain': 'PASS',
      'data.authz["x-y"].z_test.test_no': 'FAIL',
      'data.authz["x-y"].z_test.todo_test_later': 'SKIPPED',
      'data.authz["x-y"].z_test.deep.test_inner': 'PASS',
      // An object by itself, which is not true.
      'data.authz["x-y"].z_test.test_case': 'FAIL',
      'data.authz.own.test_here': 'PASS',
    });
  });

  test('one a rule, also where several have a name', async () => {
    const rego = [
      'package authz_test',
      'test_a if true # 𝄞',
      'test_a if false',
      'deep["test_b"] if false',
      'deep["test_b"] if true',
      'default test_c := false',
      'test_c if true',
    ].join('\n\n');
    expect(await outcomes({ 'a_test.rego': rego })).toEqual({
      'data.authz_test.test_a': 'PASS',
      'data.authz_test.test_a#01': 'FAIL',
      'data.authz_test.deep.test_b': 'FAIL',
      'data.authz_test.deep["test_b#01"]': 'PASS',
      'data.authz_test.test_c': 'FAIL',
      'data.authz_test.test_c#01': 'PASS',
    });
  });

  test('and judged by their value: only true passes', async () => {
    const rego = [
      'package authz_test',
      'test_number := 1',
      'test_set contains 1',
      'test_object := {"a": true}',
      'test_false := false',
      'test_else := false if false else := true',
      'test_function(x) if x',
      'test_empty[x] if some x in []',
    ].join('\n\n');
    expect(await outcomes({ 'a_test.rego': rego })).toEqual({
      'data.authz_test.test_number': 'FAIL',
      'data.authz_test.test_set': 'FAIL',
      'data.authz_test.test_object': 'FAIL',
      'data.authz_test.test_false': 'FAIL',
      'data.authz_test.test_else': 'PASS',
      'data.authz_test.test_function': 'ERROR',
      'data.authz_test.test_empty': 'PASS',
    });
  });
});

describe('with replaces on the engine that serves', () => {
  test('input, data, rules, functions and built-ins, also those that no decision has', async () => {
    const own = [
      'package authz.own',
      'role := data.roles[input.user]',
      'fetch(url) := http.send({"method": "get", "url": url}).body',
      'now := time.now_ns()',
      'twice(x) := x * 2',
      'sum := twice(input.n) + 1',
      'admin if data.authz.allow',
    ].join('\n\n');
    const rego = [
      'package authz_test',
      'import data.authz.own',
      'test_input if data.authz.allow with input.x as 1',
      'test_data if own.role == "admin" with input.user as "bob" with data.roles as {"bob": "admin"}',
      'test_data_within if own.role == "r" with input as {"user": "b"} with data.roles.b as "r"',
      'test_rule if own.admin with data.authz.allow as true',
      'test_rule_twice if {\n\town.admin with data.authz.allow as true\n\tnot own.admin\n}',
      'test_function if own.sum == 8 with input.n as 7 with own.twice as thrice',
      'test_value if own.sum == 5 with input.n as 7 with own.twice as 4',
      'test_builtin if own.now == 5 with time.now_ns as 5',
      'test_http if own.fetch("x") == "ok" with http.send as send',
      'test_earnest if own.fetch("http://127.0.0.1:1/")',
      'thrice(x) := x',
      'send(_) := {"body": "ok"}',
    ].join('\n\n');
    const found = await outcomes({ 'own.rego': own, 'a_test.rego': rego });
    expect(found['data.authz_test.test_earnest']).toBe('ERROR');
    delete found['data.authz_test.test_earnest'];
    expect(Object.keys(found)).toHaveLength(9);
    expect(new Set(Object.values(found))).toEqual(new Set(['PASS']));
  });

  test('in any order: the compiler mixes up documents behind functions, so they are put before', async () => {
    const own =
      'package authz.own\n\ntwice(x) := x * 2\n\nsum := twice(input.n) + data.offset\n\nlength := count(input.list) + data.offset\n';
    const rego = [
      'package authz_test',
      'import data.authz.own',
      'import data.authz.own.twice as double',
      'once(x) := x',
      'test_function if own.sum == 8 with own.twice as once with input.n as 7 with data.offset as 1',
      'test_alias if own.sum == 8 with double as once with data.offset as 1 with input as {"n": 7}',
      'test_between if own.sum == 8 with data.offset as 1 with own.twice as once with input.n as 7 # 𝄞',
      'test_own if { "𝄞" != ""; local(1) == 4 with local as 4 with input.n as 1 }',
      'local(x) := x + input.n',
      'test_builtin if own.length == 8 with count as 7 with data.offset as 1 with input.list as []',
      'test_lines if own.sum == 8 with own.twice as once\n\twith input.n as 7 # c\n\twith data.offset as 1',
      'test_within if [own.sum | true with own.twice as once] != [] with own.twice as [s | s := own.sum with own.twice as once with input.n as 1 with data.offset as 1][0] with input.n as 7 with data.offset as 1',
      'test_lib if data.authz.lib == 1 with data.mandate.lib.has_role as true with input.x as 1',
    ].join('\n\n');
    const found = await outcomes({
      'own.rego': own,
      'lib.rego':
        'package authz\n\nimport data.mandate.lib as platform\n\nlib := input.x if platform.has_role("x")\n',
      'a_test.rego': rego,
    });
    expect(Object.values(found)).toHaveLength(8);
    expect(found).toEqual(Object.fromEntries(Object.keys(found).map((name) => [name, 'PASS'])));
  });

  test('and nothing of it is left for the next test', async () => {
    const rego =
      'package authz_test\n\ntest_a if data.authz.allow with data.authz.allow as true\n\ntest_b if not data.authz.allow\n\n' +
      'test_c if not json.is_valid("false{")\n\ntest_d if json.is_valid("true")\n';
    expect(new Set(Object.values(await outcomes({ 'a_test.rego': rego })))).toEqual(new Set(['PASS']));
  });
});

test('a test that the compiler has no plan for is an error, and hides none of the others', () =>
  withFolder(
    {
      ...base,
      'own.rego': 'package authz.own\n\nf(x) := x * 2\n\ng(x) := f(x) + 1\n',
      'a_test.rego':
        'package a_test\n\nimport data.authz.own\n\ntest_a if own.g(1) == 3\n\ntest_round if own.g(1) with own.f as own.g\n\n' +
        'test_b if own.g(1) == 4\n\ntest_round_too if own.g(2) with own.f as own.g\n',
    },
    async (folder) => {
      const ran = await tested(folder);
      if (!('tests' in ran)) throw new Error(ran.refused.stderr);
      expect(ran.tests.map((each) => [each.name, outcomeOf(each), each.error?.code])).toEqual([
        ['test_a', 'PASS', undefined],
        ['test_round', 'ERROR', 'policy_invalid'],
        ['test_b', 'FAIL', undefined],
        ['test_round_too', 'ERROR', 'policy_invalid'],
      ]);
      expect(ran.tests[1]?.error?.detail).toMatch(
        /OPA's compiler fails on this by a fault of its own: runtime error/,
      );
    },
  ));
