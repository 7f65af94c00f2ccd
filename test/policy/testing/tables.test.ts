import { describe, expect, test } from 'vitest';
import { readConfig } from '../../../src/config.ts';
import { PolicyInvalid } from '../../../src/policy/diagnostics.ts';
import { TestGate } from '../../../src/policy/testing/gate.ts';
import type { Judged } from '../../../src/policy/testing/judgement.ts';
import { parseManifest } from '../../../src/tenancy/manifest.ts';
import { read, tested, withFolder } from '../sources.ts';

/** Tables of requests: whole decisions by the module that serves, OPA's evaluator beside it. */

const manifest = parseManifest(
  {
    id: 'acme',
    actions: { 'document.read': { scope: 'docs.read', use: 'read' } },
    principals: [
      { class: 'user', id: 'alice', roles: ['reader'], properties: { level: 2 } },
      { class: 'user', id: 'mallory', roles: ['reader'], status: 'disabled' },
      { class: 'agent', id: 'helper' },
    ],
  },
  'tenant.yaml',
);

const AUTHZ = `package authz

allow if {
	input.action.name == "document.read"
	"reader" in input.subject.roles
	input.resource.properties.level <= input.subject.properties.level
}

allow if time.now_ns() == 1767225600000000000

deny contains "night" if input.context.night

challenge := {"type": "step_up", "acr": ["mfa"]} if input.action.name == "document.delete"

obligations contains {"type": "log", "who": input.subject.id} if input.action.name == "document.read"
`;

interface Row {
  readonly [member: string]: unknown;
}

const READS = {
  subject: 'user:alice',
  action: 'document.read',
  resource: { type: 'document', id: 'a', properties: { level: 1 } },
};

/** JSON is YAML. */
const table = (...rows: Row[]): string =>
  JSON.stringify({ tests: rows.map((row, at) => ({ name: `t${at}`, ...READS, ...row })) });

async function run(
  rows: readonly Row[],
  { authz = AUTHZ, files = {}, only = undefined as string | undefined, covered = false } = {},
) {
  return withFolder({ 'a.rego': authz, 'x_test.yaml': table(...rows), ...files }, async (folder) => {
    const ran = await tested(folder, { declared: manifest, only, covered });
    if ('refused' in ran) throw new Error(ran.refused.stderr);
    return ran;
  });
}

const outcomes = (tests: readonly Judged[]): string[] =>
  tests.map(({ fail, error, unmet, differs }) =>
    differs
      ? `differs ${JSON.stringify(differs)}`
      : error
        ? error.code
        : fail
          ? (unmet?.join('; ') ?? 'fail')
          : 'pass',
  );

const wrongIn = async (files: Readonly<Record<string, string>>) =>
  withFolder({ 'a.rego': AUTHZ, ...files }, async (folder) => {
    const error: unknown = await tested(folder, { declared: manifest }).catch((cause: unknown) => cause);
    if (!(error instanceof PolicyInvalid)) throw new Error('it was taken');
    return error.diagnostics;
  });

