import { beforeAll, describe, expect, test } from 'vitest';
import { PolicyModule } from '../../../src/policy/engine/module.ts';
import { buildWasm, context, limits } from './opa.ts';

const policy = `package test

double := input.x * 2

echo := input

config := data.config

# Two values for one rule: a conflict at evaluation.
conflict := input.x

conflict := input.y

# Each comprehension is four times as large as the one before.
huge := h if {
  a := numbers.range(1, 10000)
  b := [x | some x in a; some _ in [1, 2, 3, 4]]
  c := [x | some x in b; some _ in [1, 2, 3, 4]]
  d := [x | some x in c; some _ in [1, 2, 3, 4]]
  e := [x | some x in d; some _ in [1, 2, 3, 4]]
  h := [x | some x in e; some _ in [1, 2, 3, 4]]
}

undefined_builtin := time.parse_rfc3339_ns(input.text)

expanded := count(net.cidr_expand(input.cidr))

padded := count(sprintf(input.format, ["x"]))
`;

const rules = ['double', 'echo', 'config', 'conflict', 'huge', 'undefined_builtin', 'expanded', 'padded'];

describe('PolicyInstance', () => {
  let module: PolicyModule;
  beforeAll(async () => {
    module = PolicyModule.compile(
      await buildWasm(
        policy,
        rules.map((rule) => `test/${rule}`),
      ),
    );
  });
  const fresh = (memoryPages = limits.memoryPages) =>
    module.instantiate('{"config": {"a": [1]}}', { ...limits, memoryPages });

  test('names the entry points', () => {
    expect([...module.entrypoints.keys()].sort()).toEqual(rules.map((rule) => `test/${rule}`).sort());
  });

  test('evaluates JSON text, and refuses what is neither that nor a Rego value', () => {
    const instance = fresh();
    expect(instance.evaluate('test/double', '{"x": 21}', context).result).toBe(42);
    expect(instance.evaluateToJson('test/echo', '{{2, 1}: set()}', context).result).toBe('{"[1,2]":[]}');
    expect(() => instance.evaluate('test/double', '{"x": 21', context)).toThrow(
      expect.objectContaining({ code: 'invalid_request' }),
    );
  });

  test('gives undefined for an empty result set and for an undefined input', () => {
    const instance = fresh();
    expect(instance.evaluate('test/double', '{}', context).result).toBeUndefined();
    expect(instance.evaluate('test/echo', '', context).result).toBeUndefined();
  });

  test('reads the data it was given', () => {
    expect(fresh().evaluate('test/config', '{}', context).result).toEqual({ a: [1] });
  });

  test.each(['é', '日本', '🎉', '\u0000', '"\\\n', '\u2028', 'a'.repeat(100_000)])(
    'passes text through: %j',
    (text) => {
      expect(fresh().evaluate('test/echo', JSON.stringify({ text }), context).result).toEqual({ text });
    },
  );

  test('takes an input larger than its memory, and reuses the memory', () => {
    const instance = fresh();
    const before = instance.memoryBytes;
    const input = JSON.stringify({ x: 1, text: 'x'.repeat(2_000_000) });
    const evaluate = () => instance.evaluate('test/double', input, context, 2 ** 31 - 1).result;
    expect(evaluate()).toBe(2);
    const grown = instance.memoryBytes;
    expect(grown).toBeGreaterThan(before);
    for (let call = 0; call < 20; call += 1) evaluate();
    expect(instance.memoryBytes).toBe(grown);
  });

  test('keeps numbers exact in the JSON text', () => {
    const { result: text } = fresh().evaluateToJson(
      'test/echo',
      '{"n": 9007199254740993, "d": 0.10}',
      context,
    );
    expect(text).toBe('{"d":0.10,"n":9007199254740993}');
  });

  test.each([
    ['conflict', '{"x": 1, "y": 2}', 'policy_failed'],
    ['huge', '{}', 'policy_memory_exceeded'],
    ['echo', JSON.stringify({ text: 'é'.repeat(20_000_000) }), 'policy_memory_exceeded'],
    ['expanded', '{"cidr": "10.0.0.0/8"}', 'deadline_exceeded'],
    ['expanded', '{"cidr": "::/0"}', 'deadline_exceeded'],
  ])('fails %s with a code and is poisoned', (rule, input, code) => {
    const instance = fresh();
    expect(() => instance.evaluate(`test/${rule}`, input, context, 2 ** 31 - 1)).toThrow(
      expect.objectContaining({ code }),
    );
    expect(instance.poisoned).toBe(true);
    expect(() => instance.evaluate('test/double', '{"x": 1}', context)).toThrow(
      expect.objectContaining({ code: 'policy_failed' }),
    );
  });

  test('tells what the module said to the operator only', () => {
    try {
      fresh().evaluate('test/conflict', '{"x": 1, "y": 2}', context);
      expect.unreachable();
    } catch (error) {
      expect(error).toMatchObject({ message: 'The policy could not be evaluated.' });
      expect(error).toMatchObject({ detail: expect.stringContaining('var assignment conflict') as unknown });
    }
  });

  test('fails on input nested deeper than the stack, with a code', () => {
    const instance = fresh();
    const depth = 1_000_000;
    expect(() =>
      instance.evaluate('test/echo', '['.repeat(depth) + ']'.repeat(depth), context, 2 ** 31 - 1),
    ).toThrow(
      expect.objectContaining({
        code: expect.stringMatching(/^policy_(failed|memory_exceeded)$/) as unknown,
      }),
    );
    expect(instance.poisoned).toBe(true);
  });

  test('makes the call of a built-in that fails undefined, and stays usable', () => {
    const instance = fresh();
    expect(
      instance.evaluate('test/undefined_builtin', '{"text": "yesterday"}', context).result,
    ).toBeUndefined();
    expect(instance.evaluate('test/undefined_builtin', '{"text": 1}', context).result).toBeUndefined();
    expect(instance.poisoned).toBe(false);
  });

  test('pays for a width before the text is made', () => {
    expect(fresh().evaluate('test/padded', '{"format": "%1000s"}', context).result).toBe(1_000);
    const format = '%999999[1]s'.repeat(1_000);
    expect(() => fresh().evaluate('test/padded', JSON.stringify({ format }), context)).toThrow(
      expect.objectContaining({ code: 'deadline_exceeded' }),
    );
  });

  test('does not know other entry points, and is not poisoned by the question', () => {
    const instance = fresh();
    expect(() => instance.evaluate('test/other', '{}', context)).toThrow(
      expect.objectContaining({ code: 'policy_undefined' }),
    );
    expect(instance.poisoned).toBe(false);
  });

  test('refuses data that is no JSON or larger than the memory, and less memory than the module asks for', () => {
    expect(() => module.instantiate('{"a":', limits)).toThrow(
      expect.objectContaining({ code: 'policy_invalid' }),
    );
    const large = JSON.stringify({ text: 'x'.repeat(4_000_000) });
    expect(() => module.instantiate(large, { ...limits, memoryPages: 20 })).toThrow(
      expect.objectContaining({ code: 'policy_memory_exceeded' }),
    );
    expect(() => fresh(1)).toThrow(expect.objectContaining({ code: 'policy_memory_exceeded' }));
  });

  test('shares nothing between instances of a module', () => {
    const [a, b] = [fresh(), module.instantiate('{"config": "other"}', limits)];
    expect(() => a.evaluate('test/conflict', '{"x": 1, "y": 2}', context)).toThrow();
    expect(b.evaluate('test/config', '{}', context).result).toBe('other');
  });
});

describe('PolicyModule', () => {
  test('refuses a built-in that the engine does not have', async () => {
    const wasm = await buildWasm('package test\n\np := opa.runtime()\n', ['test/p']);
    expect(() => PolicyModule.compile(wasm)).toThrow(
      expect.objectContaining({
        code: 'policy_invalid',
        message: expect.stringContaining('opa.runtime') as unknown,
      }),
    );
  });

  test('refuses a module that is not OPA’s, or not one at all', () => {
    const empty = Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0);
    for (const bytes of [empty, Uint8Array.of(1, 2, 3)])
      expect(() => PolicyModule.compile(bytes)).toThrow(expect.objectContaining({ code: 'policy_invalid' }));
  });
});
