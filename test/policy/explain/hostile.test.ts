import { describe, expect, test } from 'vitest';
import { bounds } from '../../../src/policy/explain/bounds.ts';
import { type Explained, explainPolicy } from '../../../src/policy/explain/explain.ts';
import type { ExplainedRule } from '../../../src/policy/explain/explanation.ts';
import { PLACES_ALONE } from '../../../src/policy/explain/places.ts';
import { processorMs } from '../../processor.ts';
import { compiler, read, withFolder } from '../sources.ts';

/** Policies that are made to be dear, or confusing, to explain. */

const limits = { fuel: 20_000_000, memoryPages: 1_024 };
const shared = compiler();

const explained = (rego: string, context: object = {}, entryPoint = 'mandate/decision'): Promise<Explained> =>
  withFolder(
    { 'authz.rego': `package authz\n\n${rego}\n`, 'data.json': '{"table": {"a": 1}}' },
    async (folder) =>
      explainPolicy(
        shared,
        await read(folder),
        {
          entryPoint,
          input: JSON.stringify({
            now: '2026-01-02T03:04:05.678Z',
            subject: { class: 'user', id: 'alice', status: 'active' },
            actors: [],
            grant: null,
            action: { name: 'read' },
            context,
          }),
          nowMs: Date.parse('2026-01-02T03:04:05.678Z'),
          seed: 'seed',
        },
        limits,
      ),
  );

const ruleOf = ({ rules }: Explained, name: string): ExplainedRule => {
  const rule = rules.find((each) => each.name === name);
  if (!rule) throw new Error(`no ${name} in ${JSON.stringify(rules)}`);
  return rule;
};

const failedIn = (told: Explained, at = 0) => ruleOf(told, 'authz.allow').bodies[at]?.failed;

