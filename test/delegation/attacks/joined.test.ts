import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { claimsOf, connect, exchangeFields, form, type TokenJson } from '../../e2e/requests.ts';
import { basic, sha256 } from '../../e2e/server.ts';
import {
  agent,
  alias,
  type Client,
  deniedFor,
  globexAgent,
  mcp,
  otherAgent,
  refusalOf,
  refused,
  Stage,
} from '../stage.ts';

/** A task that a second agent was let into, and whoever would have more of it than was said. */

const TASK = 'urn:mandate:params:oauth:token-type:task';
const SCOPES = 'docs.read docs.suggest';
/** Somebody whom no policy lets join. */
const barred: Client = { id: 'barred-agent', secret: 'joined-test-barred-agent-secret-0001' };

const REGO = `package delegation

deny contains "joins_nothing" if {
	input.action.name == "task.join"
	input.actors[0].id == "barred-agent"
}
`;

let stage: Stage;
beforeAll(async () => {
  stage = await Stage.open({
    acme: (manifest) => {
      manifest.tasks = { max_hours: 2 };
      const ceiling = { scopes: ['docs.read', 'docs.suggest'], audiences: ['docs-mcp'] };
      const credentials = [{ secret_sha256: sha256(barred.secret) }];
      manifest.principals.push({ class: 'agent', id: barred.id, credentials, ceiling });
      for (const { id, ceiling: own } of manifest.principals) {
        if (!own) continue;
        own.max_depth = 3;
        if (id === otherAgent.id) Object.assign(own, { use: 'suggest', scopes: SCOPES.split(' ') });
      }
    },
    acmeFiles: { 'delegation/joining.rego': REGO },
  });
});
afterAll(() => stage[Symbol.asyncDispose]());

interface TaskJson extends TokenJson {
  task_id: string;
}
type Fields = Record<string, string>;

const token = (subject: string, fields: Fields, client: Client = agent, tenant = 'acme') =>
  form<TaskJson>(stage.server.data, 'token', exchangeFields(subject, fields), client, tenant);
const opened = async (fields: Fields = {}): Promise<TaskJson> =>
  (await token(await stage.issuer.sign(), { scope: SCOPES, task_purpose: 'x', ...fields })).body;
const JOINS = { subject_token_type: TASK, requested_token_type: TASK, may_act: 'agent:other-agent' };
const join = (task: string, fields: Fields = {}, by: Client = agent) =>
  token(task, { ...JOINS, scope: SCOPES, ...fields }, by);
const renew = (part: string, fields: Fields = {}, by: Client = otherAgent) =>
  token(part, { subject_token_type: TASK, ...fields }, by);
/** A task, the part of the second agent in it, and a token of that. */
const joined = async (fields: Fields = {}) => {
  const { task_id: task } = await opened();
  const { body } = await join(task, fields);
  return { task, part: body.access_token, token: (await renew(body.access_token)).body.access_token };
};
const revoke = (grantId: string, by: Client = agent) =>
  connect(
    stage.server.data,
    'DelegationService/Revoke',
    { tenant: 'acme', grantId },
    basic(by.id, by.secret),
  );
const denied = refused('exchange_denied');
const none = refused('token_invalid');

describe('nobody joins a task', () => {
  test('by its id, whoever it is: the agent that opened it says who', async () => {
    const { task_id: task, access_token: first } = await opened();
    expect(refusalOf(await renew(task))).toEqual(none);
    expect(refusalOf(await join(task, { may_act: 'agent:alice' }, otherAgent))).toEqual(none);
    expect(refusalOf(await join(task, {}, otherAgent))).toEqual(denied);
    for (const subject of [first, await stage.issuer.sign({ client_id: otherAgent.id })])
      for (const type of [{}, { subject_token_type: TASK }])
        expect((await join(subject, type, otherAgent)).status).toBe(400);
  });

  test('by the part of another, nor by anything else in the place of a task', async () => {
    const { task, part, token: own } = await joined();
    for (const each of [part, own, 'nothing'])
      for (const by of [agent, alias, barred]) expect(refusalOf(await renew(each, {}, by))).toEqual(none);
    expect(refusalOf(await renew(own))).toEqual(none);
    expect(
      refusalOf(
        await token(part, { audience: 'tools-mcp', subject_token_type: TASK }, globexAgent, 'globex'),
      ),
    ).toEqual(none);
    expect(refusalOf(await stage.exchange(part, {}, otherAgent))).toEqual(none);
    expect(await stage.check(part)).toMatchObject(deniedFor('token_invalid'));
    expect((await renew(task, {}, agent)).status).toBe(200);
  });

  test('as a third, by whom an agent that joined would let in', async () => {
    const { part, token: own } = await joined();
    for (const may_act of ['agent:alice', 'agent:research-agent'])
      expect(refusalOf(await join(part, { may_act }, otherAgent))).toEqual(denied);
    expect(refusalOf(await renew(part, { may_act: 'agent:alice' }))).toEqual(denied);
    // Nor is what it has good for anybody to exchange, the server that it is for included.
    for (const by of [alias, agent, mcp])
      expect(refusalOf(await stage.exchange(own, {}, by))).toEqual(denied);
    expect(claimsOf(own)).toMatchObject({ may_act: { sub: otherAgent.id } });
  });

  test('whom the policy denies it, nor whom the task does not name where it names one', async () => {
    const { task_id: task } = await opened();
    const by = await join(task, { may_act: `agent:${barred.id}` });
    expect([by.status, by.body]).toMatchObject([400, { reasons: [{ code: 'joins_nothing' }] }]);
    const { task_id: named } = await opened({ may_act: 'agent:alice' });
    expect(refusalOf(await join(named))).toEqual(denied);
    expect((await join(named, { may_act: 'agent:alice', scope: 'docs.read' })).status).toBe(200);
  });
});

