import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { at } from '../../cli/run.ts';
import { check, connect, exchangeFields, form, type TokenJson, tokenReads } from '../../e2e/requests.ts';
import { basic, bearer, editTenant, eventually, sha256 } from '../../e2e/server.ts';
import { agent, type Client, deniedFor, mcp, otherAgent, refusalOf, refused, Stage } from '../stage.ts';

/** A task that was opened with a budget, and whoever would do more of it than that. */

const TASK = 'urn:mandate:params:oauth:token-type:task';

const REGO = `package authz

deny contains "no_budget" if {
	input.action.name == "document.suggest"
	not input.grant.task.budget.paid
}

deny contains "said_ten" if input.usage.paid == 10
`;

let stage: Stage;
beforeAll(async () => {
  stage = await Stage.open({
    overrides: {
      base_url: 'http://mandate.example',
      operators: [{ id: 'operator', secret_sha256: sha256(OPERATOR) }],
    },
    acme: (manifest) => {
      manifest.tasks = { max_hours: 2 };
      manifest.meters = {
        reads: { actions: ['document.read'], per: 'task' },
        paid: { actions: ['document.suggest'], per: 'task', sum: 'resource.properties.euros' },
        hourly: { actions: ['document.read'], per: 'task', window: '1h' },
        mine: { actions: ['document.read'], per: 'subject' },
      };
      for (const { ceiling } of manifest.principals) if (ceiling) ceiling.max_depth = 3;
    },
    acmeFiles: { 'authz/budget.rego': REGO },
  });
});
afterAll(() => stage[Symbol.asyncDispose]());
const OPERATOR = 'budgets-test-operator-secret-00000001';

type TaskJson = TokenJson & { task_id: string };
type Fields = Record<string, string>;

const token = (subject: string, fields: Fields = {}, client: Client = agent) =>
  form<TaskJson>(stage.server.data, 'token', exchangeFields(subject, fields), client);
const open = async (budget: unknown) =>
  token(await stage.issuer.sign(), {
    scope: 'docs.read docs.suggest',
    task_purpose: 'x',
    task_budget: JSON.stringify(budget),
  });
const opened = async (budget: unknown): Promise<TaskJson> => (await open(budget)).body;
const renew = async (task: string, client?: Client): Promise<string> =>
  (await token(task, { subject_token_type: TASK }, client)).body.access_token;
const pays = async (subjectToken: string, euros: number) => {
  const asked = tokenReads(subjectToken);
  const resource = { ...asked.resource, properties: { ...asked.resource.properties, euros } };
  const what = { ...asked, action: { name: 'document.suggest' }, resource };
  return (await check(stage.server.data, what, bearer(mcp.secret))).body;
};
const cap = (taskId: string, to: object) =>
  connect<{ message?: string }>(
    stage.server.data,
    'DelegationService/CapTask',
    { tenant: 'acme', taskId, ...to },
    basic(agent.id, agent.secret),
  );
const ALLOW = { decision: 'DECISION_ALLOW' };
const SPENT = deniedFor('usage_exceeded');

