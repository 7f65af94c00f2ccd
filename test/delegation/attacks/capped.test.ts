import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { check, connect, exchangeFields, form, type TokenJson, tokenReads } from '../../e2e/requests.ts';
import { basic, bearer, sha256 } from '../../e2e/server.ts';
import { agent, type Client, deniedFor, mcp, otherAgent, refusalOf, refused, Stage } from '../stage.ts';

/** A task that was capped, and whoever would have more of it than that. */

const TASK = 'urn:mandate:params:oauth:token-type:task';
const operator = { id: 'operator', secret: 'capped-test-operator-secret-00000001' };

let stage: Stage;
/** The server's clock runs ahead of the machine's by this much. In milliseconds. */
let ahead = 0;

beforeAll(async () => {
  stage = await Stage.open({
    clock: () => Date.now() + ahead,
    overrides: {
      base_url: 'http://mandate.example',
      operators: [{ id: operator.id, secret_sha256: sha256(operator.secret), may: ['revoke'] }],
    },
    acme: (manifest) => {
      manifest.tasks = { max_hours: 2 };
    },
  });
});
afterAll(() => stage[Symbol.asyncDispose]());

interface TaskJson extends TokenJson {
  task_id: string;
  task_expires_in: number;
}

const call = (members: object = {}) => ({
  type: 'tool_call',
  server: 'docs-mcp',
  tools: ['search', 'read'],
  max_calls: 5,
  ...members,
});
const detailed = (...details: unknown[]) => ({ authorization_details: JSON.stringify(details) });

const token = (subject: string, fields: Record<string, string>, client: Client = agent) =>
  form<TaskJson>(stage.server.data, 'token', exchangeFields(subject, fields), client);
const opened = async (fields: Record<string, string> = {}): Promise<TaskJson> => {
  const asked = { scope: 'docs.read docs.suggest', task_purpose: 'summarise the week', ...fields };
  return (await token(await stage.issuer.sign(), asked)).body;
};
const renew = (task: string, fields: Record<string, string> = {}) =>
  token(task, { subject_token_type: TASK, scope: 'docs.read docs.suggest', ...fields });
const cap = (taskId: string, to: object, by: Client = agent) =>
  connect<{ scopes?: string[]; use?: string; code?: string; message?: string }>(
    stage.server.data,
    'DelegationService/CapTask',
    { tenant: 'acme', taskId, ...to },
    by === operator ? bearer(by.secret) : basic(by.id, by.secret),
  );
const suggests = async (subjectToken: string) => {
  const asked = { ...tokenReads(subjectToken), action: { name: 'document.suggest' } };
  return (await check(stage.server.data, asked, bearer(mcp.secret))).body;
};
const BEYOND = {
  decision: 'DECISION_DENY',
  reasons: [{ code: 'scope_insufficient' }, { code: 'use_insufficient' }],
};
const ALLOW = { decision: 'DECISION_ALLOW' };

