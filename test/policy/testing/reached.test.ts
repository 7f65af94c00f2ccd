import { execFile } from 'node:child_process';
import { cp } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, test } from 'vitest';
import { readConfig } from '../../../src/config.ts';
import { Marker } from '../../../src/policy/testing/reached/marks.ts';
import { measure } from '../../../src/policy/testing/reached/measure.ts';
import { isSame } from '../../../src/policy/testing/reached/proof.ts';
import type { FileCoverage } from '../../../src/policy/testing/reached/report.ts';
import { Source } from '../../../src/policy/testing/source.ts';
import type { Syntax } from '../../../src/policy/testing/syntax.ts';
import { compiler, read, tested, withFolder } from '../sources.ts';

const base = {
  'authz.rego': 'package authz\n\nallow := true\n',
  'delegation.rego': 'package delegation\n\nallow := true\n',
};

/** What the tests reach of `own.rego`, where they all pass. */
const covered = (own: string, tests: string): Promise<FileCoverage> =>
  withFolder(
    { ...base, 'own.rego': `package authz.own\n${own}`, 'own_test.rego': `package own_test\n${tests}` },
    async (folder) => {
      const ran = await tested(folder, { covered: true });
      if (!('tests' in ran)) throw new Error(ran.refused.stderr);
      expect(ran.tests.filter(({ fail, error }) => fail || error)).toEqual([]);
      expect(ran.coverage?.differing).toEqual([]);
      const file = ran.coverage?.report.files['own.rego'];
      if (!file) throw new Error('not reported');
      return file;
    },
  );

/** `row:col` of where each range begins. */
const begins = (ranges: FileCoverage['covered'] = []): string[] =>
  ranges.map(({ start }) => `${start.row}:${start.col}`);

const told = ({ covered: reached, not_covered: missed, not_counted: untold }: FileCoverage) => ({
  reached: begins(reached),
  missed: begins(missed),
  untold: begins(untold),
});

