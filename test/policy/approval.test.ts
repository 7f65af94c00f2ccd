import { describe, expect, test } from 'vitest';
import { PolicyModule } from '../../src/policy/engine/module.ts';
import { compile, diagnosed, tested, withFolder } from './sources.ts';

/** The package `approval`: its input is an approver and a request, and it is compiled for those who have it. */

const RULES = `package approval

default allow := false

allow if "managers" in input.approver.groups

deny contains "not_at_night" if input.request.context.night

reasons contains {"code": "why", "message": input.request.reason} if input.request.reason
`;

const entryPointsOf = async (files: Record<string, string>): Promise<string[]> =>
  [...PolicyModule.compile((await compile(files)).wasm).entrypoints.keys()].sort();

test('has an entry point where a tenant has it, and nowhere else', async () => {
  const usual = ['mandate/decision', 'mandate/delegation'];
  expect(await entryPointsOf({})).toEqual(usual);
  expect(await entryPointsOf({ 'approval_test.rego': RULES.replace('approval', 'approval_test') })).toEqual(
    usual,
  );
  expect(await entryPointsOf({ 'a.rego': RULES })).toEqual(['mandate/approval', ...usual]);
  expect(
    await entryPointsOf({ 'a.rego': RULES, 'b.rego': 'package audit\n\nmask contains "/x" if false\n' }),
  ).toEqual(['mandate/approval', 'mandate/audit', ...usual]);
});

describe('a mistake', () => {
  test.each([
    ['that reads the input of a decision', 'input.subject.id', 'undefined ref: input.subject.id'],
    ['in the approver', 'input.approver.gruops', 'undefined ref: input.approver.gruops'],
    ['in the request', 'input.request.resource.kind', 'undefined ref: input.request.resource.kind'],
  ])('%s is found, with file and line', async (_what, ref, message) => {
    expect(await diagnosed({ 'deep/a.rego': `package approval\n\nallow if ${ref} == "x"\n` })).toEqual([
      { file: 'deep/a.rego', line: 3, column: 10, message: expect.stringContaining(message) as string },
    ]);
  });

  test('of spelling the package is one too', async () => {
    expect(await diagnosed({ 'a.rego': 'package # here\n approval\n\nallow := true\n' })).toMatchObject([
      { file: 'a.rego', message: expect.stringContaining('write "package approval"') as string },
    ]);
  });
});

describe('the platform', () => {
  const asked = async (rego: string, approver: object, request: object = {}): Promise<unknown> => {
    const { wasm, data } = await compile({ 'a.rego': rego });
    const limits = { fuel: 10_000_000, memoryPages: 256 };
    const instance = PolicyModule.compile(wasm).instantiate(data, limits);
    const input = JSON.stringify({ approver, request });
    const context = { nowMs: 0, seed: '' };
    return instance.evaluate('mandate/approval', input, context, limits.fuel).result;
  };
  const manager = { status: 'active', groups: ['managers'] };

  test('lets the tenant say who may', async () => {
    expect(await asked(RULES, manager)).toMatchObject({ outcome: 'allow' });
    expect(await asked(RULES, { ...manager, groups: [] })).toMatchObject({ outcome: 'deny' });
    expect(await asked(RULES, manager, { context: { night: true } })).toMatchObject({
      outcome: 'deny',
      denied: ['not_at_night'],
    });
  });

  test('denies whoever is not active, whatever the tenant says', async () => {
    for (const status of ['disabled', 'unknown', undefined])
      expect(await asked('package approval\n\nallow := true\n', { status })).toMatchObject({
        outcome: 'deny',
      });
  });

  test('takes nothing but true for an allow', async () => {
    const request = { context: { x: 'yes' } };
    const loose = 'package approval\n\nallow := input.request.context.x\n';
    expect(await asked(loose, manager, request)).toMatchObject({ outcome: 'deny', undefined: true });
    const denying = 'package approval\n\nallow := true\n\ndeny := input.request.context.x\n';
    expect(await asked(denying, manager, request)).toMatchObject({ denied: ['deny_malformed'] });
  });
});

test('is tested as the other packages are', async () => {
  const rego = `package approval_test

import data.approval

test_managers if approval.allow with input as {"approver": {"groups": ["managers"]}, "request": {}}

test_others if not approval.allow with input as {"approver": {"groups": []}, "request": {}}
`;
  await withFolder({ 'approval.rego': RULES, 'approval_test.rego': rego }, async (folder) => {
    const ran = await tested(folder);
    if (!('tests' in ran)) throw new Error(ran.refused.stderr);
    expect(ran.tests.map(({ fail = false }) => fail)).toEqual([false, false]);
  });
});
