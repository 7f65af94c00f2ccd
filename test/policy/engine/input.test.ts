import fc from 'fast-check';
import { beforeAll, describe, expect, test } from 'vitest';
import { ServiceError } from '../../../src/errors.ts';
import { Lasting, Outline, type PolicyInput } from '../../../src/input.ts';
import { often } from '../../../src/policy/engine/memory/drawing.ts';
import { PolicyModule } from '../../../src/policy/engine/module.ts';
import { buildWasm, context, limits } from './opa.ts';

/** Each looks at the input another way; what they say is the same whether the input was parsed or written. */
const rules = {
  echo: 'input',
  paths: '[[p, v] | walk(input, [p, v])]',
  text: 'json.marshal(input)',
  shown: 'sprintf("%v", [input])',
  kinds: '[y | walk(input, [_, v]); y := type_name(v)]',
  values: '{v | walk(input, [_, v])}',
  keys: '{k: v | some k, v in input}',
  ordered: '[v | some v in sort([w | some w in input])]',
  same: '[[i, j] | some i, a in input; some j, b in input; a == b]',
  before: '[[i, j] | some i, a in input; some j, b in input; a < b]',
  found: '[y | some k in ["", "a", "__proto__", "é", "name", 0]; y := object.get(input, k, "none")]',
  sums: '[y | walk(input, [_, x]); is_number(x); y := x + 1]',
  products: '[y | walk(input, [_, x]); is_number(x); y := x * x]',
  lengths: '[y | walk(input, [_, v]); not is_number(v); not is_boolean(v); not is_null(v); y := count(v)]',
  shouted: '[y | walk(input, [_, v]); is_string(v); y := upper(v)]',
  trimmed: '[y | walk(input, [_, v]); is_string(v); y := trim(v, "a")]',
  parts: '[y | walk(input, [_, v]); is_string(v); y := split(v, "a")]',
  // Of a null, OPA's code makes an object by writing where there is none.
  with_member: '{"with": t, "without": input} if { is_object(input); t := input with input.x as 1 }',
  with_deep: '{"with": t, "without": input} if { is_object(input); t := input with input.a.b.c as input }',
  patched: '[json.patch(input, [{"op": "add", "path": "/a", "value": input}]), input]',
  united: '[object.union(input, {"a": {"b": 1}}), object.union({"a": {"b": 1}}, input), input]',
  removed: '[object.remove(input, ["a", ""]), json.remove(input, ["a/b", "x"]), input]',
  filtered: '[object.filter(input, ["a"]), json.filter(input, ["a/b", "x"]), input]',
  joined: '[array.concat(input, input), array.slice(input, 0, 2), array.reverse(input), input]',
  counted: 'count(input)',
};

const policy = ['package test', ...Object.entries(rules).map(([name, body]) => `${name} := ${body}`)].join(
  '\n\n',
);

/** What JSON values come to, with what is special to the writer more often than chance has it. */
const text = fc.oneof(
  fc.string({ unit: 'grapheme', maxLength: 8 }),
  fc.string({ unit: 'binary', maxLength: 80 }),
  fc.constantFrom(
    '',
    'a',
    'b',
    'x',
    '__proto__',
    'constructor',
    'toJSON',
    '0',
    'é',
    '日本',
    '🎉',
    '\u0000',
    '"\\\n\u001f\u007f',
    '\u2028',
    '\uffff',
    'a'.repeat(49),
    'é'.repeat(30),
  ),
);
const number = fc.oneof(
  fc.integer(),
  fc.maxSafeInteger(),
  fc.double({ noNaN: true, noDefaultInfinity: true }),
  fc.constantFrom(
    0,
    -0,
    1,
    -1,
    0.1,
    1e21,
    -1e21,
    1e-7,
    1e300,
    2 ** 31,
    2 ** 31 - 1,
    -(2 ** 31),
    -(2 ** 31) - 1,
    2 ** 53,
    2 ** 53 + 2,
    2 ** 63,
    -(2 ** 63),
    2 ** 64,
  ),
);
const { value: anyValue } = fc.letrec((tie) => ({
  value: fc.oneof(
    { maxDepth: 4, withCrossShrink: true },
    fc.constant(null),
    fc.boolean(),
    number,
    text,
    fc.array(tie('value'), { maxLength: 12 }),
    fc.dictionary(text, tie('value'), { maxKeys: 30 }),
  ),
}));

