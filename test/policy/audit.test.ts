import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { PolicyModule } from '../../src/policy/engine/module.ts';
import { compile, diagnosed, tested, withFolder } from './sources.ts';

/** The package `audit`: its input is a record, and it is compiled for those who have it. */

const MASK = 'package audit\n\nmask contains "/input/context/card" if input.input.context.card\n';

const entryPointsOf = async (files: Record<string, string>): Promise<string[]> => [
  ...PolicyModule.compile((await compile(files)).wasm).entrypoints.keys(),
];

test('has an entry point where a tenant has it, or a package below it, and nowhere else', async () => {
  const usual = ['mandate/decision', 'mandate/delegation'];
  expect((await entryPointsOf({})).sort()).toEqual(usual);
  expect(
    (await entryPointsOf({ 'a.rego': '# package audit\npackage authz.audit\n\nx := 1\n' })).sort(),
  ).toEqual(usual);
  expect((await entryPointsOf({ 'audit_test.rego': MASK.replace('audit', 'audit_test') })).sort()).toEqual(
    usual,
  );
  for (const name of ['audit', 'audit.cards'])
    expect((await entryPointsOf({ 'a.rego': MASK.replace('audit', name) })).sort()).toEqual([
      'mandate/audit',
      ...usual,
    ]);
});

describe('a mistake', () => {
  test.each([
    ['that reads the input of a decision', 'input.subject.id', 'undefined ref: input.subject.id'],
    ['in a member of the record', 'input.outcom', 'undefined ref: input.outcom'],
    ['in what was asked', 'input.input.subject.rolse', 'undefined ref: input.input.subject.rolse'],
  ])('%s is found, with file and line', async (_what, ref, message) => {
    const found = await diagnosed({
      'deep/a.rego': `package audit\n\nmask contains "/x" if ${ref} == "x"\n`,
    });
    expect(found).toEqual([
      { file: 'deep/a.rego', line: 3, column: 23, message: expect.stringContaining(message) as string },
    ]);
  });

  test('beside it is found all the same: others are held to the input of a decision', async () => {
    expect(
      await diagnosed({ 'a.rego': MASK, 'b.rego': 'package authz.b\n\nx if input.outcome == "allow"\n' }),
    ).toMatchObject([
      { file: 'b.rego', line: 3, message: expect.stringContaining('undefined ref: input.outcome') as string },
    ]);
    expect(await diagnosed({ 'a.rego': MASK, 'b.rego': 'package other\n\nx := 1\n' })).toEqual([
      {
        file: 'b.rego',
        line: 1,
        message:
          "a tenant's package is authz, delegation, audit or approval, or below one of them, unless tenant.yaml names another decision",
      },
    ]);
  });

  test.each(['package\naudit\n', 'package # here\n audit\n', 'package\taudit\n', '  package   audit.x\n'])(
    'is no way around it: %j is known, or refused',
    async (head) => {
      const rego = `${head}\nmask contains "/input/context/card"\n`;
      const found = await diagnosed({ 'a.rego': rego });
      if (found.length > 0)
        expect(found).toMatchObject([
          { file: 'a.rego', message: 'write "package audit" on a line of its own' },
        ]);
      else expect(await entryPointsOf({ 'a.rego': rego })).toContain('mandate/audit');
    },
  );
});

test('is tested like the others, with a record as the input', async () => {
  const rego = `package audit_test

test_masks if data.audit.mask == {"/input/context/card"} with input as {"input": {"context": {"card": "4711"}}}

test_keeps if count(data.audit.mask) == 0 with input as {"input": {"context": {}}}
`;
  await withFolder(
    { 'authz.rego': 'package authz\n\nallow := true\n', 'a.rego': MASK, 'a_test.rego': rego },
    async (folder) => {
      const ran = await tested(folder);
      if (!('tests' in ran)) throw new Error(ran.refused.stderr);
      expect(ran.tests.map(({ name, fail = false, differs }) => [name, fail, differs])).toEqual([
        ['test_masks', false, undefined],
        ['test_keeps', false, undefined],
      ]);
    },
  );
});

test('of the docs compiles', async () => {
  const page = await readFile(path.join(import.meta.dirname, '../../docs/privacy.md'), 'utf8');
  const [, rego = ''] = /```rego\n(package audit[\s\S]*?)```/.exec(page) ?? [];
  expect(await diagnosed({ 'a.rego': rego })).toEqual([]);
});
