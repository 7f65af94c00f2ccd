import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { sha256 } from '../../../src/policy/bundle.ts';
import { PolicyInvalid } from '../../../src/policy/diagnostics.ts';
import { PolicyModule } from '../../../src/policy/engine/module.ts';
import { explainPolicy } from '../../../src/policy/explain/explain.ts';
import { Planner } from '../../../src/policy/plan/planner.ts';
import { contentsOf, sourcesIn } from '../../../src/policy/revisions/contents.ts';
import { parseManifest } from '../../../src/tenancy/manifest.ts';
import { compiler, read, tested, withFolder } from '../sources.ts';
import { FILES, MANIFEST } from './shop.ts';

/** What decides is a rule of the tenant's own choice, on an input of its own. */

const declaredBy = (decision: string, more: object = {}) =>
  parseManifest({ ...MANIFEST, decision, ...more }, 'tenant.yaml');
const LIMITS = { fuel: 20_000_000, memoryPages: 1024 };

/** What is wrong with them; nothing if they compile. */
async function wrong(
  files: Record<string, string>,
  decision = MANIFEST.decision,
): Promise<readonly string[]> {
  return withFolder(files, async (folder) => {
    try {
      await compiler().compile(await read(folder, declaredBy(decision)));
      return [];
    } catch (error) {
      if (!(error instanceof PolicyInvalid)) throw error;
      return error.diagnostics.map(({ file, message }) => `${file}: ${message}`);
    }
  });
}

const inputOf = (roles: readonly string[], resource = 'orders/1') => ({
  now: '2026-01-02T03:04:05.678Z',
  tenant: { id: 'shop' },
  subject: { class: 'user', type: 'user', id: 'ann', properties: {}, groups: [], roles, status: 'active' },
  actors: [],
  action: { name: 'GET', properties: {} },
  resource: { type: 'path', id: resource, properties: {} },
  context: {},
  grant: null,
});

/** The decision of a tenant whose own rule says just this, by both evaluators, which must agree. */
async function decidedBy(said: string, extra: Record<string, string> = {}) {
  const files = { 'own.rego': `package own\n\n${said}\n`, ...extra };
  return withFolder(files, async (folder) => {
    const sources = await read(folder, declaredBy('data.own.decision'));
    const asked = {
      entryPoint: 'mandate/decision',
      input: JSON.stringify(inputOf(['buyer'])),
      nowMs: 0,
      seed: 's',
    };
    const { agreement, value } = await explainPolicy(compiler(), sources, asked, LIMITS);
    expect(agreement).toBe('same');
    return value;
  });
}

describe('a tenant with a decision of its own', () => {
  test('its tests pass: tables by the mapping and the guardrails, Rego by itself', async () => {
    await withFolder(FILES, async (folder) => {
      const ran = await tested(folder, { declared: declaredBy(MANIFEST.decision), covered: true });
      if (!('tests' in ran)) throw new Error(JSON.stringify(ran));
      expect(ran.tests.filter(({ fail, error, differs }) => fail || error || differs)).toEqual([]);
      expect(ran.tests).toHaveLength(6);
    });
  });

  test('is explained down to the rule that decided', async () => {
    await withFolder(FILES, async (folder) => {
      const sources = await read(folder, declaredBy(MANIFEST.decision));
      const asked = {
        entryPoint: 'mandate/decision',
        input: JSON.stringify({ ...inputOf(['buyer']), action: { name: 'PUT', properties: {} } }),
        nowMs: 0,
        seed: 's',
      };
      const { agreement, rules } = await explainPolicy(compiler(), sources, asked, LIMITS);
      expect(agreement).toBe('same');
      const [rule] = rules;
      expect(rule).toMatchObject({ name: 'shop.authz.allow', isPlatform: false });
      const [body] = rule?.bodies.filter(({ failed }) => failed) ?? [];
      expect(body).toMatchObject({
        file: 'authz.rego',
        failed: { text: '[input.method, input.path[0]] in roles.permits(role)' },
      });
      expect(body?.failed?.values).toContainEqual({ of: 'input.method', value: '"PUT"' });
    });
  });

  test('has no plan, and says by what', async () => {
    await withFolder(FILES, async (folder) => {
      const sources = () => read(folder, declaredBy(MANIFEST.decision));
      const question = { tenant: 'shop', revision: 'r', input: JSON.stringify(inputOf([])), sources };
      await expect(new Planner(compiler()).plan(question)).rejects.toMatchObject({
        code: 'plan_unsupported',
        message: expect.stringContaining('data.shop.authz.allow'),
      });
    });
  });

  test('is the same again from what a revision keeps', async () => {
    await withFolder(FILES, async (folder) => {
      const sources = await read(folder, declaredBy(MANIFEST.decision));
      const { contents } = contentsOf(sources, {});
      const kept = new Map(sources.files.map(({ bytes }) => [sha256(bytes), bytes]));
      const again = await sourcesIn('shop', contents, (digest) => Buffer.from(kept.get(digest) ?? ''));
      const [one, other] = [await compiler().compile(sources), await compiler().compile(again)];
      expect(other.revision).toBe(one.revision);
      const moved = await read(folder, declaredBy('data.shop.authz'));
      expect((await compiler().compile(moved)).revision).not.toBe(one.revision);
    });
  });
});