describe('coverage tells what tests reach', () => {
  test('of bodies: each expression up to the one that fails, and the head of one that held', async () => {
    const own = 'allow if {\n\tinput.a\n\tinput.b\n\tinput.c\n}\n\nallow if input.d\n';
    expect(
      told(await covered(own, 'test_x if data.authz.own.allow with input as {"a": 1, "d": 1}\n')),
    ).toEqual({
      reached: ['3:2', '4:2', '8:1', '8:10'],
      missed: ['2:1', '5:2'],
      untold: [],
    });
  });

  test('in lines, percent and ranges as OPA’s own report has them', async () => {
    const own = 'allow if {\n\tinput.a\n\tinput.b\n}\n\nrole := "x" if input.b\n';
    const report = await covered(own, 'test_x if not data.authz.own.allow with input.a as 1\n');
    expect(report).toEqual({
      covered: [
        { start: { row: 3, col: 2 }, end: { row: 3, col: 9 } },
        { start: { row: 4, col: 2 }, end: { row: 4, col: 9 } },
      ],
      not_covered: [
        { start: { row: 2, col: 1 }, end: { row: 2, col: 6 } },
        { start: { row: 7, col: 1 }, end: { row: 7, col: 12 } },
        { start: { row: 7, col: 16 }, end: { row: 7, col: 23 } },
      ],
      covered_lines: 2,
      not_covered_lines: 2,
      coverage: 50,
    });
  });

  test('of a default: only where no body held', async () => {
    const own = 'default a := 0\n\na := 1 if input.x\n\na := 2 if input.y\n\ndefault lone := 1\n';
    const asked = (values: string): string =>
      `test_x if {\n\tevery v in ${values} { data.authz.own.a >= 0 with input as v }\n}\n`;
    const one = (name: string, input: string): string =>
      `test_${name} if data.authz.own.a >= 0 with input as ${input}\n`;
    expect(told(await covered(own, one('x', '{"x": 1}') + one('y', '{"y": 1}')))).toMatchObject({
      missed: ['2:9'],
      // There is nothing to tell a default by that has no other rule.
      untold: ['8:9'],
    });
    expect(told(await covered(own, one('x', '{"x": 1}') + one('no', '{}'))).reached).toContain('2:9');
    expect(told(await covered(own, asked('[{}, {"x": 1}]'))).reached).toContain('2:9');
    expect(told(await covered(own, asked('[{"y": 1}, {"x": 1}]'))).missed).toContain('2:9');
  });

  test('of else, comprehensions, every, functions, sets and objects', async () => {
    const own = [
      'kind := "a" if input.a', // 2
      'else := "b" if input.b', // 3
      'else := "c"', // 4
      'names := [x | some x in input.xs; x != "z"; input.no]', // 5
      'all if every x in input.xs { x; input.no }', // 6
      'f(1) := "one"', // 7
      'f(x) := y if { y := x + 1; y > 5 }', // 8
      'reasons contains "r" if input.b', // 9
      'm[k] := v if some k, v in input.o', // 10
    ].join('\n');
    const tests = [
      'test_else if data.authz.own.kind == "b" with input.b as 1',
      'test_names if data.authz.own.names == [] with input.xs as ["z"]',
      'test_all if not data.authz.own.all with input.xs as [1]',
      'test_f if data.authz.own.f(1) == "one"',
      'test_reasons if data.authz.own.reasons == {"r"} with input.b as 1',
      'test_m if data.authz.own.m == {} with input.o as {}',
    ].join('\n');
    const report = told(await covered(own, tests));
    expect(report.missed).toEqual(['2:1', '4:1', '5:45', '6:1', '8:1', '10:1']);
    expect(report.reached).toContain('3:1');
    expect(report.untold).toEqual([]);
  });

  test('of a head whose value is not defined, though its body held', async () => {
    const own = 'a := input.x if input.y\n\nb := input.x\n\nc contains input.x.y if input.y\n';
    const tests =
      'test_x if {\n\tnot data.authz.own.a with input.y as 1\n\tnot data.authz.own.b with input.y as 1\n\tcount(data.authz.own.c) == 0 with input.y as 1\n}\n';
    expect(told(await covered(own, tests))).toEqual({
      reached: ['2:17', '6:25'],
      missed: ['2:1', '4:1', '6:1'],
      untold: [],
    });
  });

  test('and leaves out, by name, what the compiler puts elsewhere', async () => {
    const own = 'a if {\n\tstartswith(x, "a")\n\tx = input.y\n}\n';
    expect(told(await covered(own, 'test_x if not data.authz.own.a\n'))).toEqual({
      reached: ['4:2'],
      missed: [],
      untold: ['2:1', '3:2'],
    });
  });

  test('and has nothing to count of what decisions do not have', async () => {
    const own =
      'a if {\n\tprint("a", [x | some x in input.xs])\n\tsome i\n\ttrue\n\tinput.l[i]\n\tprint(i)\n}\n\nb if true\n\nc if print("c")\n';
    const tests = 'test_x if data.authz.own.a with input.l as [1]\n\ntest_b if data.authz.own.b\n';
    expect(told(await covered(own, tests))).toEqual({
      reached: ['2:1', '6:2', '10:1'],
      missed: ['12:1'],
      untold: [],
    });
  });

  test('under replacements too', async () => {
    const own = 'a if {\n\tb\n\tfetch(1)\n}\n\nb if input.x\n\nfetch(_) if input.never\n';
    const tests =
      'test_x if data.authz.own.a with data.authz.own.b as true with data.authz.own.fetch as true\n';
    expect(told(await covered(own, tests))).toMatchObject({ reached: ['2:1', '3:2', '4:2'] });
  });
});