describe('a budget is not overspent', () => {
  test('by many at once, by fresh tokens, by an agent that joined', async () => {
    const { task_id: task, access_token: first } = await opened({ reads: 5 });
    const part = await token(task, {
      subject_token_type: TASK,
      requested_token_type: TASK,
      may_act: 'agent:other-agent',
    });
    const tokens = [
      first,
      await renew(task),
      await renew(part.body.access_token, otherAgent),
      ...(await Promise.all([1, 2].map(() => renew(task)))),
    ];
    const answers = await Promise.all(
      Array.from({ length: 40 }, (_, turn) => stage.check(tokens[turn % tokens.length] ?? first)),
    );
    expect(answers.filter(({ decision }) => decision === 'DECISION_ALLOW')).toHaveLength(5);
    expect(await stage.check(await renew(task))).toMatchObject(SPENT);
    // Of another task nothing was used.
    expect(await stage.check((await opened({ reads: 1 })).access_token)).toMatchObject(ALLOW);
  });

  test('nor after a restart', async () => {
    const { task_id: task, access_token: first } = await opened({ reads: 2 });
    expect(await stage.check(first)).toMatchObject(ALLOW);
    await stage.restart();
    expect(await stage.check(await renew(task))).toMatchObject(ALLOW);
    expect(await stage.check(await renew(task))).toMatchObject(SPENT);
  });

  test('by a sum, which is exact', async () => {
    const { access_token: own } = await opened({ paid: 0.3 });
    for (let turn = 0; turn < 3; turn += 1) expect(await pays(own, 0.1)).toMatchObject(ALLOW);
    expect(await pays(own, 0.000_001)).toMatchObject(SPENT);
  });

  test('by none at all', async () => {
    expect(await stage.check((await opened({ reads: 0 })).access_token)).toMatchObject(SPENT);
  });

  test('and can be lowered while it goes on, below what was used too, and never raised', async () => {
    const { task_id: task, access_token: own } = await opened({ reads: 5 });
    for (let turn = 0; turn < 2; turn += 1) expect(await stage.check(own)).toMatchObject(ALLOW);
    expect((await cap(task, { budget: { reads: 3 } })).body).toMatchObject({ budget: { reads: 3 } });
    expect((await cap(task, { budget: { reads: 50 } })).body).toMatchObject({ budget: { reads: 3 } });
    expect(await stage.check(own)).toMatchObject(ALLOW);
    expect(await stage.check(own)).toMatchObject(SPENT);
    // One that had none is bounded from then on, what was used before included.
    const { task_id: other, access_token: free } = await opened({});
    for (let turn = 0; turn < 2; turn += 1) expect(await stage.check(free)).toMatchObject(ALLOW);
    await cap(other, { budget: { reads: 1 } });
    expect(await stage.check(free)).toMatchObject(SPENT);
  });

  test('when its meter counts otherwise later: nothing more is done of it', async () => {
    await using changed = await Stage.open({
      acme: (manifest) => {
        manifest.tasks = { max_hours: 2 };
        manifest.meters = { reads: { actions: ['document.read'], per: 'task' } };
      },
    });
    const ask = (subject: string, fields: Fields) =>
      form<TaskJson>(changed.server.data, 'token', exchangeFields(subject, fields), agent);
    const fields = { task_purpose: 'x', task_budget: '{"reads":5}' };
    const { body } = await ask(await changed.issuer.sign(), fields);
    expect(await changed.check(body.access_token)).toMatchObject(ALLOW);
    await editTenant(changed.server.tenantFolder('acme'), (manifest) => {
      manifest.meters = { reads: { actions: ['document.read'], per: 'subject' } };
    });
    await eventually(
      () => changed.check(body.access_token),
      ({ decision }) => decision === 'DECISION_DENY',
    );
    expect(await changed.check(body.access_token)).toMatchObject(SPENT);
    expect(refusalOf(await ask(body.task_id, { subject_token_type: TASK }))).toEqual(
      refused('exchange_denied'),
    );
  });
});

test('a budget is seen by the policy, in the record, and by who looks', async () => {
  const { task_id: task, access_token: own } = await opened({ paid: 20, reads: 5 });
  expect(await pays(own, 10)).toMatchObject(ALLOW);
  expect(await pays(own, 1)).toMatchObject(deniedFor('said_ten'));
  const { access_token: without } = await opened({ reads: 5 });
  expect(await pays(without, 1)).toMatchObject(deniedFor('no_budget'));
  const [record] = await stage.records({ kind: 'exchange', taskId: task });
  expect(JSON.parse(Buffer.from(record?.['body'] as string, 'base64').toString())).toMatchObject({
    input: {
      action: { properties: { task: { budget: { paid: 20, reads: 5 } } } },
      grant: { task: { budget: { paid: 20, reads: 5 } } },
    },
  });
  const run = at(stage.server, agent.secret);
  const { stdout } = await run('task', 'show', '-t', 'acme', task);
  expect(stdout).toMatch(/\nbudget +paid: 10 of 20\nbudget +reads: 0 of 5\n/);
});

describe('no task is opened with a budget', () => {
  test.each([
    ['of a meter that is not there', { nothing: 1 }],
    ['of one that counts for a window', { hourly: 1 }],
    ['of one that counts for a subject', { mine: 1 }],
    ['of a name that all objects have', { constructor: 1 }],
    ['below nothing', { reads: -1 }],
    ['finer than is counted', { reads: 0.000_000_1 }],
    ['that is no number', { reads: '5' }],
    ['that is none', []],
  ])('%s', async (_name, budget) => {
    expect(refusalOf(await open(budget))).toEqual(refused('invalid_request'));
  });

  test.each([
    ['that says two things', { task_purpose: 'x', task_budget: '{"reads":1,"reads":9}' }],
    ['without a task', { task_budget: '{"reads":1}' }],
  ])('%s', async (_name, fields) => {
    expect(refusalOf(await token(await stage.issuer.sign(), fields))).toEqual(refused('invalid_request'));
  });
});