describe('a request of a table', () => {
  test('is decided whole: facts of tenant.yaml, the tenant’s rules, the platform’s guardrails', async () => {
    const { tests } = await run([
      { expect: 'allow' },
      { expect: 'allow', obligations: [{ who: 'alice', type: 'log' }] },
      { subject: 'user:mallory', expect: 'deny', reasons: ['principal_disabled'] },
      {
        subject: { class: 'user', id: 'nobody', status: 'unknown' },
        expect: 'deny',
        reasons: ['principal_unknown'],
      },
      { actors: ['agent:helper'], expect: 'deny', reasons: ['grant_required'] },
      { actors: ['agent:helper'], grant: { scope: ['docs.read'], use: 'read' }, expect: 'allow' },
      {
        actors: ['agent:helper'],
        grant: { scope: ['docs.write'] },
        expect: 'deny',
        reasons: ['scope_insufficient'],
      },
      { context: { night: true }, expect: 'deny', reasons: ['night'], obligations: [] },
      { action: 'document.delete', expect: 'challenge', challenge: { acr: ['mfa'], type: 'step_up' } },
      { action: 'document.print', expect: 'deny', reasons: ['policy_undefined'] },
      { action: 'document.print', now: '2026-01-01T00:00:00Z', expect: 'allow' },
    ]);
    expect(outcomes(tests)).toEqual(tests.map(() => 'pass'));
    for (const { cost } of tests) expect(cost).toBeGreaterThan(0);
  });

  test('fails by whatever of it is not so, and says what is', async () => {
    const { tests } = await run([
      { expect: 'deny' },
      { expect: 'challenge' },
      { context: { night: true }, expect: 'allow' },
      { context: { night: true }, expect: 'deny', reasons: [] },
      { context: { night: true }, expect: 'deny', reasons: ['night', 'late'] },
      { expect: 'allow', obligations: [] },
      { expect: 'allow', obligations: [{ type: 'log', who: 'alice', more: 1 }] },
      { action: 'document.delete', expect: 'challenge', challenge: { type: 'step_up' } },
    ]);
    expect(outcomes(tests)).toEqual(
      [
        'expected deny, and it is allow',
        'expected challenge, and it is allow',
        'expected allow, and it is deny (night)',
        'expected the reasons [], and they are ["night"]',
        'expected the reasons ["night","late"], and they are ["night"]',
        'expected the obligations [], and they are [{"type":"log","who":"alice"}]',
        'expected the obligations [{"type":"log","who":"alice","more":1}], and they are [{"type":"log","who":"alice"}]',
        'expected the challenge {"type":"step_up"}, and it is {"acr":["mfa"],"type":"step_up"}',
      ].map((each) => expect.stringContaining(each.split(', and')[0] ?? '') as string),
    );
  });

  test('is an error where the evaluation fails, and hides none of the others', async () => {
    const authz = `package authz

x := 1 if input.context.x

x := 2 if input.context.x

allow if x == 1

allow if not input.context.x

obligations contains "no object" if input.context.y

allow if {
	n := input.context.z
	count([1 | some a in numbers.range(1, n); some b in numbers.range(1, n); a == b]) < 0
}
`;
    const { tests } = await run(
      [
        { expect: 'allow' },
        { context: { x: true }, expect: 'deny' },
        { context: { y: true }, expect: 'allow' },
        { context: { x: false, z: 1_000 }, expect: 'allow' },
      ],
      { authz },
    );
    expect(outcomes(tests)).toEqual(['pass', 'policy_failed', 'policy_failed', 'deadline_exceeded']);
  });

  test('by which the two evaluators differ is a failure that says so', async () => {
    const authz =
      'package authz\n\nallow if rand.intn("seed", 1000000000) % 2 == 0\n\nreasons contains sprintf("%d", [rand.intn("seed", 1000000000)])\n';
    const { tests } = await run([{ expect: 'allow' }], { authz });
    expect(outcomes(tests)[0]).toMatch(/^differs/);
  });

  test('costs the same each time, and in whatever company', async () => {
    const alone = await run([{ expect: 'allow' }]);
    const among = await run([{ context: { night: true }, expect: 'deny' }, { expect: 'allow' }]);
    expect(among.tests[1]?.cost).toBe(alone.tests[0]?.cost);
  });

  test('is picked by its file and name', async () => {
    const { tests } = await run([{ expect: 'allow' }, { expect: 'allow' }], { only: '^x_test.yaml: t1$' });
    expect(tests.map(({ name }) => name)).toEqual(['t1']);
  });

  test('reaches lines as a test in Rego does', async () => {
    const without = await run([], { covered: true });
    const { coverage } = await run(
      [{ expect: 'allow' }, { action: 'document.delete', expect: 'challenge' }],
      { covered: true },
    );
    expect(coverage?.differing).toEqual([]);
    expect(without.coverage?.report.coverage).toBe(0);
    expect(coverage?.report.files['a.rego']?.covered_lines).toBeGreaterThan(4);
  });
});