describe('once a task was capped', () => {
  test('a token from before has no more than is left, by Check, introspection, exchange and renewal', async () => {
    const { access_token: before, task_id: task } = await opened();
    const handed = (
      await stage.exchange(before, { audience: 'docs-api', scope: 'docs.read docs.suggest' }, mcp)
    ).body;
    expect(await suggests(before)).toMatchObject(ALLOW);
    const { status, body } = await cap(task, { scopes: ['docs.read'], use: 'read' });
    expect([status, body]).toMatchObject([200, { scopes: ['docs.read'], use: 'read' }]);
    expect(await suggests(before)).toMatchObject(BEYOND);
    expect(await stage.check(before)).toMatchObject(ALLOW);
    for (const each of [before, handed.access_token])
      expect(await stage.introspect(each, mcp)).toMatchObject({
        scope: 'docs.read',
        use: 'read',
        task_cap: { scope: ['docs.read'], use: 'read' },
      });
    const rpc = await connect(
      stage.server.data,
      'DelegationService/Introspect',
      { tenant: 'acme', token: before },
      basic(agent.id, agent.secret),
    );
    expect(rpc.body).toMatchObject({ scopes: ['docs.read'], taskId: task, taskCap: { use: 'read' } });
    const again = await stage.exchange(before, { audience: 'docs-api', scope: 'docs.suggest' }, mcp);
    expect(refusalOf(again)).toMatchObject({ code: 'invalid_scope' });
    expect((await renew(task, { use: 'act' })).body).toMatchObject({ scope: 'docs.read', use: 'read' });
    const [record] = await stage.records({ kind: 'decision' });
    const { input } = JSON.parse(Buffer.from(record?.['body'] as string, 'base64').toString()) as {
      input: object;
    };
    expect(input).toMatchObject({
      grant: { scope: ['docs.read'], use: 'read', task: { cap: { scope: ['docs.read'], use: 'read' } } },
    });
  });

  test('a token that would have no scope left has ended, and so has what came of it', async () => {
    const { task_id: task } = await opened();
    const only = (await renew(task, { scope: 'docs.suggest' })).body.access_token;
    const handed = (await stage.exchange(only, { audience: 'docs-api', scope: 'docs.suggest' }, mcp)).body;
    await cap(task, { scopes: ['docs.read'] });
    expect(await suggests(only)).toMatchObject(deniedFor('token_revoked'));
    for (const each of [only, handed.access_token])
      expect(await stage.introspect(each, mcp)).toEqual({ active: false });
    expect((await renew(task)).body).toMatchObject({ scope: 'docs.read' });
  });

  test('a token ends with the time that is left, whatever it says itself', async () => {
    const { access_token: before, task_id: task } = await opened();
    await cap(task, { lifetimeSeconds: 60 });
    const fresh = (await renew(task)).body;
    expect(fresh.expires_in).toBeLessThanOrEqual(60);
    expect(fresh.task_expires_in).toBeLessThanOrEqual(60);
    expect(await stage.check(before)).toMatchObject(ALLOW);
    ahead += 61_000;
    for (const each of [before, fresh.access_token]) {
      expect(await stage.check(each)).toMatchObject(deniedFor('token_expired'));
      expect(await stage.introspect(each)).toEqual({ active: false });
    }
    expect(refusalOf(await renew(task))).toEqual(refused('token_expired'));
    expect((await cap(task, { use: 'read' })).body.message).toContain('token_expired');
    ahead -= 61_000;
  });

  test('no bound of its details is passed, and none is lost', async () => {
    const { access_token: before, task_id: task } = await opened({
      scope: 'docs.read',
      ...detailed(call({ max_calls: 5 })),
    });
    const lower = { authorizationDetails: [{ type: 'tool_call', max_calls: 1 }] };
    expect((await cap(task, lower)).status).toBe(200);
    const left = { authorization_details: [call({ max_calls: 1 })] };
    expect(await stage.introspect(before)).toMatchObject(left);
    const wider = await renew(task, { scope: 'docs.read', ...detailed(call({ max_calls: 2 })) });
    expect(refusalOf(wider)).toMatchObject({ code: 'invalid_authorization_details' });
    expect((await renew(task, { scope: 'docs.read' })).body).toMatchObject(left);
  });

  test('another cap takes more, and never gives back', async () => {
    const { access_token: before, task_id: task } = await opened({ scope: 'docs.read docs.suggest' });
    await cap(task, { use: 'read', lifetimeSeconds: 600 });
    await cap(task, { use: 'act', lifetimeSeconds: 6_000, scopes: ['docs.read'] });
    expect(await stage.introspect(before)).toMatchObject({ use: 'read', scope: 'docs.read' });
    const { body } = await renew(task, { use: 'act' });
    expect(body).toMatchObject({ use: 'read', scope: 'docs.read' });
    expect(body.task_expires_in).toBeLessThanOrEqual(600);
    const back = await cap(task, { scopes: ['docs.read', 'docs.suggest'] });
    expect(back.body.message).toContain('invalid_scope');
  });

  test('the same again takes nothing, however often: it is recorded, and stands as it stood', async () => {
    const { access_token: before, task_id: task } = await opened();
    const to = { scopes: ['docs.read'], use: 'read', lifetimeSeconds: 600 };
    await cap(task, to);
    const stood = await stage.introspect(before);
    for (const again of [{ use: 'read' }, { use: 'act', lifetimeSeconds: 6_000 }, { scopes: ['docs.read'] }])
      expect((await cap(task, again)).body).toMatchObject({ scopes: ['docs.read'], use: 'read' });
    expect(await stage.introspect(before)).toEqual(stood);
    expect(await stage.records({ kind: 'revocation', taskId: task })).toHaveLength(4);
  });

  test('a renewal that races the cap leaves no token that is wider', async () => {
    for (let round = 0; round < 5; round += 1) {
      const { task_id: task } = await opened();
      const racing = Array.from({ length: 20 }, () => renew(task));
      expect((await cap(task, { scopes: ['docs.read'], use: 'read' })).status).toBe(200);
      for (const { body } of await Promise.all(racing)) {
        if (!body.access_token) expect(body.code).toBe('token_revoked');
        else expect(await suggests(body.access_token)).toMatchObject(BEYOND);
      }
    }
  });

  test('it is as narrow after a restart', async () => {
    const { access_token: before, task_id: task } = await opened();
    await cap(task, { scopes: ['docs.read'] });
    await stage.restart();
    expect(await suggests(before)).toMatchObject(deniedFor('scope_insufficient'));
    expect((await renew(task)).body).toMatchObject({ scope: 'docs.read' });
  });
});

