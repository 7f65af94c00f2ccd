import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { at, type Ran } from '../cli/run.ts';
import { Stage } from '../delegation/stage.ts';
import { type Answer, type CheckJson, check, connect } from './requests.ts';
import { bearer, eventually, secrets } from './server.ts';

/** Why an answer was what it was: asked of a server about its own records, and held beside the source. */

interface Failed {
  file: string;
  line: number;
  column: number;
  text: string;
  values?: { of: string; value: string }[];
  times?: number;
  because?: Rule[];
}

interface Rule {
  name: string;
  isPlatform?: boolean;
  value?: string;
  bodies?: {
    file: string;
    line: number;
    held?: boolean;
    isDefault?: boolean;
    gave?: string[];
    failed?: Failed;
  }[];
  cut?: string;
}

interface Explained {
  index?: string;
  recordedOutcome: string;
  recordedRules: string[];
  outcome: string;
  reasons?: string[];
  recorded: string;
  missing?: string[];
  explanation: {
    entryPoint: string;
    engine: { code?: string; message?: string };
    opa: { code?: string; message?: string };
    agreement: string;
    rules: Rule[];
    notes?: string[];
  };
}

const CONFLICT = `package authz

allow := input.context.twice.a if input.action.name == "document.conflict"

allow := input.context.twice.b if input.action.name == "document.conflict"

allow if {
	input.action.name == "document.unlock"
	input.context.password == "hunter2"
}
`;

const MASKS = `package audit

mask contains "/input/context/password"
`;

let stage: Stage;
let dev: (...args: string[]) => Promise<Ran>;

beforeAll(async () => {
  stage = await Stage.open({ acmeFiles: { 'conflict.rego': CONFLICT, 'masks.rego': MASKS } });
  dev = at(stage.server);
});
afterAll(() => stage[Symbol.asyncDispose]());

const question = (subject: string, action: string, properties: object = {}, context: object = {}) => ({
  tenant: 'acme',
  subject: { type: 'user', id: subject },
  action: { name: action },
  resource: { type: 'document', id: 'roadmap', properties },
  context,
});

const asked = async (...given: Parameters<typeof question>): Promise<CheckJson> =>
  (await check(stage.server.data, question(...given))).body;

const explain = (body: object, credential?: string): Promise<Answer<Explained>> =>
  connect<Explained>(
    stage.server.admin,
    'AuditService/Explain',
    { tenant: 'acme', ...body },
    credential === undefined ? undefined : bearer(credential),
  );

async function explained({ decisionId }: { decisionId: string }): Promise<Explained> {
  const { status, body } = await explain({ decisionId });
  expect({ status, body }).toMatchObject({ status: 200 });
  expect(body).toMatchObject({ recorded: 'same', outcome: body.recordedOutcome });
  expect(body.explanation.agreement).toBe('same');
  // A rule has a value where one of its bodies held, and nowhere else.
  for (const { name, value = '', bodies = [], cut = '' } of body.explanation.rules)
    if (cut === '')
      expect([name, bodies.some(({ held }) => held)]).toEqual([name, value !== '' && value !== '[]']);
  return body;
}

const ruleIn = ({ explanation }: Explained, name: string): Rule => {
  const rule = explanation.rules.find((each) => each.name === name);
  if (!rule) throw new Error(`no rule ${name} in ${JSON.stringify(explanation.rules)}`);
  return rule;
};

/** The line of the source itself. */
async function lineOf({ file, line, column }: Failed): Promise<string> {
  const text = await readFile(path.join(stage.server.tenantFolder('acme'), file), 'utf8');
  return (text.split('\n')[line - 1] ?? '').slice(column - 1);
}