describe('an agent that joined has no more', () => {
  test('scopes, use, time and servers than the task, its cap, and the ceilings of both', async () => {
    const { task_id: task } = await opened({ scope: 'docs.read' });
    expect(refusalOf(await join(task, { scope: 'docs.suggest' }))).toMatchObject({ code: 'invalid_scope' });
    expect(refusalOf(await join(task, { audience: 'docs-api' }))).toMatchObject({ code: 'invalid_target' });
    const { body: part } = await join(task, { use: 'act', task_lifetime: '60' });
    expect(part).toMatchObject({ scope: 'docs.read', use: 'suggest', token_type: 'N_A' });
    expect(part).toMatchObject({ issued_token_type: TASK, task_id: task });
    expect(part.expires_in).toBeLessThanOrEqual(60);
    const { body } = await renew(part.access_token, { scope: SCOPES, use: 'act' });
    expect(body).toMatchObject({ scope: 'docs.read', use: 'suggest' });
    expect(body.expires_in).toBeLessThanOrEqual(60);
    const long = (await join(task, { task_lifetime: '999999' })).body;
    expect(long.expires_in).toBeLessThanOrEqual(7_200);
  });

  test('than what it was let in for, though the task has more', async () => {
    const { part } = await joined({ scope: 'docs.read', use: 'read' });
    expect(refusalOf(await renew(part, { scope: 'docs.suggest' }))).toMatchObject({ code: 'invalid_scope' });
    expect((await renew(part, { scope: SCOPES, use: 'act' })).body).toMatchObject({
      scope: 'docs.read',
      use: 'read',
    });
  });

  test('than what the task is capped to, before it joined and after', async () => {
    const { task, part, token: own } = await joined();
    const cap = { tenant: 'acme', taskId: task, scopes: ['docs.read'], use: 'read' };
    const capped = (by: Client) =>
      connect(stage.server.data, 'DelegationService/CapTask', cap, basic(by.id, by.secret));
    // It is not for whoever joined to say.
    expect((await capped(otherAgent)).status).toBe(404);
    expect((await capped(agent)).status).toBe(200);
    expect(await stage.introspect(own, otherAgent)).toMatchObject({ scope: 'docs.read', use: 'read' });
    expect((await renew(part, { scope: SCOPES })).body).toMatchObject({ scope: 'docs.read', use: 'read' });
    expect((await join(task)).body).toMatchObject({ scope: 'docs.read', use: 'read' });
  });

  test('depth than each ceiling has', async () => {
    await using shallow = await Stage.open({
      acme: (manifest) => {
        manifest.tasks = { max_hours: 2 };
        for (const { id, ceiling } of manifest.principals)
          if (ceiling && id === agent.id) ceiling.max_depth = 1;
      },
    });
    const fields = exchangeFields(await shallow.issuer.sign(), { task_purpose: 'x' });
    const { task_id: task } = (await form<TaskJson>(shallow.server.data, 'token', fields, agent)).body;
    const asked = exchangeFields(task, JOINS);
    expect(refusalOf(await form(shallow.server.data, 'token', asked, agent))).toEqual(denied);
  });
});

