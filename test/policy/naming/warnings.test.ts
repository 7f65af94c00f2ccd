import { readdir } from 'node:fs/promises';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { warningsOf } from '../../../src/policy/naming/warnings.ts';
import { parseManifest } from '../../../src/tenancy/manifest.ts';
import { compiler, read, withFolder } from '../sources.ts';

/** What a policy names and its tenant does not have. */

const manifest = parseManifest(
  {
    id: 'acme',
    roles: { reader: { scopes: ['docs.read'] }, editor: { scopes: ['docs.write'] } },
    actions: { 'document.read': { scope: 'docs.read' }, 'document.edit': { scope: 'docs.write' } },
    principals: [
      { class: 'user', id: 'alice', groups: ['engineering'] },
      { class: 'agent', id: 'research-agent' },
    ],
    resources: [{ type: 'document', id: 'a' }],
  },
  'tenant.yaml',
);

const told = (rego: string, files: Readonly<Record<string, string>> = {}, declared = manifest) =>
  withFolder({ 'a.rego': `package authz\n\n${rego}`, ...files }, async (folder) =>
    (await warningsOf(compiler(), await read(folder, declared), declared)).map(
      ({ severity, line, column, suggestion, message }) => ({
        severity,
        at: `${line}:${column}`,
        suggestion,
        message,
      }),
    ),
  );

const suggested = async (rego: string, files = {}) =>
  (await told(rego, files)).map((each) => each.suggestion);

describe('a name that is nearly one of the tenant’s', () => {
  test.each([
    ['an action', 'allow if input.action.name == "document.raed"', 'document.read'],
    [
      'an action in a set',
      'allow if input.action.name in {"document.edit", "document.raed"}',
      'document.read',
    ],
    ['a type', 'allow if input.resource.type == "documnet"', 'document'],
    ['a role', 'allow if "edtor" in input.subject.roles', 'editor'],
    ['a role of an actor', 'allow if input.actors[0].roles[_] == "edtor"', 'editor'],
    ['a group', 'allow if "enginering" in input.subject.groups', 'engineering'],
    ['a scope', 'allow if "docs.raed" in input.grant.scope', 'docs.read'],
    ['a principal', 'allow if input.actors[0].id == "reserch-agent"', 'research-agent'],
    ['a class', 'allow if input.subject.class != "agnet"', 'agent'],
    ['the library’s', 'import data.mandate.lib\n\nallow if lib.has_role("edtor")', 'editor'],
    [
      'imported under another name',
      'import data.mandate.lib as l\n\nallow if l.in_group("enginering")',
      'engineering',
    ],
    [
      'of what is imported',
      'import input.action as act\n\nallow if act.name == "document.raed"',
      'document.read',
    ],
    [
      'a variable of a set',
      'import data.mandate.lib\n\nallow if {\n\tlib.has_role(r)\n\tsome r in ["edtor"]\n}',
      'editor',
    ],
    [
      'a variable of the input',
      'allow if {\n\tx := input.action.name\n\tx == "document.raed"\n}',
      'document.read',
    ],
    ['a part of the input', 'allow if {\n\ts := input.subject\n\t"edtor" in s.roles\n}', 'editor'],
    ['of some actor', 'allow if {\n\tsome a in input.actors\n\ta.id == "reserch-agent"\n}', 'research-agent'],
    ['of every one', 'allow if every r in {"edtor"} { r in input.subject.roles }', 'editor'],
    [
      'a constant rule',
      'writers := {"edtor"}\n\nallow if {\n\tsome r in input.subject.roles\n\tr in writers\n}',
      'editor',
    ],
    ['a table', 'may := {"document.raed": 1}\n\nallow if may[input.action.name]', 'document.read'],
    ['a function’s argument', 'is(r) if r in input.subject.roles\n\nallow if is("edtor")', 'editor'],
    ['a comprehension', 'allow if count({"edtor"} & {r | some r in input.subject.roles}) > 0', 'editor'],
    ['an else', 'allow if {\n\tfalse\n} else if {\n\t"edtor" in input.subject.roles\n}', 'editor'],
    ['an escape', 'allow if "edt\\u006fr" in input.subject.roles', 'editor'],
  ])('is a warning with what was meant: %s', async (_what, rego, meant) => {
    expect(await suggested(rego)).toEqual([meant]);
  });

  test('has the place of the name, in characters', async () => {
    expect(await told('# é\nallow if { "ééé" != "a"; "edtor" in input.subject.roles }')).toEqual([
      {
        severity: 'warning',
        at: '4:26',
        suggestion: 'editor',
        message: 'tenant.yaml has no role "edtor"; did you mean "editor"?',
      },
    ]);
  });

  test('is looked for across the files of a package, and in the package approval', async () => {
    const files = {
      'b.rego': 'package authz\n\nwriters := {"edtor"}\n',
      'c.rego': 'package approval\n\nallow if "enginering" in input.approver.groups\n',
    };
    const rego = 'allow if {\n\tsome r in input.subject.roles\n\tr in data.authz.writers\n}';
    expect(await suggested(rego, files)).toEqual(['editor', 'engineering']);
  });
});