describe('AuditService.Explain', () => {
  test('an allow: which body of which rule held, where it stands', async () => {
    const told = await explained(await asked('alice', 'document.read', { sensitivity: 'public' }));
    const allow = ruleIn(told, 'authz.allow');
    expect(allow.value).toBe('true');
    const held = allow.bodies?.filter((body) => body.held);
    expect(held).toMatchObject([{ file: 'authz/documents.rego', line: 9, gave: ['true'] }]);
  });

  test('a deny: the first expression of each body that failed, as it is written there, and what it saw', async () => {
    const told = await explained(
      await asked('bob', 'document.edit', { sensitivity: 'internal', owner: 'dave' }),
    );
    expect(told.recordedOutcome).toBe('deny');
    const allow = ruleIn(told, 'authz.allow');
    expect(allow.value).toBe('false');
    const failures = (allow.bodies ?? []).flatMap(({ failed }) => failed ?? []);
    expect(failures.length).toBeGreaterThan(6);
    for (const failed of failures) expect((await lineOf(failed)).startsWith(failed.text)).toBe(true);
    const owner = failures.find(({ text }) => text === 'lib.owns_resource');
    expect(owner?.because).toMatchObject([
      {
        name: 'mandate.lib.owns_resource',
        isPlatform: true,
        bodies: [
          {
            failed: {
              file: 'platform/lib.rego',
              text: 'input.resource.properties.owner == input.subject.id',
              values: [
                { of: 'input.resource.properties.owner', value: '"dave"' },
                { of: 'input.subject.id', value: '"bob"' },
              ],
            },
          },
        ],
      },
    ]);
    const role = failures.find(({ text }) => text === 'lib.has_role("editor")');
    expect(role?.because?.[0]?.bodies?.[0]?.failed?.values).toEqual([
      { of: 'input.subject.roles', value: '["reader"]' },
      { of: 'role', value: '"editor"' },
    ]);
    expect(allow.bodies?.at(-1)).toMatchObject({
      file: 'authz/documents.rego',
      line: 6,
      isDefault: true,
      held: true,
    });
  });

  test('a binding after another: how often nothing got past', async () => {
    const told = await explained(await asked('nobody-known', 'document.read', { sensitivity: 'public' }));
    const failures = (ruleIn(told, 'authz.allow').bodies ?? []).flatMap(({ failed }) => failed ?? []);
    // Three roles are tried.
    expect(failures.find(({ text }) => text === 'lib.has_role(role)')).toMatchObject({
      times: 3,
      values: [{ of: 'role', value: '"auditor"' }],
    });
  });

  test("a guardrail's deny names the platform's rule", async () => {
    const told = await explained(await asked('mallory', 'document.read', { sensitivity: 'public' }));
    expect(told.recordedRules).toEqual(['mandate.guardrails']);
    const denials = ruleIn(told, 'mandate.guardrails.denials');
    expect(denials.isPlatform).toBe(true);
    expect(denials.bodies?.filter(({ held }) => held)).toMatchObject([
      { file: 'platform/guardrails.rego', gave: [expect.stringContaining('principal_disabled') as unknown] },
    ]);
  });

  test('a challenge: what held, and what of allow did not', async () => {
    const told = await explained(await asked('alice', 'document.delete', { owner: 'alice' }));
    expect(told.recordedOutcome).toBe('challenge');
    const held = ruleIn(told, 'authz.challenge').bodies?.filter((body) => body.held);
    expect(held).toMatchObject([{ file: 'authz/documents.rego', line: 51 }]);
    const factor = (ruleIn(told, 'authz.allow').bodies ?? []).find(
      ({ failed }) => failed?.text === 'second_factor',
    );
    expect(factor?.failed?.because).toMatchObject([
      { name: 'authz.second_factor', bodies: [{ failed: { text: 'input.context.mfa == true' } }, {}] },
    ]);
  });

  test('an exchange, and a deny rule that held in a check by its token', async () => {
    const token = await stage.granted();
    const [exchange] = await stage.records({ kind: 'exchange', outcome: 'allow' });
    const told = await explained({ decisionId: String(exchange?.['decisionId']) });
    expect(told.explanation.entryPoint).toBe('mandate/delegation');
    expect(ruleIn(told, 'delegation.allow').bodies).toMatchObject([
      { file: 'delegation/delegation.rego', line: 7, held: true },
    ]);
    const { body } = await check(stage.server.data, {
      tenant: 'acme',
      subjectToken: token,
      action: { name: 'document.edit' },
      resource: { type: 'document', id: 'roadmap', properties: { owner: 'alice' } },
      audience: 'docs-mcp',
    });
    const denied = await explained(body);
    const held = ruleIn(denied, 'authz.deny').bodies?.filter((each) => each.held);
    expect(held).toMatchObject([
      {
        file: 'authz/agents.rego',
        line: 7,
        gave: [expect.stringContaining('"agent_may_only_suggest"') as unknown],
      },
    ]);
    expect(ruleIn(denied, 'mandate.guardrails.acting_denials').bodies?.some((each) => each.held)).toBe(true);
  });

  test('two values for one rule: file and line, for those who may read the policy, and in the record', async () => {
    const context = { twice: { a: true, b: false } };
    const conflict = await asked('alice', 'document.conflict', {}, context);
    expect(conflict).toMatchObject({
      decision: 'DECISION_DENY',
      reasons: [
        {
          code: 'policy_failed',
          message: 'The policy could not be evaluated. It failed at conflict.rego:5:1.',
        },
      ],
    });
    const [record] = await stage.records({ decisionId: conflict.decisionId });
    const body = JSON.parse(Buffer.from(String(record?.['body']), 'base64').toString()) as object;
    expect(body).toMatchObject({ failed_at: 'conflict.rego:5:1' });
    const told = await explained(conflict);
    expect(told.explanation.engine).toMatchObject({
      code: 'policy_failed',
      message: 'conflict.rego:5:1: var assignment conflict',
    });
    expect(told.explanation.opa.code).toBe('eval_conflict_error');
    expect(ruleIn(told, 'authz.allow').cut).toMatch(/^conflict\.rego:5:1: /);
    const plain = await check(
      stage.server.data,
      question('alice', 'document.conflict', {}, context),
      bearer(secrets.api),
    );
    expect(plain.body.reasons).toEqual([
      { code: 'policy_failed', message: 'The policy could not be evaluated.' },
    ]);
  });

  test('tenant list says that it keeps failing, and where', async () => {
    for (let n = 0; n < 3; n += 1)
      await asked('alice', 'document.conflict', {}, { twice: { a: true, b: false } });
    const { stdout } = await dev('tenant', 'list');
    expect(stdout).toMatch(
      /^acme .* degraded +its policy failed repeatedly \(policy_failed at conflict\.rego:5:1\)$/m,
    );
    expect(stdout).toMatch(/^globex .* ok$/m);
  });

  test('and where the files on disk are not what decides', async () => {
    const file = path.join(stage.server.tenantFolder('globex'), 'policy.rego');
    const text = await readFile(file, 'utf8');
    await writeFile(file, `${text}\nallow if nonsense(1)\n`);
    const tenants = await eventually(
      async () => (await dev('tenant', 'list')).stdout,
      (list) => list.includes('stale'),
    );
    expect(tenants).toMatch(/^globex .* stale +the policy on disk does not compile \(policy\.rego:5\)$/m);
    await writeFile(file, text);
    await eventually(
      async () => (await dev('--json', 'tenant', 'list')).stdout,
      (list) => !list.includes('"stale"'),
    );
  });

  test('a decision of an older revision is explained by its own files', async () => {
    const before = await asked('alice', 'document.read', { sensitivity: 'public' });
    const file = path.join(stage.server.tenantFolder('acme'), 'conflict.rego');
    const text = await readFile(file, 'utf8');
    await writeFile(file, `${text}\nunused := 1\n`);
    await eventually(
      () => asked('alice', 'document.read', { sensitivity: 'public' }),
      ({ policyRevision }) => policyRevision !== before.policyRevision,
    );
    await explained(before);
    await writeFile(file, text);
    await eventually(
      () => asked('alice', 'document.read', { sensitivity: 'public' }),
      ({ policyRevision }) => policyRevision === before.policyRevision,
    );
    // The same files are the same revision.
    await explained(before);
  });

  test('what was kept out is named, never shown', async () => {
    const told = await explained(
      await asked('alice', 'document.read', { sensitivity: 'public' }, { password: 'hunter2' }),
    );
    expect(told.missing).toEqual(['/input/context/password']);
    expect(JSON.stringify(told)).not.toContain('hunter2');
    // One that the policy looked at: what is said now is not what was said, and that is no fault.
    const unlocked = await asked('alice', 'document.unlock', {}, { password: 'hunter2' });
    expect(unlocked.decision).toBe('DECISION_ALLOW');
    const { body } = await explain({ decisionId: unlocked.decisionId });
    expect(body).toMatchObject({ recordedOutcome: 'allow', outcome: 'deny', recorded: 'unknown' });
    expect(body.missing).toEqual(['/input/context/password']);
    const failures = (ruleIn(body, 'authz.allow').bodies ?? []).flatMap(({ failed }) => failed ?? []);
    expect(failures.find(({ file, line }) => file === 'conflict.rego' && line === 9)?.values).toEqual([
      { of: 'input.context.password', value: 'undefined' },
    ]);
    const { stderr, code } = await dev('audit', 'explain', unlocked.decisionId, '-t', 'acme');
    expect(code).toBe(0);
    expect(stderr).toContain(
      'kept out of the record, so that the decision may have come about otherwise: /input/context/password',
    );
  });

  test('takes policy.read beside audit.read', async () => {
    const { decisionId } = await asked('alice', 'document.read', { sensitivity: 'public' });
    const { status, body } = await explain({ decisionId }, secrets.api);
    expect({ status, body }).toMatchObject({ status: 403, body: { code: 'permission_denied' } });
    expect(JSON.stringify(body)).not.toContain('rego');
  });

  test.each([
    [{ index: 999_999 }, 404, 'not_found'],
    [{}, 400, 'invalid_request'],
    [{ decisionId: '01890000-0000-7000-8000-000000000000' }, 404, 'not_found'],
  ])('%j: %i %s', async (body, status, code) => {
    const answer = await explain(body);
    expect(answer.status).toBe(status);
    expect(answer.headers.get('mandate-error-code')).toBe(code);
  });

  test('a record of no question to the policy says what decided', async () => {
    const [started] = await stage.records({ kind: 'administration' });
    const { status, body } = await explain({ index: Number(started?.['index'] ?? 0) });
    expect({ status, body: JSON.stringify(body) }).toMatchObject({
      status: 400,
      body: expect.stringContaining('of the kind') as unknown,
    });
  });
});