describe('a cap', () => {
  test('is for the agent of the task, and operators: to others there is none, and nothing happens', async () => {
    const { access_token: before, task_id: task, grant_id: grant } = await opened();
    const to = { scopes: ['docs.read'] };
    for (const by of [otherAgent, mcp]) {
      const { status, body } = await cap(task, to, by);
      expect([status, body.message]).toEqual([404, expect.stringContaining('not_found')]);
    }
    for (const id of [grant, before, 'nothing', ''])
      expect((await cap(id, to)).body.message).toContain('not_found');
    expect(await suggests(before)).toMatchObject(ALLOW);
    expect((await cap(task, to, operator)).status).toBe(200);
    const [record] = await stage.records({ kind: 'revocation', taskId: task });
    expect(record).toMatchObject({ outcome: 'done', action: 'task.cap' });
  });

  test('is of a task that has not ended', async () => {
    const { access_token: before, task_id: task } = await opened();
    await connect(
      stage.server.data,
      'DelegationService/Revoke',
      { tenant: 'acme', grantId: task },
      basic(agent.id, agent.secret),
    );
    expect((await cap(task, { use: 'read' })).body.message).toContain('token_revoked');
    expect(await stage.introspect(before)).toEqual({ active: false });
  });

  test.each([
    ['that says nothing', {}, 'invalid_request'],
    ['to a class of use that is none', { use: 'all' }, 'invalid_request'],
    ['to a scope that the task has not', { scopes: ['docs.read', 'docs.raed'] }, 'invalid_scope'],
    ['with a reason as long as a book', { use: 'read', reason: 'x'.repeat(1_025) }, 'invalid_request'],
    ['with what is no member', { use: 'read', uses: 'read' }, 'invalid_request'],
    [
      'to members of a set',
      { authorizationDetails: [{ type: 'tool_call', tools: ['search'] }] },
      'invalid_authorization_details',
    ],
    [
      'of a type that the task has none of',
      { authorizationDetails: [{ type: 'payment', most: 1 }] },
      'invalid_authorization_details',
    ],
    [
      'of details that say nothing',
      { authorizationDetails: [{ type: 'tool_call' }] },
      'invalid_authorization_details',
    ],
    [
      'that says two things of a type',
      {
        authorizationDetails: [
          { type: 'tool_call', max_calls: 1 },
          { type: 'tool_call', max_calls: 2 },
        ],
      },
      'invalid_authorization_details',
    ],
  ])('%s is refused', async (_name, to, code) => {
    const { task_id: task, access_token: before } = await opened({ scope: 'docs.read', ...detailed(call()) });
    const { status, body } = await cap(task, to);
    expect(status).toBe(400);
    expect(body.message).toContain(code === 'invalid_request' ? '' : code);
    expect(await stage.introspect(before)).toMatchObject(detailedOf(call()));
  });
});

const detailedOf = (...details: unknown[]) => ({ authorization_details: details });
