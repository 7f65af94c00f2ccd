import { expect, test } from 'vitest';
import { differingPackages, packageIn, withPackage } from '../../../src/policy/revisions/packages.ts';
import type { PolicySources } from '../../../src/policy/sources.ts';

const sources = (modules: Record<string, string>): PolicySources => ({
  tenant: 'acme',
  files: Object.entries(modules).map(([path, text]) => ({ path, bytes: Buffer.from(text) })),
  modules: new Map(Object.entries(modules).filter(([path]) => !path.endsWith('_test.rego'))),
  tests: new Map(),
  tables: new Map(),
  entrypoints: [],
  documents: [],
  data: '{}',
  beside: '{}',
});

test.each([
  ['package authz\n', 'authz'],
  ['# package fake\n\n  # more\n\tpackage authz.documents # x\n', 'authz.documents'],
  ['import rego.v1\npackage authz', ''],
  ['package\nauthz', ''],
  ['#'.repeat(50_000), ''],
  [`${' \n'.repeat(50_000)}x`, ''],
])('the package of %j', (text, name) => {
  expect(packageIn(text)).toBe(name);
});

test('a package is taken with those below it, whatever its files are called', () => {
  const base = sources({
    'a.rego': 'package authz',
    'b.rego': 'package authz.x',
    'd.rego': 'package delegation',
  });
  const candidate = sources({
    'd.rego': 'package authz.x\n# new',
    'e.rego': 'package delegation\n# new',
    'f.rego': 'package authzx',
    'g_test.rego': 'package authz_test',
  });
  expect(differingPackages(base, candidate)).toEqual(['authz', 'authz.x', 'authzx', 'delegation']);
  const made = withPackage(base, candidate, 'authz');
  expect([...made.modules]).toEqual([
    ['candidate/d.rego', 'package authz.x\n# new'],
    ['d.rego', 'package delegation'],
  ]);
  expect(differingPackages(made, base)).toEqual(['authz', 'authz.x']);
  expect(() => withPackage(base, candidate, 'auth')).toThrow('neither revision has a package auth');
});

test('where a rule stands, and in which order, makes no other package', () => {
  const one = sources({ 'a.rego': 'package authz\n# 1', 'b.rego': 'package authz\n# 2' });
  const other = sources({ 'x.rego': 'package authz\n# 2', 'y.rego': 'package authz\n# 1' });
  expect(differingPackages(one, other)).toEqual([]);
});