describe('the command', () => {
  const args = ['-t', 'acme', '-s', 'user:bob', '-a', 'document.edit', '-r', 'document:roadmap'];

  test('check --explain prints the tree of the decision that it just asked for', async () => {
    const { stdout, stderr, code } = await dev('check', ...args, '--explain');
    expect({ stderr, code }).toEqual({ stderr: '', code: 1 });
    expect(stdout).toMatch(/^deny\n {2}not_allowed: no rule allows it\ndecision /);
    expect(stdout).toMatch(/^authz\/documents\.rego:27:2 +✗ lib\.owns_resource$/m);
    expect(stdout).toMatch(/^ +input\.subject\.id is "bob"$/m);
  });

  test('who may not, or cannot reach the admin plane, gets the plain answer and how to get more', async () => {
    const refused = await at(stage.server, secrets.api)('check', ...args, '--explain');
    expect(refused.code).toBe(1);
    expect(refused.stdout).toMatch(/^deny\n/);
    expect(refused.stdout).not.toContain('.rego');
    expect(refused.stderr).toMatch(/permission_denied.*\nmandate: +mandate audit explain \d+ -t acme\n$/);
    const away = await dev('--admin', 'http://127.0.0.1:1', 'check', ...args, '--explain');
    expect(away.code).toBe(1);
    expect(away.stderr).toMatch(/mandate audit explain \d+ -t acme\n$/);
  });

  test('audit explain takes an index or the id of a decision, as text and as JSON', async () => {
    const { decisionId, recordIndex } = await asked('bob', 'document.edit');
    const byId = await dev('audit', 'explain', decisionId, '-t', 'acme');
    const byIndex = await dev('audit', 'explain', String(recordIndex), '-t', 'acme');
    expect(byId).toEqual(byIndex);
    expect(byId).toMatchObject({ code: 0, stderr: '' });
    const json = await dev('--json', 'audit', 'explain', decisionId, '-t', 'acme');
    expect(JSON.parse(json.stdout)).toMatchObject({
      recorded: 'same',
      recorded_outcome: 'deny',
      explanation: { entry_point: 'mandate/decision', agreement: 'same', opa: { result: '"deny"' } },
    });
  });
});

test('for any question the explanation comes to what was answered', async () => {
  const word = fc.constantFrom('public', 'internal', 'confidential', 'restricted', '');
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom('alice', 'bob', 'carol', 'mallory', 'x\u202e\n'),
      fc.constantFrom('read', 'edit', 'suggest', 'delete', 'publish', 'index'),
      fc.record({
        sensitivity: word,
        owner: fc.constantFrom('alice', 'bob', 7, null),
        project: fc.constantFrom('apollo', 'hermes', ['apollo']),
      }),
      fc.record({ mfa: fc.boolean() }, { requiredKeys: [] }),
      async (subject, action, properties, context) => {
        const answer = await asked(subject, `document.${action}`, properties, context);
        const told = await explained(answer);
        expect(`DECISION_${told.outcome.toUpperCase()}`).toBe(answer.decision);
        expect(told.reasons ?? []).toEqual((answer.reasons ?? []).map(({ code }) => code));
      },
    ),
    { numRuns: 25 },
  );
});