describe('is bounded, and says what was left out:', () => {
  test('a million loop turns', async () => {
    const begun = processorMs();
    const told = await explained(
      'allow if {\n\tsome i in numbers.range(1, 1000000)\n\ti < 0\n}\n\ndeny contains "never" if input.action.name == "write"',
    );
    // The evaluator is ended by its own bounds.
    expect(processorMs() - begun).toBeLessThan(5_000);
    expect(ruleOf(told, 'authz.allow').cut).toMatch(/^its evaluation has too many steps to be traced/);
    // Another rule is explained all the same.
    expect(ruleOf(told, 'authz.deny').bodies[0]?.failed?.text).toBe('input.action.name == "write"');
    expect(told.engine.code).toBe('deadline_exceeded');
    expect(told.agreement).toBe('unknown');
  });

  test('loops that a trace is too short for: the places, without values', async () => {
    const told = await explained(
      `default allow := false

allow if {
	some i in numbers.range(1, 3000)
	i * 2 == 3
	input.context.never
}

allow if {
	input.action.name == "write"
} else if {
	count(input.context.q.r) > 3
}

allow if input.action.name == "read"`,
    );
    expect(ruleOf(told, 'authz.allow')).toMatchObject({
      value: 'true',
      cut: PLACES_ALONE,
      bodies: [
        { line: 3, isDefault: true, held: false },
        { line: 5, held: false, failed: { line: 7, text: 'i * 2 == 3', values: [] } },
        { line: 11, held: false, failed: { line: 12, text: 'input.action.name == "write"' } },
        { line: 13, held: false, failed: { line: 14, text: 'count(input.context.q.r) > 3' } },
        { line: 17, held: true },
      ],
    });
    expect(told).toMatchObject({ agreement: 'same', value: 'allow' });
  });

  test('a value of a megabyte', async () => {
    const told = await explained(
      'allow if {\n\tx := [y | some i in numbers.range(1, 100); y := input.context.long]\n\tcount(x) < 3\n}',
      { long: 'x'.repeat(10_000) },
    );
    const text = JSON.stringify({ ...told, value: undefined });
    expect(text.length).toBeLessThan(20_000);
  });

  test('functions that call functions', async () => {
    const chain = Array.from({ length: 60 }, (_, n) => `f${n}(x) if f${n + 1}(x)`).join('\n\n');
    const told = await explained(`allow if f0(input.action.name)\n\n${chain}\n\nf60(x) if x == "write"`);
    let depth = 0;
    for (let rule = failedIn(told)?.because[0]; rule; rule = rule.bodies[0]?.failed?.because[0]) depth += 1;
    expect(depth).toBe(bounds.depth);
    expect(JSON.stringify(told)).toContain('it is asked too deep to be shown');
  });

  test('a thousand bodies', async () => {
    const bodies = Array.from({ length: 1_000 }, (_, n) => `allow if input.action.name == "${n}"`).join(
      '\n\n',
    );
    const told = await explained(bodies);
    const allow = ruleOf(told, 'authz.allow');
    expect(allow.bodies.length + allow.more).toBe(1_000);
    expect(allow.bodies).toHaveLength(bounds.bodies);
  });

  test('an expression of a thousand terms over a large value, on one long line', async () => {
    const terms = Array.from({ length: 1_000 }, (_, n) => `x["${n}"]`).join(', ');
    const begun = processorMs();
    const told = await explained(`allow if { x := input.context.large; count([${terms}]) == 7 }`, {
      large: Object.fromEntries(Array.from({ length: 1_000 }, (_, n) => [n, 'v'.repeat(50)])),
    });
    expect(processorMs() - begun).toBeLessThan(8_000);
    expect(failedIn(told)?.values.length ?? 0).toBeLessThanOrEqual(bounds.values);
    expect((failedIn(told)?.text ?? '').length).toBeLessThan(bounds.textCharacters + 50);
  });

  test('input nested deep', async () => {
    let deep: unknown = 1;
    for (let n = 0; n < 500; n += 1) deep = [deep];
    const told = await explained('allow if input.context.deep == 7', { deep });
    expect(failedIn(told)?.values[0]?.value).toMatch(/^\[{17}…/);
  });
});

describe('tells', () => {
  test('members called as what objects inherit', async () => {
    const told = await explained(
      'allow if input.context.constructor == "x"\n\nallow if input.context["__proto__"] == 1',
    );
    expect(failedIn(told)?.values).toEqual([{ of: 'input.context.constructor', value: 'undefined' }]);
    expect(failedIn(told, 1)?.values).toEqual([{ of: 'input.context.__proto__', value: 'undefined' }]);
  });

  test('what not, every and calls within calls saw', async () => {
    const told = await explained(
      `allow if not known\n\nknown if input.subject.id == "alice"\n
allow if {
	every n in input.context.numbers {
		n > 1
	}
}

allow if count(input.context.numbers) > 3

allow if input.context.absent.member == 1`,
      { numbers: [3, 2, 1] },
    );
    expect(failedIn(told)).toMatchObject({
      text: 'not known',
      because: [{ name: 'authz.known', value: 'true', bodies: [{ held: true }] }],
    });
    expect(failedIn(told, 1)?.values).toContainEqual({ of: 'n', value: '1' });
    expect(failedIn(told, 2)).toMatchObject({
      text: 'count(input.context.numbers) > 3',
      values: [
        { of: 'input.context.numbers', value: '[3,2,1]' },
        { of: 'count(input.context.numbers)', value: '3' },
      ],
    });
    expect(failedIn(told, 3)?.values).toEqual([{ of: 'input.context.absent.member', value: 'undefined' }]);
  });

  test('the time of the decision, in both engines', async () => {
    const told = await explained(
      'allow if time.now_ns() == 1767323045678000000\n\nreasons contains sprintf("%d", [time.now_ns()])',
    );
    expect(told.agreement).toBe('same');
    expect(ruleOf(told, 'authz.allow').value).toBe('true');
    expect(ruleOf(told, 'authz.reasons').value).toBe('["1767323045678000000"]');
  });

  test('that what is drawn may differ', async () => {
    const told = await explained('allow if rand.intn("x", 1000000) >= 0');
    expect(told.notes).toEqual([expect.stringContaining('rand.intn draw') as unknown]);
  });

  test('values of data, else and a rule of several values', async () => {
    const told = await explained(
      'allow := false if { data.table.a == 2 } else := true if { data.table.a == 3 }\n\ndeny contains {"code": c} if some c in input.context.codes',
      { codes: ['a', 'b'] },
    );
    expect(ruleOf(told, 'authz.allow').bodies.map(({ failed }) => failed?.values)).toEqual([
      [{ of: 'data.table.a', value: '1' }],
      [{ of: 'data.table.a', value: '1' }],
    ]);
    expect(ruleOf(told, 'authz.deny').bodies[0]).toMatchObject({
      held: true,
      gave: ['{"code":"a"}', '{"code":"b"}'],
    });
  });

  test('no rule that the tenant does not have, and no entry point that is not the platform’s', async () => {
    const told = await explained('allow := true');
    expect(told.rules.map(({ name }) => name)).toEqual(['authz.allow']);
    await expect(explained('allow := true', {}, 'authz/allow')).rejects.toMatchObject({
      code: 'invalid_request',
    });
  });
});

describe('names the place of', () => {
  test.each([
    [
      'two values of a rule',
      'allow if input.context.a == 1\n\nallow := false if input.context.a == 1',
      'authz.rego:5:1: var assignment conflict',
    ],
    [
      'two values of a function',
      'f(x) := 1 if x > 0\n\nf(x) := 2 if x > 0\n\nallow if f(input.context.a) == 9',
      'authz.rego:5:1: var assignment conflict',
    ],
    [
      'two values of a key',
      'o[k] := v if {\n\tsome k in ["a"]\n\tsome v in [1, 2]\n}\n\nallow if o.a == input.context.a',
      'authz.rego:3:1: object insert conflict',
    ],
    [
      'two values of a key of a comprehension',
      'allow if {k: v | some k in ["a"]; some v in [1, 2]}.a == input.context.a',
      'authz.rego:3:10: object insert conflict',
    ],
  ])('%s', async (_, rego, message) => {
    const told = await explained(rego, { a: 1 });
    expect(told.engine).toMatchObject({ code: 'policy_failed', message });
    expect(told.failed).toMatchObject({ place: message.slice(0, message.indexOf(': ')) });
    expect(told.opa.code).toBe('eval_conflict_error');
    expect(told.agreement).toBe('same');
  });
});
