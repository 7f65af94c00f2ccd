import type { Draw } from './draw.ts';

/**
 * Small policies at random: rules over an input that is anything, in which it shows in what order sets and objects are
 * visited, how numbers compare, what is undefined, and what `with` leaves behind. No rule can conflict with itself, as
 * a conflict ends all of an evaluation.
 */
export function policyOf(draw: Draw, rules: number): string {
  const written = Array.from({ length: rules }, (_, index) => rule(draw, index));
  return `package test\n\n${helpers}\n${written.join('\n')}\n`;
}

const helpers = `
# Of no type that the compiler knows.
loose(x) := object.get({"x": x}, "x", null)

counted := count(input.o)

names contains name if some name, _ in input.o

listed := [x | some x in input.l]

held[k] := v if some k, v in input.o

double(x) := x * 2 if is_number(x)
else := [x, x]

kind(x) := "small" if x < 3
else := "large" if is_number(x)
else := "other"
`;

function rule(draw: Draw, index: number): string {
  const name = `r${index}`;
  const variants: (() => string)[] = [
    () => `${name} := ${term(draw, 3)}`,
    () => `${name} := ${term(draw, 2)} if {\n\t${condition(draw, 2)}\n}`,
    () =>
      `${name} contains ${draw.one(['x', '[x]', '{x}', '{"v": x}'])} if {\n\tsome x in ${collection(draw, 2)}\n\t${about(draw)}\n}`,
    () =>
      `${name}[k] := v if {\n\tsome k, v in ${collection(draw, 1)}\n\t${draw.one(['k == k', 'v != null', 'is_string(k)', 'k in input.l'])}\n}`,
    () => `default ${name} := "none"\n\n${name} := ${term(draw, 2)} if {\n\t${condition(draw, 1)}\n}`,
    () =>
      `${name} := "first" if {\n\t${condition(draw, 1)}\n} else := ${term(draw, 1)} if {\n\t${condition(draw, 1)}\n} else := "last"`,
    () => `${name} if {\n\tevery x in ${collection(draw, 2)} {\n\t\t${about(draw)}\n\t}\n}`,
    () =>
      `${name} := [a, b] if {\n\ta := ${mocked(draw)}\n\tb := ${draw.one(['counted', 'listed', 'names', 'held', 'input'])}\n}`,
  ];
  return `\n${draw.one(variants)()}\n`;
}

/** Something to visit. */
function collection(draw: Draw, depth: number): string {
  const found = visited(draw, depth);
  return depth === 0 ? found : `loose(${found})`;
}

function visited(draw: Draw, depth: number): string {
  const plain = [
    'input.l',
    'input.o',
    'input.m',
    'data.table',
    'data.list',
    'names',
    'held',
    'listed',
    'input',
    'input.l[0]',
  ];
  if (depth === 0) return draw.one(plain);
  // Names of their own: within 'some x in a & b' the compiler takes an x of a comprehension for the same.
  const [e, j] = [`e${draw.below(1_000_000)}`, `j${draw.below(1_000_000)}`];
  const variants: (() => string)[] = [
    () => draw.one(plain),
    () => `{${e} | some ${e} in ${collection(draw, depth - 1)}}`,
    () => `{[${j}, ${e}] | some ${j}, ${e} in ${collection(draw, depth - 1)}}`,
    () => `[${e} | some ${e} in ${collection(draw, depth - 1)}]`,
    () => `{[${j}]: ${e} | some ${j}, ${e} in ${collection(draw, depth - 1)}}`,
    () => `object.keys(${draw.one(['input.o', 'data.table', 'held'])})`,
    () => `({${e} | some ${e} in ${collection(draw, depth - 1)}} | {1, "a", [2], {"b": 3}})`,
    () => `({${e} | some ${e} in ${collection(draw, depth - 1)}} & {1, 2, "a", 1.0, null})`,
    () => `({${e} | some ${e} in ${collection(draw, depth - 1)}} - {1, "a"})`,
    () => `array.concat(input.l, [${e} | some ${e} in ${collection(draw, depth - 1)}])`,
    () => '{1, 10, 9, 2.5, "b", "a", true, null, [1], {2}, {"z": 1}, {"a": 2}}',
    () => `{${Array.from({ length: 20 }, (_, at) => JSON.stringify(`k${(at * 7) % 23}`)).join(', ')}}`,
    () => '{1: "one", "1": "text", [1]: "list", {1}: "set", null: "null", true: 0}',
  ];
  return draw.one(variants)();
}

