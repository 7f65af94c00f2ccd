import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { at, type Ran } from '../cli/run.ts';
import {
  check,
  claimsOf,
  connect,
  exchangeFields,
  form,
  type TokenJson,
  tokenReads,
} from '../e2e/requests.ts';
import { basic, bearer, eventually, secrets, startIn } from '../e2e/server.ts';
import { agent, type Client, deniedFor, mcp, otherAgent, refusalOf, refused, Stage } from './stage.ts';

/** Work that takes longer than a token lasts: opened with the user's token, gone on with without it, ended as a whole. */

const TASK = 'urn:mandate:params:oauth:token-type:task';
const HOUR = 3_600;

let stage: Stage;
beforeAll(async () => {
  stage = await Stage.open({
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

const open = async (fields: Record<string, string> = {}, client: Client = agent) => {
  const asked = { scope: 'docs.read docs.suggest', task_purpose: 'summarise the week', ...fields };
  return await form<TaskJson>(
    stage.server.data,
    'token',
    exchangeFields(await stage.issuer.sign(), asked),
    client,
  );
};
const renew = (task: string, fields: Record<string, string> = {}, client: Client = agent) =>
  form<TaskJson>(
    stage.server.data,
    'token',
    exchangeFields(task, { subject_token_type: TASK, ...fields }),
    client,
  );
const taskOf = async (fields: Record<string, string> = {}): Promise<string> =>
  (await open(fields)).body.task_id;
const decides = async (token: string) =>
  (await check(stage.server.data, tokenReads(token), bearer(mcp.secret))).body;
const gone = refused('token_revoked');
const none = refused('token_invalid');
const status = (cls: string, id: string, to: 'ACTIVE' | 'DISABLED') => stage.setStatus(cls, id, to);

describe('a task', () => {
  test('is opened with a first token, and says until when it lasts', async () => {
    const { body } = await open({ task_lifetime: '3600' });
    expect(body).toMatchObject({ token_type: 'Bearer', scope: 'docs.read docs.suggest' });
    expect(body.task_expires_in).toBeGreaterThan(HOUR - 5);
    expect(body.task_expires_in).toBeLessThanOrEqual(HOUR);
    expect(body.expires_in).toBeLessThanOrEqual(300);
    expect(await decides(body.access_token)).toMatchObject({ decision: 'DECISION_ALLOW' });
    expect(await stage.introspect(body.access_token)).toMatchObject({ active: true, task_id: body.task_id });
    const [record] = await stage.records({ kind: 'exchange' });
    const stored = JSON.parse(Buffer.from(record?.['body'] as string, 'base64').toString()) as object;
    expect(stored).toMatchObject({
      parent_grant_id: body.task_id,
      input: {
        action: {
          name: 'task.open',
          properties: { task: { purpose: 'summarise the week', lifetime_seconds: HOUR } },
        },
        grant: { task: { id: body.task_id, purpose: 'summarise the week' } },
      },
    });
  });

  test('goes on without the token of its user, by fresh tokens that are no deeper, each recorded', async () => {
    const { body: opened } = await open();
    const tokens = [opened.access_token];
    for (let round = 0; round < 5; round += 1) {
      const { body } = await renew(opened.task_id);
      expect(body).toMatchObject({ scope: 'docs.read', task_id: opened.task_id });
      tokens.push(body.access_token);
    }
    expect(new Set(tokens.map((each) => claimsOf(each)['jti'])).size).toBe(6);
    for (const each of tokens) {
      expect(claimsOf(each)).toMatchObject({ sub: 'alice', act: { sub: 'research-agent' } });
      expect(await decides(each)).toMatchObject({ decision: 'DECISION_ALLOW' });
    }
    const { body } = await connect<{ grants: { depth: number; taskId: string }[] }>(
      stage.server.data,
      'GrantService/ListGrants',
      { tenant: 'acme', under: opened.task_id },
    );
    expect(body.grants).toHaveLength(7);
    expect(new Set(body.grants.map(({ depth }) => depth))).toEqual(new Set([1]));
    const [record] = await stage.records({ kind: 'exchange' });
    expect(record).toMatchObject({ outcome: 'allow', action: 'task.renew' });
  });

  test('is in what others were handed of it, and ends with it', async () => {
    const { body: opened } = await open();
    const handed = await stage.exchange(opened.access_token, { audience: 'docs-api' }, mcp);
    expect(handed.status).toBe(200);
    const { body: fresh } = await renew(opened.task_id);
    expect(await stage.introspect(handed.body.access_token, mcp)).toMatchObject({ active: true });
    const ended = await connect<{ revoked: number }>(
      stage.server.data,
      'DelegationService/Revoke',
      { tenant: 'acme', grantId: opened.task_id },
      basic(agent.id, agent.secret),
    );
    expect(ended.body.revoked).toBe(4);
    for (const each of [opened.access_token, fresh.access_token])
      expect(await decides(each)).toMatchObject(deniedFor('token_revoked'));
    expect(await stage.introspect(handed.body.access_token, mcp)).toEqual({ active: false });
    expect(refusalOf(await renew(opened.task_id))).toEqual(gone);
  });

  test('is the one of its tokens that was revoked no longer, and goes on with others', async () => {
    const { body: opened } = await open();
    await stage.revoke(opened.access_token);
    expect(await decides(opened.access_token)).toMatchObject(deniedFor('token_revoked'));
    expect((await renew(opened.task_id)).status).toBe(200);
  });

  test('goes on after a restart, by whom it did before', async () => {
    await using first = await Stage.open({
      acme: (manifest) => {
        manifest.tasks = { max_hours: 1 };
      },
    });
    const subject = await first.issuer.sign();
    const asked = exchangeFields(subject, { task_purpose: 'x' });
    const { body } = await form<TaskJson>(first.server.data, 'token', asked, agent);
    await first.server.stop();
    const second = await startIn(first.server.folder);
    const again = await form(
      second.data,
      'token',
      exchangeFields(body.task_id, { subject_token_type: TASK }),
      agent,
    );
    expect(again.status).toBe(200);
    await second.stop();
  });
});

describe('each time it goes on', () => {
  test('its user, its agent and their grants are looked at anew', async () => {
    const [one, other] = [await taskOf(), await taskOf()];
    await status('user', 'alice', 'DISABLED');
    expect((await renew(one)).status).toBe(400);
    await status('user', 'alice', 'ACTIVE');
    // What ended stays ended.
    for (const each of [one, other]) expect(refusalOf(await renew(each))).toEqual(gone);
    const third = await taskOf();
    await status('agent', agent.id, 'DISABLED');
    expect((await renew(third)).status).toBe(400);
    await status('agent', agent.id, 'ACTIVE');
    expect(refusalOf(await renew(third))).toEqual(gone);
  });

  test('it is no wider than it was, than its user is now, and than its agent may be', async () => {
    const task = await taskOf({ scope: 'docs.read' });
    expect(refusalOf(await renew(task, { scope: 'docs.suggest' }))).toMatchObject({ error: 'invalid_scope' });
    expect(refusalOf(await renew(task, { audience: 'docs-api' }))).toMatchObject({ error: 'invalid_target' });
    const narrow = await taskOf({ use: 'read' });
    expect((await renew(narrow, { use: 'act' })).body).toMatchObject({ use: 'read' });
  });

  test('it ends with its time, and a token of it no later', async () => {
    const { body: opened } = await open({ task_lifetime: '2' });
    expect(opened.expires_in).toBeLessThanOrEqual(2);
    await eventually(
      () => renew(opened.task_id),
      ({ status: code }) => code === 400,
    );
    expect(refusalOf(await renew(opened.task_id))).toEqual(refused('token_expired'));
  });
});

describe('it is refused', () => {
  test('to another agent, in another tenant, by a token in its place, and where there is none: all alike', async () => {
    const task = await taskOf();
    const { body: opened } = await open();
    const answers = [
      await renew(task, {}, otherAgent),
      await renew(opened.grant_id),
      await renew(opened.access_token),
      await renew('nothing'),
    ];
    for (const answer of answers) expect(refusalOf(answer)).toEqual(none);
    const globex = { id: 'research-agent', secret: secrets.globexAgent };
    const there = exchangeFields(task, { subject_token_type: TASK, audience: 'tools-mcp' });
    expect(refusalOf(await form(stage.server.data, 'token', there, globex, 'globex'))).toEqual(none);
  });

  test('as a token of any other type, and as one that decides', async () => {
    const task = await taskOf();
    expect(refusalOf(await stage.exchange(task))).toEqual(none);
    expect(await decides(task)).toMatchObject(deniedFor('token_invalid'));
    expect(await stage.introspect(task)).toEqual({ active: false });
  });

  test.each([
    ['longer than the tenant allows', { task_lifetime: '7201' }, 'exchange_denied'],
    ['for a time that is none', { task_lifetime: '1h' }, 'invalid_request'],
    ['without a purpose', { task_purpose: '', task_lifetime: '60' }, 'invalid_request'],
    ['with a purpose as long as a book', { task_purpose: 'x'.repeat(257) }, 'invalid_request'],
  ])('%s', async (_name, fields, code) => {
    expect(refusalOf(await open(fields))).toEqual({ ...refused(code), error: 'invalid_request' });
  });

  test('from within another, by a delegated token, and where the tenant allows none', async () => {
    const { body: opened } = await open();
    const again = exchangeFields(opened.access_token, { task_purpose: 'more' });
    expect(refusalOf(await form(stage.server.data, 'token', again, agent))).toEqual(
      refused('exchange_denied'),
    );
    const longer = exchangeFields(opened.task_id, { subject_token_type: TASK, task_purpose: 'longer' });
    expect(refusalOf(await form(stage.server.data, 'token', longer, agent))).toEqual(
      refused('exchange_denied'),
    );
    await using without = await Stage.open({
      acme: (manifest) => {
        delete manifest.tasks;
      },
    });
    const first = exchangeFields(await without.issuer.sign(), { task_purpose: 'x' });
    expect(refusalOf(await form(without.server.data, 'token', first, agent))).toEqual(
      refused('exchange_denied'),
    );
  });
});

test('a renewal that races the end of its task leaves nothing that lives', async () => {
  for (let round = 0; round < 5; round += 1) {
    const task = await taskOf();
    const under = Array.from({ length: 20 }, () => renew(task));
    const revoke = { tenant: 'acme', grantId: task };
    const ended = await connect(
      stage.server.data,
      'DelegationService/Revoke',
      revoke,
      basic(agent.id, agent.secret),
    );
    expect(ended.status).toBe(200);
    for (const { body } of await Promise.all(under))
      if (body.access_token)
        expect(await decides(body.access_token)).toMatchObject(deniedFor('token_revoked'));
  }
});

test('all of a task is found in the log by its id, and nothing of another', async () => {
  const other = await open();
  const { body } = await open();
  await decides(body.access_token);
  const again = (await renew(body.task_id)).body.access_token;
  await decides(again);
  await decides(other.body.access_token);
  await stage.revoke(again);
  const { stdout } = await at(stage.server)('kill', 'task', '-t', 'acme', body.task_id);
  expect(stdout).not.toBe('');
  const query = await stage.records({ taskId: body.task_id, pageSize: 100 });
  const actions = query.map(({ action, kind }) => action ?? kind);
  expect(actions.toReversed()).toEqual([
    'task.open',
    'document.read',
    'task.renew',
    'document.read',
    'revocation',
    'kill.grant',
  ]);
});

test('mandate task: listed, shown as a tree, renewed, joined, capped and ended', async () => {
  const dev = at(stage.server, agent.secret);
  const line = async (...args: string[]): Promise<Ran> => await dev(...args);
  const opened = await line(
    '--json',
    'token',
    'exchange',
    '-t',
    'acme',
    '--subject-token',
    await stage.issuer.sign(),
    '--audience',
    'docs-mcp',
    '--scope',
    'docs.read',
    '--task',
    'tidy up',
    '--task-lifetime',
    '1h',
  );
  const { task_id: task, grant_id: grant } = JSON.parse(opened.stdout) as {
    task_id: string;
    grant_id: string;
  };
  const list = await line('task', 'list', '-t', 'acme');
  expect(list.stdout).toMatch(
    new RegExp(`${task} +user:alice +agent:research-agent +living until \\S+ +tidy up\n`),
  );
  expect(list.stdout).not.toContain(grant);
  const renewed = await line(
    'task',
    'renew',
    '-t',
    'acme',
    task,
    '--audience',
    'docs-mcp',
    '--scope',
    'docs.read',
  );
  expect(claimsOf(renewed.stdout)).toMatchObject({ sub: 'alice' });
  const { stdout } = await line('task', 'show', '-t', 'acme', task);
  expect(stdout).toMatch(/^purpose +tidy up\ngrant +/);
  expect(stdout).toMatch(
    new RegExp(
      `\n${task} {2}task: tidy up {2}living until \\S+\n├─ \\S+ {2}agent:research-agent at docs-mcp: docs.read`,
    ),
  );
  const part = await line(
    'task',
    'join',
    '-t',
    'acme',
    task,
    '--agent',
    otherAgent.id,
    '--audience',
    'docs-mcp',
    '--scope',
    'docs.read',
  );
  const joined = at(stage.server, otherAgent.secret);
  const id = part.stdout.trim();
  const own = await joined(
    'task',
    'renew',
    '-t',
    'acme',
    id,
    '--audience',
    'docs-mcp',
    '--scope',
    'docs.read',
  );
  expect(claimsOf(own.stdout)).toMatchObject({ act: { sub: otherAgent.id, act: { sub: agent.id } } });
  expect((await joined('task', 'list', '-t', 'acme')).stdout).toMatch(
    new RegExp(`${id} +user:alice +agent:other-agent +living until \\S+ +tidy up\n`),
  );
  expect((await line('task', 'show', '-t', 'acme', task)).stdout).toMatch(
    new RegExp(
      `\n[├└]─ ${id} {2}joined: agent:other-agent at docs-mcp: docs.read {2}living until \\S+\n. {2}└─ \\S+ {2}agent:other-agent at docs-mcp`,
    ),
  );
  expect((await joined('task', 'end', '-t', 'acme', id)).stdout).toBe('task ended, 2 grants with it\n');
  const cap = await line('task', 'cap', '-t', 'acme', task, '--use', 'read', '--lifetime', '10m');
  expect(cap.stdout).toMatch(/^scope +docs\.read\nuse +read\nends +\S+\n$/);
  expect((await line('task', 'list', '-t', 'acme')).stdout).toMatch(/living until \S+, capped +tidy up\n/);
  expect((await line('task', 'show', '-t', 'acme', task)).stdout).toMatch(
    /\ncap +\{"at":"[^"]+","ends_at":"[^"]+","use":"read"\}\n/,
  );
  expect((await line('task', 'end', '-t', 'acme', task)).stdout).toBe('task ended, 3 grants with it\n');
  expect((await line('task', 'list', '-t', 'acme')).stdout).not.toContain(task);
});
