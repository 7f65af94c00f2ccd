import { expect, test } from 'vitest';
import { Draw } from '../engine/differential/draw.ts';
import { tested, withFolder } from '../sources.ts';

/** Random replacements, each a test whose case is the value: the engine and OPA's evaluator name the same ones. */

const PROGRAMS = 120;

const policy = {
  'delegation.rego': 'package delegation\n\nallow := true\n',
  'own.rego': [
    'package authz.own',
    'import data.authz.other',
    'f(x) := x * 2',
    'g(x) := f(x) + 1',
    'h(x, y) := x + y',
    'a := input.n',
    'b := data.roles.n',
    'c := f(input.n) + g(data.roles.n)',
    'd := count(input.l) + other.p',
    'e contains x if some x in input.l',
    'k[x] := y if {\n\tsome x in input.l\n\ty := f(x)\n}',
    'm := {"in": input.n, "r": data.roles.n, "b": b}',
    'default z := 0',
    'z := h(a, b)',
    'w := x if x := other.q with input.n as 9',
  ].join('\n\n'),
  'other.rego': [
    'package authz.other',
    'import data.authz.own',
    'p := own.f(input.n)',
    'q := input.n + data.roles.n',
    's := [x | some y in input.l; x := own.f(y)]',
    't := own.b + 1',
  ].join('\n\n'),
};

const asked = [
  'own.a',
  'own.b',
  'own.c',
  'own.d',
  'own.e',
  'own.k',
  'own.m',
  'own.z',
  'own.w',
  'other.p',
  'other.q',
  'other.s',
  'other.t',
  'own.f(3)',
  'own.g(own.b)',
  'own.h(own.a, other.q)',
  '[own.a, own.b, other.q]',
  '{x: own.f(x) | some x in input.l}',
  'count([x | x := own.f(own.a)])',
];

const numbers = ['1', '2', 'input.n', 'data.roles.n', 'own.a'];
const replaced: Readonly<Record<string, readonly string[]>> = {
  input: ['{"n": 3, "l": [1, 2]}', '{"n": 5, "l": []}', '{}', '{"n": data.roles.n}'],
  'input.n': numbers,
  'input.l': ['[1, 2, 3]', '[]', '[input.n]'],
  'data.roles': ['{"n": 4}', '{}', '{"n": own.a}'],
  'data.roles.n': numbers,
  'data.authz.own.a': numbers,
  'own.b': numbers,
  'other.p': numbers,
  'data.authz.other.q': numbers,
  'own.e': ['{"x"}'],
  'data.authz.own.k': ['{1: 2}'],
  'data.authz.other': ['{"p": 1, "q": 2, "s": [3], "t": 4}'],
  'own.f': ['7', 'one', 'double'],
  'data.authz.own.f': ['7', 'one', 'double'],
  'own.g': ['7', 'one', 'own.f'],
  'own.h': ['8', 'two'],
  count: ['6', 'one'],
  plus: ['8', 'two'],
};

const withs = (draw: Draw, most: number): string =>
  [...new Set(draw.list(most, () => draw.one(Object.keys(replaced))))]
    .map((target) => ` with ${target} as ${draw.one(replaced[target] ?? [])}`)
    .join('');

function program(draw: Draw): string {
  const plain = (): string => `${draw.one(asked)}${withs(draw, 4)}`;
  const lines = draw.chance(3)
    ? [`y := [v | v := ${plain()}]`, `x := [y, ${draw.one(asked)}]${withs(draw, 2)}`]
    : [`x := ${plain()}`];
  if (draw.chance(4))
    lines.push(`not json.marshal(${draw.one(asked)}) == "${draw.below(4)}"${withs(draw, 3)}`);
  return lines.map((line) => `\t${line}\n`).join('');
}

const seed = Number(process.env['MANDATE_DIFFERENTIAL_SEED'] ?? Date.now() % 1_000_000);

test.each([1, seed])('random replacements, seed %i', (drawn) => {
  const draw = new Draw(drawn);
  const rules = Array.from({ length: PROGRAMS }, (_, at) => [
    `v${at} := x if {\n${program(draw)}}`,
    `test_${at}[json.marshal(x)] if x := v${at} with input as {"n": 1, "l": [1, 5]} with data.roles as {"n": 2}`,
  ]).flat();
  const head = ['package own_test', 'import data.authz.other', 'import data.authz.own'];
  const helpers = ['one(x) := x', 'double(x) := x + x', 'two(x, y) := y'];
  const files = { ...policy, 'own_test.rego': [...head, ...helpers, ...rules].join('\n\n') };
  return withFolder(files, async (folder) => {
    const ran = await tested(folder);
    if (!('tests' in ran)) throw new Error(ran.refused.stderr);
    const differing = ran.tests.filter(({ differs }) => differs);
    expect(
      differing.map(({ name, differs }) => ({ name, ...differs, rule: rules[2 * Number(name.slice(5))] })),
    ).toEqual([]);
    expect(ran.tests.filter((each) => Object.keys(each.sub_results ?? {}).length > 0).length).toBeGreaterThan(
      PROGRAMS / 2,
    );
  });
});