function term(draw: Draw, depth: number): string {
  if (depth === 0)
    return draw.one([
      '1',
      '"a"',
      'input.n',
      'input.s',
      'input.l',
      'input',
      'null',
      '2.50',
      '9007199254740993',
    ]);
  const inner = (): string => collection(draw, depth - 1);
  const variants: (() => string)[] = [
    () => term(draw, 0),
    () => `[x | some x in ${inner()}]`,
    () => `[[k, x] | some k, x in ${inner()}]`,
    () => `[x | some x in ${inner()}][0]`,
    () => `[k | some k, x in ${inner()}; ${about(draw)}]`,
    () => `{x: k | some k in [1]; some x in ${inner()}}`,
    () => `concat("-", [sprintf("%v", [x]) | some x in ${inner()}])`,
    () => `concat(",", {sprintf("%v", [x]) | some x in ${inner()}})`,
    () => `json.marshal(${inner()})`,
    () => `[p | walk(${inner()}, [p, _])]`,
    () => `[[p, v] | walk(${inner()}, [p, v])]`,
    () => `count(loose(${inner()}))`,
    () => `sort(loose(${inner()}))`,
    () => `max(loose(${inner()}))`,
    () => `sum([x | some x in ${inner()}; is_number(x)])`,
    () => `[double(x) | some x in ${inner()}]`,
    () => `[kind(x) | some x in ${inner()}]`,
    () =>
      `[y | some x in ${inner()}; y := x ${draw.one(['+', '-', '*', '/', '%'])} ${draw.one(['2', '3', '0.1', 'input.n', '10000000000', '-7'])}]`,
    () =>
      `[z | some x in ${inner()}; some y in ${inner()}; z := x ${draw.one(['<', '<=', '>', '>=', '==', '!='])} y]`,
    () => `input.l[${draw.one(['0', '1', 'input.n', '1.0', '"0"'])}]`,
    () => '[v | v := input.l[_]]',
    () => `input.o[${draw.one(['"a"', 'input.s', 'input.n', '["a"]'])}]`,
    () => `data.table[${draw.one(['input.s', '"b"', '"missing"'])}]`,
    () =>
      `object.get(input, ${draw.one(['"n"', '["o", "a"]', '["l", 0]', '[]', '["o", input.s]'])}, "default")`,
    () => `type_name(${inner()})`,
    () => `[x | x := ${inner()}[_]]`,
    () => `[[k, x] | x := ${inner()}[k]]`,
    () => `[z | z := ${inner()} == ${inner()}]`,
    () => mocked(draw),
  ];
  return draw.one(variants)();
}

/** An expression that says something of `x`. */
function about(draw: Draw): string {
  return draw.one([
    'x != null',
    'x == input.n',
    'x < 5',
    'x >= "a"',
    'x in input.l',
    'not x in input.l',
    'is_number(x)',
    'not is_string(x)',
    'x == x',
    'count(x) > 0',
    'x.a == 1',
    'startswith(x, "a")',
    'not input.o[x]',
    'x > [1]',
    'kind(x) == "large"',
  ]);
}

function condition(draw: Draw, depth: number): string {
  const variants: (() => string)[] = [
    () =>
      `some x in ${collection(draw, depth)}\n\t${about(draw)}`
        .replace('\n\t', '; ')
        .replace(/^some x in/, 'count([x | some x in')
        .concat(']) > 1'),
    () => `count(${collection(draw, depth)}) ${draw.one(['>', '==', '<'])} ${draw.below(4)}`,
    () => `input.n ${draw.one(['==', '!=', '<', '>'])} ${draw.one(['1', '2.0', '"a"', 'null', '[]'])}`,
    () => `not input.${draw.one(['s', 'missing', 'o.a', 'l[3]'])}`,
    () => `input.s in ${collection(draw, depth)}`,
    () =>
      `${draw.one(['0', '"a"', 'input.s'])}, ${draw.one(['1', 'input.n', '"b"'])} in ${collection(draw, depth)}`,
    () => `input.${draw.one(['s', 'n', 'o', 'l'])}`,
  ];
  return draw.one(variants)();
}

const mocked = (draw: Draw): string => {
  const what = draw.one([
    'counted',
    'listed',
    'names',
    'held',
    'input',
    'count(data.list)',
    '[x | some x in data.table]',
  ]);
  const where = draw.one([
    'input.o as {"z": 1, "y": 2}',
    'input.l as [3, {"a"}, 1]',
    'input as {"o": {"q": 1}, "l": {1, 2}}',
    'input.deep.er as 1',
    'data.table as {"x": [1]}',
    'data.table.extra as input.n',
    'input.o.added as {3, 1, 2}',
    'input.l as input.o',
  ]);
  return `[v | v := ${draw.chance(3) ? `count(loose(${what}))` : what} with ${where}]`;
};

export const data = {
  table: { b: [1, 2], a: { x: 1 }, é: 'é', z: null, '10': 10, '9': 9, '': '' },
  list: [3, 'a', { k: 1 }, [2, 1], 1.5, null, 'a'],
};

/** An input: JSON text, with numbers that no double holds. */
export function inputOf(draw: Draw): string {
  const number = (): string =>
    draw.one([
      '0',
      '1',
      '2',
      '1.0',
      '2.50',
      '-1',
      '1e3',
      '9007199254740993',
      '0.1',
      '-0.0',
      '3000000000',
      '1e-7',
      '12345678901234567890',
    ]);
  const text = (): string =>
    JSON.stringify(draw.one(['', 'a', 'b', 'é', 'z', '10', '9', 'aa', '日本', '🎉', 'A']));
  const value = (depth: number): string => {
    const scalar = draw.one([number, number, text, text, () => 'true', () => 'null']);
    if (depth === 0 || draw.chance(2)) return scalar();
    if (draw.chance(2)) return `[${draw.list(5, () => value(depth - 1)).join(',')}]`;
    return object(depth - 1);
  };
  const object = (depth: number): string => {
    const members = new Map(
      draw.list(
        draw.chance(6) ? 30 : 5,
        () => [draw.chance(4) ? `"k${draw.below(40)}"` : text(), value(depth)] as const,
      ),
    );
    return `{${Array.from(members, ([key, inner]) => `${key}:${inner}`).join(',')}}`;
  };
  if (draw.chance(25)) return value(1);
  const members = [
    `"n":${draw.chance(8) ? value(1) : number()}`,
    `"s":${draw.chance(8) ? value(1) : text()}`,
    `"l":${draw.chance(8) ? value(1) : `[${draw.list(6, () => value(2)).join(',')}]`}`,
    `"o":${draw.chance(8) ? value(1) : object(2)}`,
    `"m":${value(2)}`,
  ];
  return `{${members.filter(() => !draw.chance(12)).join(',')}}`;
}