describe('no warning is', () => {
  test.each([
    ['a name that is declared', 'allow if "reader" in input.subject.roles'],
    ['a group of an identity provider’s', 'allow if "field-operations" in input.subject.groups'],
    ['a role that is near to none', 'allow if "superintendent" in input.subject.roles'],
    ['a principal that may be registered', 'allow if input.subject.id == "mallory"'],
    ['a property', 'allow if input.resource.properties.kind == "documnet"'],
    ['a beginning of an action', 'allow if startswith(input.action.name, "document.")'],
    ['an exchange', 'allow if input.action.name == "token.exchange"'],
    ['what a test says', 'allow := true'],
    ['what an issuer says', 'import data.mandate.lib\n\nallow if lib.has_issuer_role("edtor")'],
    [
      'a variable that is something else elsewhere',
      'a if {\n\tx := input.action.name\n\tx == "document.read"\n}\n\nallow if {\n\tx := input.context.y\n\tx == "document.raed"\n}',
    ],
  ])('%s', async (_what, rego) => {
    const files = {
      'a_test.rego':
        'package authz_test\n\ntest_a if data.authz.allow with input.subject.roles as ["edtor"]\n',
    };
    expect(await told(rego, files)).toEqual([]);
  });

  test('an action, while the tenant declares none', async () => {
    const open = parseManifest({ id: 'acme' }, 'tenant.yaml');
    expect(await told('allow if input.action.name == "document.read"', {}, open)).toEqual([]);
  });

  test.each(['policies/acme', 'examples/metered'])('in %s', async (folder) => {
    const { readTenantFiles } = await import('../../../src/tenancy/folder/read.ts');
    const { readTenant } = await import('../../../src/tenancy/tenants.ts');
    const { sourcesOf } = await import('../../../src/policy/sources.ts');
    expect(await readdir(path.resolve(folder))).toContain('tenant.yaml');
    const files = await readTenantFiles({ folder, root: folder });
    const { manifest: declared } = await readTenant(files);
    const all = await warningsOf(compiler(), await sourcesOf(files, declared), declared);
    expect(all.filter(({ severity }) => severity === 'warning')).toEqual([]);
  });
});

describe('a note is', () => {
  test('an action or a scope that nothing declares, and that is near to none', async () => {
    const found = await told(
      'allow if {\n\tinput.action.name == "invoice.pay"\n\t"billing" in input.grant.scope\n\tstartswith(input.action.name, "doc/")\n}',
    );
    expect(found.map(({ severity, message }) => [severity, message])).toEqual([
      ['note', 'tenant.yaml has no action "invoice.pay"'],
      ['note', 'tenant.yaml has no scope "billing"'],
      ['note', 'no action in tenant.yaml begins with "doc/"'],
    ]);
  });
});

describe('a path into data', () => {
  const data = { 'perms/data.json': '{"editor": ["a"], "list": [1]}' };

  test.each([
    ['a document', 'allow if data.perm.editor', 'data.perms'],
    ['within one', 'allow if data.perms.edtor[0] == "a"', 'data.perms.editor'],
    ['imported', 'import data.perm\n\nallow if perm.editor', 'data.perms'],
    ['by an import', 'import data.perms as p\n\nallow if p.edtor', 'data.perms.editor'],
    ['a rule', 'helper if true\n\nallow if data.authz.helpr', 'data.authz.helper'],
    ['the library', 'import data.mandate.lib\n\nallow if lib.delegatd', 'data.mandate.lib.delegated'],
  ])('that leads nowhere is a warning: %s', async (_what, rego, meant) => {
    expect(await suggested(rego, data)).toEqual([meant]);
  });

  test('is one too where nothing is near it', async () => {
    const [found] = await told('allow if data.nothing.at.all', data);
    expect(found).toMatchObject({ severity: 'warning', suggestion: undefined });
    expect(found?.message).toBe(
      'data.nothing is neither in a package nor in a data document, so it is undefined',
    );
  });

  test.each([
    'allow if data.perms[input.subject.id]',
    'allow if data.perms.editor[_] == "a"',
    'allow if data.perms.list[0].anything',
    'allow if data.authz.below.x.y',
    'allow if data.authz.below',
  ])('that leads somewhere is none: %s', async (rego) => {
    expect(await told(rego, { ...data, 'b.rego': 'package authz.below\n\nx := {"y": 1}\n' })).toEqual([]);
  });
});

describe('a package without allow', () => {
  test('is a warning, and one with rules in a package below it alone is too', async () => {
    const files = { 'b.rego': 'package delegation.more\n\nallow := true\n' };
    expect((await told('deny contains "x" if input.context.x', files)).map(({ message }) => message)).toEqual(
      [
        'the package authz defines no allow, so all that it is asked is denied',
        'the package delegation defines no allow, so all that it is asked is denied',
      ],
    );
  });
});

test('a policy that is nested beyond what a walk can do is a note, and no crash', async () => {
  const depth = 1_500;
  const rego = `allow if ${'['.repeat(depth)}"edtor"${']'.repeat(depth)} == input.context.x`;
  const found = await told(rego);
  for (const { severity } of found) expect(severity).toBe('note');
});

test('many names among many principals are told in bounded time', async () => {
  const principals = Array.from({ length: 10_000 }, (_, at) => ({
    class: 'user',
    id: `somebody.${at}.of-the-house`,
  }));
  const many = parseManifest({ id: 'acme', principals }, 'tenant.yaml');
  const letters = (at: number): string =>
    at.toString(26).replace(/\d/g, (digit) => 'qrstuvwxyz'[Number(digit)] ?? '');
  const names = Array.from({ length: 5_000 }, (_, at) => `"somebodx.${letters(at)}.of-the-house"`);
  // All compared with all would take minutes; few are near enough to be told.
  const found = await told(`allow if input.subject.id in {${names.join(', ')}}`, {}, many);
  expect(found.length).toBeGreaterThan(0);
  expect(found.length).toBeLessThanOrEqual(30);
});
