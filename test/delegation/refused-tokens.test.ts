import { afterAll, beforeAll, expect, test } from 'vitest';
import { claimsOf, connect } from '../e2e/requests.ts';
import { bearer, secrets } from '../e2e/server.ts';
import { mcp, Stage } from './stage.ts';

/** Whoever looks into an incident finds what was tried with a token that was refused, by its grant and its agent. */

let stage: Stage;
beforeAll(async () => {
  stage = await Stage.open({ acme: (manifest) => Object.assign(manifest, { tasks: { max_hours: 1 } }) });
});
afterAll(() => stage[Symbol.asyncDispose]());

const grantOf = (token: string): string => String(claimsOf(token)['jti']);
const NAMED = {
  subject: { class: 'user', id: 'alice' },
  actors: [{ class: 'agent', id: 'research-agent' }],
};

const kill = async (id: string): Promise<void> => {
  const target = { tenant: 'acme', grantId: id, reason: 'INC-1' };
  const { status } = await connect(stage.server.admin, 'KillService/Kill', target, bearer(secrets.operator));
  expect(status).toBe(200);
};

test('a token that was revoked: a check names its grant and whoever is in it', async () => {
  const token = await stage.granted();
  await stage.revoke(token);
  expect(await stage.check(token)).toMatchObject({ reasons: [{ code: 'token_revoked' }] });
  const grantId = grantOf(token);
  for (const filter of [{ grantId }, { principal: NAMED.actors[0] }, { principal: NAMED.subject }]) {
    const [record] = await stage.records({ kind: 'decision', outcome: 'deny', ...filter });
    expect(record, JSON.stringify(filter)).toMatchObject({
      ...NAMED,
      grantId,
      reasons: [{ code: 'token_revoked' }],
      action: 'document.read',
    });
  }
});

test('the same seen before, on whatever thread, and in a batch', async () => {
  const token = await stage.granted();
  for (let round = 0; round < 3; round += 1) await stage.check(token);
  await stage.revoke(token);
  const ask = {
    tenant: 'acme',
    subjectToken: token,
    action: { name: 'document.read' },
    items: [1, 2].map((id) => ({
      resource: { type: 'document', id: `d${id}` },
      context: { x: 'y'.repeat(2_000) },
    })),
  };
  await connect(stage.server.data, 'DecisionService/CheckBatch', ask, bearer(mcp.secret));
  await stage.check(token);
  const records = await stage.records({ grantId: grantOf(token), outcome: 'deny', kind: 'decision' });
  expect(records).toHaveLength(3);
  for (const record of records)
    expect(record).toMatchObject({ ...NAMED, reasons: [{ code: 'token_revoked' }] });
});

test('an exchange of it, and a task that goes on no more: by the task', async () => {
  const { body } = await stage.exchange(await stage.issuer.sign(), {
    task_purpose: 'p',
  });
  const token = body.access_token;
  const task = String((body as { task_id?: string }).task_id);
  await stage.revoke(token);
  expect((await stage.exchange(token)).status).toBe(400);
  await stage.check(token);
  const tried = await stage.records({ taskId: task, outcome: 'deny' });
  expect(tried.map(({ kind }) => kind).toSorted()).toEqual(['decision', 'exchange']);
  for (const record of tried) expect(record).toMatchObject({ subject: NAMED.subject });
  await kill(task);
  const renewal = { subject_token_type: 'urn:mandate:params:oauth:token-type:task' };
  expect((await stage.exchange(task, renewal)).status).toBe(400);
  const [renewed] = await stage.records({ taskId: task, outcome: 'deny', kind: 'exchange' });
  expect(renewed).toMatchObject({ ...NAMED, reasons: [{ code: 'token_revoked' }] });
});

test('nothing is said of what nobody has signed', async () => {
  const token = await stage.granted();
  await stage.revoke(token);
  const [header, payload, signature = ''] = token.split('.');
  const forged = `${header}.${payload}.${signature.startsWith('A') ? 'B' : 'A'}${signature.slice(1)}`;
  expect(await stage.check(forged)).toMatchObject({ reasons: [{ code: 'token_invalid' }] });
  const [record] = await stage.records({ kind: 'decision' });
  expect(record).toMatchObject({ reasons: [{ code: 'token_invalid' }] });
  expect(record).not.toHaveProperty('subject');
  expect(record).not.toHaveProperty('grantId');
});
