import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { agent, api, type Client, mcp, otherAgent, Stage } from '../../delegation/stage.ts';
import { Grpc, struct } from '../grpc.ts';
import { connect, tokenReads } from '../requests.ts';
import { basic } from '../server.ts';
import { type Answer, until } from './started.ts';

/** Decisions by tokens that were seen before are a thread's, and what ended is seen there as at once. */

let stage: Stage;
let pep: Grpc;
beforeAll(async () => {
  stage = await Stage.open({
    acme: (manifest) => {
      manifest.tasks = { max_hours: 1 };
    },
  });
  pep = new Grpc(stage.server.data, mcp.secret);
  const offload = () => stage.server.mandate.services.offload;
  await pep.checkByStream({ ...asks(await stage.granted()) });
  await until(() => offload()?.ready === 1);
});
afterAll(async () => {
  pep[Symbol.dispose]();
  await stage[Symbol.asyncDispose]();
});

const asks = (token: string, audience = 'docs-mcp') => {
  const { subjectToken, resource, ...rest } = tokenReads(token, audience);
  return {
    ...rest,
    resource: { ...resource, properties: struct(resource.properties) },
    subject_token: subjectToken,
  };
};
const answered = (): number => stage.server.mandate.services.offload?.answered ?? 0;

/** What is decided, and whether a thread did it. */
async function decides(token: string, by = pep, audience?: string): Promise<readonly [string, boolean]> {
  const before = answered();
  const { decision, reasons } = await by.checkByStream<Answer>(asks(token, audience));
  return [reasons[0]?.code ?? decision, answered() > before];
}
const ALLOW = 'DECISION_ALLOW';

test('a token that is new is looked at by main, and from then on by a thread, with the same answer', async () => {
  const token = await stage.granted();
  expect(await decides(token)).toEqual([ALLOW, false]);
  expect(await decides(token)).toEqual([ALLOW, true]);
  const [thread, main] = await stage.records({ kind: 'decision' });
  const inputOf = (record: Record<string, unknown> | undefined) => {
    const { input } = JSON.parse(Buffer.from(record?.['body'] as string, 'base64').toString()) as {
      input: Record<string, unknown>;
    };
    return { ...input, now: '' };
  };
  expect(inputOf(thread)).toEqual(inputOf(main));
  expect(inputOf(thread)).toMatchObject({ grant: { audience: 'docs-mcp' }, actors: [{ id: agent.id }] });
});

test('a batch by one token', async () => {
  const token = await stage.granted();
  await decides(token);
  const before = answered();
  const { results } = await pep.call<{ results: Answer[] }>('DecisionService', 'CheckBatch', {
    ...asks(token),
    items: [{}, { action: { name: 'document.delete' } }, { subject: { type: 'user', id: 'bob' } }],
  });
  expect(results.map(({ decision, reasons }) => reasons[0]?.code ?? decision)).toEqual([
    ALLOW,
    'scope_insufficient',
    expect.anything(),
  ]);
  expect(answered()).toBe(before + 1);
});

describe('what ended', () => {
  const ends: [string, Client, number, (token: string) => Promise<unknown>][] = [
    ['its grant', agent, 100, (token) => stage.revoke(token)],
    ['its agent', otherAgent, 1, () => stage.setStatus('agent', otherAgent.id, 'DISABLED')],
  ];
  test.each(ends)('%s is seen by the next decision', async (_, client, times, end) => {
    for (let turn = 0; turn < times; turn += 1) {
      const user = await stage.issuer.sign({ client_id: client.id });
      const token = (await stage.exchange(user, {}, client)).body.access_token;
      await decides(token);
      expect(await decides(token)).toEqual([ALLOW, true]);
      // Asked at the same time, it is answered one way or the other; asked later, it does not allow.
      const [, racing] = await Promise.all([end(token), decides(token)]);
      expect([ALLOW, 'token_revoked']).toContain(racing[0]);
      expect((await decides(token))[0]).toBe('token_revoked');
    }
  });
});

test('what a task was capped to is seen by the next decision', async () => {
  for (let turn = 0; turn < 20; turn += 1) {
    const fields = { task_purpose: 'x', scope: 'docs.read docs.suggest' };
    const { body } = await stage.exchange(await stage.issuer.sign(), fields);
    const { access_token: token, task_id: taskId } = body as typeof body & { task_id: string };
    await decides(token);
    expect(await decides(token)).toEqual([ALLOW, true]);
    const cap = { tenant: 'acme', taskId, scopes: ['docs.suggest'] };
    const capped = connect(
      stage.server.data,
      'DelegationService/CapTask',
      cap,
      basic(agent.id, agent.secret),
    );
    const [{ status }, racing] = await Promise.all([capped, decides(token)]);
    expect(status).toBe(200);
    expect([ALLOW, 'scope_insufficient']).toContain(racing[0]);
    expect(await decides(token)).toEqual(['scope_insufficient', true]);
  }
});

test('a token for another caller is denied there, whatever that one serves', async () => {
  const token = await stage.granted();
  await decides(token);
  using other = new Grpc(stage.server.data, api.secret);
  expect(await decides(token, other, 'docs-api')).toEqual(['audience_mismatch', true]);
  expect(await decides(token)).toEqual([ALLOW, true]);
});

test('one of an issuer, one that is none, and one of another tenant are main’s', async () => {
  const user = await stage.issuer.sign();
  for (let turn = 0; turn < 2; turn += 1) expect((await decides(user))[1]).toBe(false);
  const [head = '', payload = ''] = (await stage.granted()).split('.');
  for (let turn = 0; turn < 2; turn += 1)
    expect(await decides(`${head}.${payload}.${'A'.repeat(86)}`)).toEqual(['token_invalid', false]);
});