describe('what an agent that joined has ends', () => {
  test.each([
    ['the task', ({ task }: { task: string }) => revoke(task)],
    ['its own part, by the agent that let it in', ({ part }: { part: string }) => revoke(part)],
    ['its own part, by itself', ({ part }: { part: string }) => revoke(part, otherAgent)],
    [
      'the task, by an operator',
      ({ task }: { task: string }) =>
        connect(stage.server.admin, 'KillService/Kill', { tenant: 'acme', grantId: task }),
    ],
  ])('with %s', async (_what, end) => {
    const { task, part, token: own } = await joined();
    expect((await end({ task, part })).status).toBe(200);
    expect(await stage.check(own)).toMatchObject(deniedFor('token_revoked'));
    expect(await stage.introspect(own, otherAgent)).toEqual({ active: false });
    expect(refusalOf(await renew(part))).toEqual(refused('token_revoked'));
  });

  test.each([
    ['user', 'alice'],
    ['agent', agent.id],
    ['agent', otherAgent.id],
  ])('with %s %s, and does not come back with it', async (cls, id) => {
    const { part, token: own } = await joined();
    await stage.setStatus(cls, id, 'DISABLED');
    try {
      expect(await stage.check(own)).toMatchObject(deniedFor('token_revoked'));
      expect((await renew(part)).status).not.toBe(200);
    } finally {
      await stage.setStatus(cls, id, 'ACTIVE');
    }
    expect(await stage.check(own)).toMatchObject(deniedFor('token_revoked'));
    expect(refusalOf(await renew(part))).toEqual(refused('token_revoked'));
  });

  test('however it races the end of the task', async () => {
    for (let round = 0; round < 5; round += 1) {
      const { task_id: task } = await opened();
      const racing = Array.from({ length: 10 }, async () => {
        const { body } = await join(task);
        return body.access_token ? (await renew(body.access_token)).body : body;
      });
      expect((await revoke(task)).status).toBe(200);
      for (const body of await Promise.all(racing))
        if (body.access_token)
          expect(await stage.check(body.access_token)).toMatchObject(deniedFor('token_revoked'));
    }
  });

  test('and nothing beside it: what the other agents have goes on', async () => {
    const { task, part } = await joined();
    const another = (await join(task, { may_act: 'agent:alice', scope: 'docs.read' })).body.access_token;
    await revoke(part);
    expect((await renew(task, {}, agent)).status).toBe(200);
    expect((await renew(another, {}, alias)).status).toBe(200);
  });
});

describe('it is no join', () => {
  test.each([
    ['of nobody', { may_act: '' }, 'invalid_request'],
    ['of who opened it', { may_act: 'agent:research-agent' }, 'exchange_denied'],
    ['of somebody who is no agent', { may_act: 'mcp_server:docs-mcp' }, 'exchange_denied'],
    ['of a user', { may_act: 'user:alice' }, 'exchange_denied'],
    ['of an agent that is not there', { may_act: 'agent:nobody' }, 'exchange_denied'],
    ['that opens another task', { task_purpose: 'y' }, 'invalid_request'],
    ['for a time that is none', { task_lifetime: 'long' }, 'invalid_request'],
  ])('%s', async (_name, fields, code) => {
    const { task_id: task } = await opened();
    const { may_act, ...rest }: Fields = { ...JOINS, ...fields };
    const asked = { ...rest, ...(may_act !== '' && { may_act: may_act ?? '' }) };
    expect(refusalOf(await token(task, asked))).toEqual(refused(code));
  });

  test('with a token of the user, nor with none', async () => {
    const user = await stage.issuer.sign();
    const asked = { ...JOINS, subject_token_type: 'urn:ietf:params:oauth:token-type:access_token' };
    expect(refusalOf(await token(user, asked))).toEqual(refused('invalid_request'));
    const own = { tenant: 'acme', forItself: true, audience: 'docs-api', scopes: ['docs.read'] };
    const { status } = await connect(
      stage.server.data,
      'DelegationService/Exchange',
      { ...own, requestedTokenType: TASK, mayAct: { class: 'agent', id: otherAgent.id } },
      basic(mcp.id, mcp.secret),
    );
    expect(status).toBe(400);
  });
});

test('what joined is in the token, in the tree and in the log', async () => {
  const { task, part, token: own } = await joined();
  expect(claimsOf(own)).toMatchObject({
    sub: 'alice',
    act: { sub: otherAgent.id, act: { sub: agent.id } },
  });
  const { body } = await connect<{
    grants: { id: string; parentId?: string; depth: number; isTask?: boolean }[];
  }>(stage.server.data, 'GrantService/ListGrants', { tenant: 'acme', under: task });
  const node = body.grants.find(({ id }) => id === part);
  expect(node).toMatchObject({ parentId: task, depth: 2, isTask: true });
  expect(body.grants.find(({ parentId }) => parentId === part)).toMatchObject({ depth: 2 });
  const tasks = await connect<{ grants: { id: string }[] }>(
    stage.server.data,
    'GrantService/ListGrants',
    { tenant: 'acme', tasks: true },
    basic(otherAgent.id, otherAgent.secret),
  );
  expect(tasks.body.grants.map(({ id }) => id)).toContain(part);
  expect(tasks.body.grants.map(({ id }) => id)).not.toContain(task);
  const records = await stage.records({ taskId: task, pageSize: 100 });
  expect(records.map(({ action }) => action).toReversed()).toEqual(['task.open', 'task.join', 'task.renew']);
  for (const { id } of [agent, otherAgent]) {
    const found = await stage.records({
      taskId: task,
      principal: { class: 'agent', id },
      action: 'task.join',
    });
    expect(found, id).toHaveLength(1);
  }
  const [, record] = records;
  const { input } = JSON.parse(Buffer.from(record?.['body'] as string, 'base64').toString()) as {
    input: { actors: { id: string }[] };
  };
  expect(input.actors.map(({ id }) => id)).toEqual([otherAgent.id, agent.id]);
  expect(input).toMatchObject({ grant: { id: part, task: { id: task }, depth: 2 } });
});