describe('a table that is not understood', () => {
  test('is refused, every file with its line', async () => {
    const files = {
      'deep/a_test.yaml': `tests:\n  - name: a\n    subject: user:alise\n    action: read\n    resource: document:a\n    expect: allow\n`,
      'b_test.yml': 'tests:\n  - nmae: a\n',
      'c_test.yaml': table({ expect: 'allow', actors: ['agent:nobody-like-it'] }),
    };
    expect(await wrongIn(files)).toEqual([
      { file: 'b_test.yml', line: 2, message: expect.stringContaining('Unrecognized key: "nmae"') as string },
      {
        file: 'c_test.yaml',
        line: 1,
        message:
          'tenant.yaml has no principal "agent:nobody-like-it"; say {class, id, roles, groups, properties}',
      },
      {
        file: 'deep/a_test.yaml',
        line: 3,
        message: 'tenant.yaml has no principal "user:alise"; did you mean user:alice?',
      },
    ]);
  });

  test('is told after what does not compile', async () => {
    const error: unknown = await run([{ expect: 'allow' }], {
      authz: 'package authz\n\nallow := nosuch(1)\n',
    }).catch((cause: unknown) => cause);
    expect(String(error)).toContain('nosuch');
  });

  test('of too many characters in all is refused', async () => {
    const long = `# ${'x'.repeat(600 * 1024)}\n`;
    await expect(run([], { files: { 'y_test.yaml': long, 'z_test.yaml': long } })).rejects.toThrow(
      'characters of tests in all',
    );
  });
});

test('a table is part of the revision, and of nothing that decides', async () => {
  const [without, one, other] = await Promise.all(
    [{}, { 'x_test.yaml': table({ expect: 'allow' }) }, { 'x_test.yaml': table({ expect: 'deny' }) }].map(
      (files) =>
        withFolder({ 'a.rego': AUTHZ, ...files }, async (folder) => {
          const { files: listed, data, modules } = await read(folder, manifest);
          return { paths: listed.map(({ path }) => path), data, modules: [...modules.keys()] };
        }),
    ),
  );
  expect(without?.paths).toEqual(['a.rego']);
  expect(one?.paths).toEqual(['a.rego', 'x_test.yaml']);
  expect([one?.data, one?.modules]).toEqual([other?.data, other?.modules]);
});

describe('before a revision becomes active', () => {
  const { opa, home } = readConfig({ MANDATE_OPA: process.env['MANDATE_OPA'] });
  const gate = new TestGate({ opa, policies: `${home}/policies`, cache: undefined });
  const limits = { fuel: 20_000_000, memoryPages: 1024 };
  const pass = (rows: readonly Row[], principals = manifest.principals) =>
    withFolder({ 'a.rego': AUTHZ, 'x_test.yaml': table(...rows) }, async (folder) =>
      gate.pass(await read(folder, manifest), { limits, principals, covered: false }),
    );

  test('its tables are run, and counted', async () => {
    expect(await pass([{ expect: 'allow' }, { expect: 'allow' }])).toMatchObject({ passed: 2, failed: 0 });
  });

  test('a large one is read where nobody waits, and run whole', async () => {
    const rows = Array.from({ length: 300 }, () => ({ expect: 'allow' }));
    expect(await pass(rows)).toMatchObject({ passed: 300, failed: 0 });
  });

  test('one that fails refuses it, with file, line and what was expected', async () => {
    const error: unknown = await pass([{ expect: 'deny' }]).catch((cause: unknown) => cause);
    expect((error as PolicyInvalid).diagnostics).toEqual([
      {
        file: 'x_test.yaml',
        line: 1,
        message: 'the test x_test.yaml: t0 failed: expected deny, and it is allow',
      },
    ]);
  });

  test('one that names nobody of the tenant’s refuses it', async () => {
    await expect(pass([{ expect: 'allow' }], [])).rejects.toThrow('has no principal "user:alice"');
  });
});