/** What of its hash chooses the bucket in an object of up to 358 members. */
function lowBits(name: string): number {
  let hash = 0x811c9dc5;
  for (const byte of Buffer.from(name)) hash = Math.imul(hash, 0x01000193) ^ byte;
  return hash & 511;
}

/** One that came often enough to be an image the next time. */
function lasting(value: unknown): Lasting {
  const frequent = new Lasting(value);
  frequent.asked = often - 1;
  return frequent;
}

describe('an input that is written into the memory', () => {
  let module: PolicyModule;
  beforeAll(async () => {
    const names = Object.keys(rules);
    module = PolicyModule.compile(
      await buildWasm(
        policy,
        names.map((name) => `test/${name}`),
      ),
    );
  });
  const fresh = (memoryPages = limits.memoryPages) => module.instantiate('{}', { ...limits, memoryPages });
  const asInput = (value: unknown, tree: unknown = value): PolicyInput => ({
    json: JSON.stringify(value),
    value: tree,
  });

  /** The result as JSON, or the code and the detail of the error. */
  const outcome = (rule: string, input: PolicyInput | string): unknown => {
    try {
      return fresh().evaluateToJson(`test/${rule}`, input, context, 2 ** 31 - 1).result;
    } catch (error) {
      if (error instanceof ServiceError) return { code: error.code, detail: error.detail };
      throw error;
    }
  };

  test.each(Object.keys(rules))('gives what the parsed one gives: %s', (rule) => {
    const instance = fresh();
    fc.assert(
      fc.property(anyValue, (value) => {
        const input = asInput(value);
        const parsed = outcome(rule, input.json);
        expect(outcome(rule, input)).toEqual(parsed);
        expect(outcome(rule, asInput(value, lasting(value)))).toEqual(parsed);
        if (typeof parsed === 'string')
          expect(instance.evaluateToJson(`test/${rule}`, input, context, 2 ** 31 - 1).result).toBe(parsed);
      }),
      { numRuns: 60 },
    );
  });

  test.each([
    ['half a pair at the end', '\ud800'],
    ['half a pair before text', 'a\udc00b'],
    ['half a pair before a control character', '\ud800\u0001'],
    ['halves in the wrong order', '\udc00\ud800'],
    ['a half behind a whole', '🎉\udfff'],
  ])('has U+FFFD for %s, as OPA has where it reads JSON', (_, broken) => {
    const whole = (value: unknown) =>
      JSON.parse(JSON.stringify(value).replace(/\\ud[8-f]../g, '\ufffd')) as unknown;
    for (const value of [broken, { a: [broken] }, { [broken]: 1 }])
      for (const tree of [value, lasting(value)])
        expect(JSON.parse(outcome('echo', asInput(value, tree)) as string)).toEqual(whole(value));
  });

  test('takes names that collide', () => {
    const crowd: Record<string, number> = {};
    for (let at = 0; Object.keys(crowd).length < 300; at += 1)
      if (lowBits(`n${at}`) === 0) crowd[`n${at}`] = at;
    expect(JSON.parse(outcome('keys', asInput(crowd)) as string)).toEqual(crowd);
    const cost = (value: unknown) => fresh().evaluate('test/counted', asInput(value), context).cost;
    expect(cost(lasting(crowd).value)).toBe(cost(crowd));
  });

  test('leaves out members that are undefined, as JSON does, and knows no number that is not finite', () => {
    const value = { a: undefined, b: [undefined, Number.NaN, Number.POSITIVE_INFINITY], c: { d: undefined } };
    expect(fresh().evaluate('test/echo', asInput(value), context).result).toEqual({
      b: [null, null, null],
      c: {},
    });
  });

  test('can be put together of images, at the same cost', () => {
    const question = new Outline((hole) => ({
      subject: hole(0),
      actors: hole(2),
      resource: { id: hole(1), size: -1, properties: {} },
    }));
    fc.assert(
      fc.property(anyValue, anyValue, fc.array(anyValue), (subject, id, actors) => {
        const whole = { subject, actors, resource: { id, size: -1, properties: {} } };
        const value = question.filled([lasting(subject), id, actors.map(lasting)]);
        const [made, plain] = [asInput(whole, value), asInput(JSON.parse(JSON.stringify(whole)))];
        expect(fresh().evaluate('test/echo', made, context, 2 ** 31 - 1)).toEqual(
          fresh().evaluate('test/echo', plain, context, 2 ** 31 - 1),
        );
      }),
    );
  });

  test('may use an image twice, and in instances whose memory begins elsewhere', () => {
    const principal = lasting({ class: 'user', roles: ['editor', 'é'], n: 7 });
    const input = asInput({}, { subject: principal, actors: [principal, principal] });
    const other = module.instantiate(JSON.stringify({ filler: 'x'.repeat(12_345) }), limits);
    const wanted = { class: 'user', roles: ['editor', 'é'], n: 7 };
    for (const instance of [fresh(), other, fresh(), other])
      expect(instance.evaluate('test/echo', input, context).result).toEqual({
        subject: wanted,
        actors: [wanted, wanted],
      });
  });

  test('lets the memory grow once, and reuses it', () => {
    const instance = fresh();
    const before = instance.memoryBytes;
    const large = {
      name: 'é'.repeat(300_000),
      list: Array.from({ length: 20_000 }, (_, at) => [at, `n${at}`]),
    };
    const evaluate = (value: unknown) =>
      instance.evaluate('test/echo', asInput(value), context, 2 ** 31 - 1).result;
    expect(evaluate(large)).toEqual(large);
    const grown = instance.memoryBytes;
    expect(grown).toBeGreaterThan(before);
    for (let call = 0; call < 5; call += 1) evaluate(large);
    expect(instance.memoryBytes).toBe(grown);
    expect(evaluate({ a: [''] })).toEqual({ a: [''] });
    expect(evaluate(large)).toEqual(large);
  });

  test('shows a small input nothing of a larger one before it', () => {
    const instance = fresh();
    const evaluate = (rule: string, value: unknown) =>
      instance.evaluateToJson(`test/${rule}`, asInput(value), context, 2 ** 31 - 1).result ?? '';
    for (const rule of Object.keys(rules)) {
      evaluate('echo', { secret: Array.from({ length: 2_000 }, (_, at) => ({ [`secret${at}`]: 'secret' })) });
      expect(evaluate(rule, { a: { b: 1, x: '' }, x: [] })).not.toContain('secret');
    }
  });

  test('fits the bound on the memory or fails with a code', () => {
    const text = 'x'.repeat(4_000_000);
    for (const value of [
      { text },
      Array.from({ length: 200_000 }, () => 0),
      Array.from({ length: 50_000 }, () => ({})),
    ]) {
      const instance = fresh(40);
      expect(() => instance.evaluate('test/counted', asInput(value), context, 2 ** 31 - 1)).toThrow(
        expect.objectContaining({ code: 'policy_memory_exceeded' }),
      );
      expect(instance.poisoned).toBe(true);
    }
  });

  test('costs fuel by its length, half of the budget at most, and is not written otherwise', () => {
    const instance = fresh();
    const cost = (value: unknown) => instance.evaluate('test/counted', asInput(value), context).cost;
    expect(cost(['x'.repeat(1_000)]) - cost([''])).toBe(32_000);
    for (const input of [asInput(['x'.repeat(1_000)]), JSON.stringify(['x'.repeat(1_000)])])
      expect(() => instance.evaluate('test/counted', input, context, 60_000)).toThrow(
        expect.objectContaining({ code: 'payload_too_large' }),
      );
    expect(instance.poisoned).toBe(false);
  });

  test('fails with a code when it nests deeper than the stack', () => {
    let value: unknown = 0;
    for (let depth = 0; depth < 100_000; depth += 1) value = [value];
    expect(() => fresh().evaluate('test/echo', { json: '[]', value }, context)).toThrow(
      expect.objectContaining({ code: 'policy_failed' }),
    );
  });

  test('is as good in an instance that was made as new', () => {
    const value = { a: 1, name: 'é', list: ['x', { y: null }] };
    const instance = fresh();
    const image = instance.image();
    const before = instance.evaluate('test/paths', asInput(value), context);
    expect(instance.restore(image)).toBe(true);
    expect(instance.evaluate('test/paths', asInput(value), context)).toEqual(before);
  });
});