describe('marks', () => {
  const { opa } = readConfig({ MANDATE_OPA: process.env['MANDATE_OPA'] });
  const run = promisify(execFile);
  const parse = async (text: string): Promise<Syntax> =>
    withFolder({ 'x.rego': text }, async (folder) => {
      const { stdout } = await run(path.resolve(opa), [
        'parse',
        '--format',
        'json',
        '--json-include',
        'locations,-comments',
        path.join(folder, 'x.rego'),
      ]);
      return JSON.parse(stdout) as Syntax;
    });
  const marked = async (text: string): Promise<{ text: string; unmarked: number; isSame: boolean }> => {
    const source = new Source(text);
    const written = await parse(text);
    const { edits, unmarked } = new Marker('x.rego', source, 'mark').mark(written);
    const made = source.edited(edits);
    return { text: made, unmarked: unmarked.length, isSame: isSame(written, await parse(made), 'mark') };
  };

  test.concurrent.each([
    ['comments with braces', 'a if { # {"\n\tnot input.x # }\n\t# b if {\n\ttrue # ;\n} # }\n'],
    [
      'lines that end as on Windows',
      'a if { # c\r\n\tinput.x # d\r\n\tx := `r\r\n`\r\n\tx\r\n}\r\n\r\nb if input.y\r\n\r\nelse := 1\r\n',
    ],
    ['characters beyond 16 bits', 'a if { "é𝄞" == input.x; input.y == "𝄞" } # 𝄞\n'],
    [
      'raw strings and templates',
      'a if {\n\tx := `raw # {\n`\n\ty := $"{input.x} {[z | z := 1; z]}"\n\tx == y\n}\n',
    ],
    [
      'else in every form',
      'a := 1 if input.x # "x"\n\nelse := 2 if input.y == "#" # c\n\n# d\nelse := 3\n\nb if { input.x } else := [x | x := 1] if {\n\tinput.y\n} else if input.z\n',
    ],
    [
      'withs',
      'a if {\n\tb with input as {"x": 1} with data.y as [z | z := 2]\n\tb with input.x as 1\n}\n\nb if input.x with input as {}\n',
    ],
    [
      'heads of every form',
      'a.b := input.x\n\na[x].c := y if some x, y in input.o\n\ns contains {"k": x} if some x in input.s\n\ns contains "x"\n\nf(x, [y, _]) := x + y\n\nf(1, _)\n'.replace(
        'f(1, _)\n',
        'f(1, _) := 2\n',
      ),
    ],
    [
      'bodies within bodies',
      'a if {\n\tcount({x: [y | some y in x; every z in y { z > {w | w := 1}[_] }] | some x in input.xs}) > 1\n\tsome i\n\tinput.l[i] == [_, 1][_]\n\tnot {"x"}[input.q]\n}\n',
    ],
    ['lines of several expressions', 'a if { input.x; input.y\n\tinput.z; }\n'.replace('; }', ' }')],
  ])('leave the policy what it was: %s', async (_name, rego) => {
    expect(await marked(`package authz\n\n${rego}`)).toMatchObject({ unmarked: 0, isSame: true });
  });

  test('that make something else of it are noticed', async () => {
    const [one, other] = await Promise.all([
      parse('package a\n\nx if { input.y; input.z }\n'),
      parse('package a\n\nx if { mark("1", true); input.y; mark("2", true); input.w }\n'),
    ]);
    expect(isSame(one, other, 'mark')).toBe(false);
    expect(
      isSame(one, await parse('package a\n\nx if { mark("1", true); input.z; input.y }\n'), 'mark'),
    ).toBe(false);
    expect(
      isSame(one, await parse('package a\n\nx if { mark("1", true); input.y; input.z }\n'), 'mark'),
    ).toBe(true);
  });
});

test('what is reached is what OPA’s evaluator says, and beyond it what its shortcuts skip', async () => {
  const { opa, home } = readConfig({ MANDATE_OPA: process.env['MANDATE_OPA'] });
  const acme = path.join(home, 'policies', 'acme');
  // OPA knows nothing of tables, which reach lines too.
  const ran = await withFolder({}, async (folder) => {
    await cp(acme, folder, { recursive: true, filter: (file) => !file.endsWith('_test.yaml') });
    return tested(folder, { covered: true });
  });
  const args = ['test', '--coverage', path.join(home, 'policies', 'platform'), acme];
  const { stdout } = await promisify(execFile)(opa, args, { maxBuffer: 1 << 26 });
  const theirs = (JSON.parse(stdout) as { files: Record<string, Partial<FileCoverage>> }).files;
  const files = Object.entries(('tests' in ran && ran.coverage?.report.files) || {});
  expect(files.map(([file]) => file)).toContain('authz/documents.rego');
  const keysOf = (ranges: FileCoverage['covered'] = []): Set<string> =>
    new Set(ranges.map(({ start, end }) => JSON.stringify([start, end])));
  for (const [file, own] of files) {
    const their = theirs[path.join(acme, file)] ?? {};
    const [covered_, missed] = [keysOf(own.covered), keysOf(own.not_covered)];
    const skipped = (their.not_covered ?? []).filter((each) => 'kinds' in each);
    const theirCovered = keysOf(their.covered);
    expect(own.not_counted, file).toBeUndefined();
    expect(missed.intersection(theirCovered), file).toEqual(new Set());
    expect(covered_.difference(theirCovered.union(keysOf(skipped))), file).toEqual(new Set());
    expect(keysOf(their.not_covered).difference(missed.union(keysOf(skipped))), file).toEqual(new Set());
  }
});

test('a test that comes to something else with marks in the policy is named', () =>
  withFolder({ ...base, 'a_test.rego': 'package a_test\n\ntest_x if true\n' }, async (folder) => {
    const sources = await read(folder);
    const ask = { name: 'data.a_test.test_x', entrypoint: 'a_test/test_x', context: { nowMs: 0, seed: '' } };
    const measured = (value: string | undefined) =>
      compiler().withTests(sources, (bench) => measure(bench, sources, new Map(), [{ ...ask, value }]));
    expect((await measured('true')).differing).toEqual([]);
    expect((await measured('false')).differing).toEqual([ask.name]);
    expect((await measured(undefined)).differing).toEqual([ask.name]);
  }));