describe('what the rule may say', () => {
  test.each([
    ['decision := true', 'allow'],
    ['decision := false', 'deny'],
    ['decision := {"allow": true}', 'allow'],
    ['decision := {"allowed": true, "headers": {}}', 'allow'],
    ['decision := {"allow": false}', 'deny'],
  ])('%s', async (said, outcome) => {
    expect(await decidedBy(said)).toEqual(outcome);
  });

  test('a deny wins over its own allow, whatever form it has', async () => {
    for (const deny of ['["x"]', '{"x"}', '"x"', '{"x": 1}', 'true', '1'])
      expect(await decidedBy(`decision := {"allow": true, "deny": ${deny}}`), deny).toMatchObject({
        outcome: 'deny',
      });
    expect(await decidedBy('decision := {"allow": true, "deny": []}')).toBe('allow');
  });

  test('a challenge wins over allow', async () => {
    expect(await decidedBy('decision := {"allow": true, "challenge": {"type": "step_up"}}')).toMatchObject({
      outcome: 'challenge',
    });
  });

  test('anything else is no allow', async () => {
    for (const said of [
      '"true"',
      '1',
      'null',
      '["allow"]',
      '{"allow"}',
      '{"allow": "true"}',
      '{"allow": 1}',
      '{}',
      '{"result": true}',
    ])
      expect(await decidedBy(`decision := ${said}`), said).toMatchObject({
        outcome: 'deny',
        undefined: true,
      });
    expect(await decidedBy('decision := true if input.nothing')).toMatchObject({
      outcome: 'deny',
      undefined: true,
    });
  });

  test('what contradicts itself fails, and so denies', async () => {
    expect(await decidedBy('decision := {"allow": true, "allowed": false}')).toBeUndefined();
  });

  test("without a mapping its input is the platform's; one that is undefined allows nothing", async () => {
    expect(await decidedBy('decision if input.subject.id == "ann"')).toBe('allow');
    const none = { 'mapping.rego': 'package mapping\n\nasked := {"x": 1} if input.subject.id == "nobody"\n' };
    expect(await decidedBy('decision := true', none)).toMatchObject({ outcome: 'deny', undefined: true });
    const one = { 'mapping.rego': 'package mapping\n\nasked := {"who": input.subject.id}\n' };
    expect(await decidedBy('decision if input == {"who": "ann"}', one)).toBe('allow');
  });

  test('allows nobody whom a guardrail denies, whatever it says', async () => {
    const files = { 'own.rego': 'package own\n\ndecision := {"allow": true, "allowed": true}\n' };
    await withFolder(files, async (folder) => {
      const bundle = await compiler().compile(await read(folder, declaredBy('data.own.decision')));
      const instance = PolicyModule.compile(bundle.wasm).instantiate(bundle.data, LIMITS);
      const who = fc.record({ status: fc.constantFrom('active', 'disabled', 'unknown', 'else') });
      fc.assert(
        fc.property(who, fc.array(who, { maxLength: 2 }), fc.boolean(), ({ status }, actors, hasGrant) => {
          const whole = inputOf([]);
          const grant = hasGrant ? { scope: ['GET'], use: 'act' } : null;
          const input = { ...whole, subject: { ...whole.subject, status }, actors, grant };
          const { result } = instance.evaluate('mandate/decision', JSON.stringify(input), {
            nowMs: 0,
            seed: '',
          });
          const isSound =
            status === 'active' &&
            actors.every((each) => each.status === 'active') &&
            (hasGrant || actors.length === 0);
          expect(result === 'allow').toBe(isSound);
        }),
      );
    });
  });
});

describe('what does not compile', () => {
  const own = 'package own\n\ndecision := true\n';

  test.each([
    [
      'a decision that is not there',
      {},
      'data.own.decison',
      /tenant.yaml: decision: there is no rule and no package data.own.decison/,
    ],
    ['a function', { 'f.rego': 'package f\n\nf(x) := x\n' }, 'data.f.f', /is a function/],
    [
      'a mapping that maps nothing',
      { 'm.rego': 'package mapping\n\ninputs := {}\n' },
      'data.own.decision',
      /defines no asked/,
    ],
    [
      'a mapping that is spelled otherwise',
      { 'm.rego': 'package\n\nmapping\n\nasked := {}\n' },
      'data.own.decision',
      /on a line of its own|rego_parse_error/,
    ],
    [
      'a mistyped member in the mapping',
      { 'm.rego': 'package mapping\n\nasked := {"a": input.subjct.id}\n' },
      'data.own.decision',
      /m.rego: .*undefined ref: input.subjct/,
    ],
    [
      'a package of the platform',
      { 'm.rego': 'package mandate.decided\n\nallow := true\n' },
      'data.own.decision',
      /mandate/,
    ],
    [
      'one of OPA itself',
      { 'm.rego': 'package system.authz\n\nallow := true\n' },
      'data.own.decision',
      /system/,
    ],
    [
      'a look at the platform',
      { 'm.rego': 'package x\n\ny := data.mandate.decided.said\n' },
      'data.own.decision',
      /the platform's/,
    ],
    [
      'data in the place of a rule',
      { 'own/data.json': '{"decision": {"allow": true}}' },
      'data.own.decision',
      /own/,
    ],
  ])('%s', async (_name, files, decision, message) => {
    expect((await wrong({ 'own.rego': own, ...files }, decision)).join('\n')).toMatch(message);
  });

  test("a decision of the platform's, or no reference, is no manifest", () => {
    for (const decision of [
      'data.mandate.lib',
      'data["mandate"].x',
      'data.system.main',
      'data.mapping.input',
      'input.x',
      'data',
      'data.x[y]',
      'data.x; true',
      'data["x\\""]',
    ])
      expect(() => declaredBy(decision), decision).toThrow();
  });

  test('without a decision other packages are refused as ever', async () => {
    await withFolder({ 'own.rego': own }, async (folder) => {
      const sources = await read(folder, parseManifest({ id: 'shop' }, 'tenant.yaml'));
      await expect(compiler().compile(sources)).rejects.toThrow('unless tenant.yaml names another decision');
    });
  });
});
