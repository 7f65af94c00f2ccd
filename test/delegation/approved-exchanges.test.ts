import { Code, ConnectError, createClient } from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { DelegationService, ExchangeRefusalSchema } from '../../src/gen/mandate/v1/delegation_pb.ts';
import { at } from '../cli/run.ts';
import type { TokenJson } from '../e2e/requests.ts';
import { basic, secrets } from '../e2e/server.ts';
import { Approving } from './approving.ts';
import { agent, otherAgent, refusalOf } from './stage.ts';

/** Tokens that the tenant has approved first: asked for and polled as in CIBA (section 10.1, poll mode). */

interface Pending extends TokenJson {
  readonly auth_req_id?: string;
  readonly expires_in: number;
  readonly interval?: number;
}

let on: Approving;
let ahead = 0;
beforeAll(async () => {
  on = await Approving.open({
    clock: () => Date.now() + ahead,
    acme: (manifest) => {
      manifest.tasks = { max_hours: 8 };
    },
  });
});
afterAll(() => on[Symbol.asyncDispose]());

const SCOPE = { scope: 'docs.read docs.suggest' };

/** Each a question of its own. */
let serial = 0;
const asking = (): Record<string, string> => {
  serial += 1;
  const detail = { type: 'tool_call', server: 'docs-mcp', tools: ['search'], max_calls: serial };
  return { ...SCOPE, authorization_details: JSON.stringify([detail]) };
};

const exchange = async (fields: Record<string, string>, client = agent) =>
  on.stage.exchange(await on.stage.issuer.sign(), fields, client);

async function opened(fields: Record<string, string>): Promise<string> {
  const { status, body } = await exchange({
    ...fields,
    request_approval: 'true',
    approval_reason: 'why not',
  });
  const { auth_req_id: id = '' } = body as Pending;
  expect([status, body.error]).toEqual([400, 'authorization_pending']);
  return id;
}

/** Without being slowed down. */
const poll = (fields: Record<string, string>, id: string, client = agent) => {
  ahead += 5_000;
  return exchange({ ...fields, auth_req_id: id }, client);
};

const APPROVED = { status: 200, error: undefined, code: undefined };
const INVALID = { status: 400, error: 'invalid_grant', code: 'approval_invalid' };

describe('CIBA, poll mode', () => {
  test('a denial opens nothing, what asks for approval does, and the challenge is told whole', async () => {
    const fields = asking();
    const plain = await exchange(fields);
    expect(refusalOf(plain)).toEqual({ status: 400, error: 'invalid_request', code: 'challenge_required' });
    expect(plain.body).not.toHaveProperty('auth_req_id');
    const { body } = await exchange({ ...fields, request_approval: 'true' });
    expect(body).toMatchObject({
      error: 'authorization_pending',
      expires_in: expect.any(Number) as number,
      interval: 5,
      challenge: { type: 'approval', valid_for: 300 },
      decision_id: expect.any(String) as string,
    });
  });

  test('authorization_pending, slow_down, then a token, once', async () => {
    const fields = asking();
    const id = await opened(fields);
    expect(refusalOf(await poll(fields, id))).toMatchObject({ error: 'authorization_pending' });
    const soon = await exchange({ ...fields, auth_req_id: id });
    expect(refusalOf(soon)).toMatchObject({ status: 400, error: 'slow_down' });
    expect(soon.headers.get('retry-after')).toBe('5');
    expect((await on.settle('Approve', id, { user: 'carol', note: 'go on' })).status).toBe(200);
    const { status, body } = await poll(fields, id);
    expect([status, body.scope]).toEqual([200, 'docs.read docs.suggest']);
    const [record] = await on.stage.records({ kind: 'exchange', outcome: 'allow' });
    const kept = JSON.parse(Buffer.from(String(record?.['body']), 'base64').toString()) as Record<
      string,
      unknown
    >;
    expect(kept).toMatchObject({
      approval: { id, uses_left: { before: 1, after: 0 } },
      input: { approval: { id, approver: { class: 'user', id: 'carol' }, reason: 'go on' } },
    });
    expect(refusalOf(await poll(fields, id))).toEqual(INVALID);
  });

  test('access_denied after it was rejected, expired_token after its time', async () => {
    const fields = asking();
    const rejected = await opened(fields);
    await on.settle('Reject', rejected, { user: 'carol' });
    expect(refusalOf(await poll(fields, rejected))).toMatchObject({ error: 'access_denied' });
    const late = await opened(fields);
    const before = ahead;
    ahead += 3_601_000;
    try {
      // The user's token has expired by then, too; the request is what is told of.
      expect(refusalOf(await poll(fields, late))).toMatchObject({ error: 'expired_token' });
    } finally {
      ahead = before;
    }
  });

  test('one of many at the same time gets a token', async () => {
    const fields = asking();
    const id = await opened(fields);
    await on.settle('Approve', id, { user: 'carol' });
    const answers = await Promise.all(
      Array.from({ length: 10 }, () => exchange({ ...fields, auth_req_id: id })),
    );
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1);
    for (const answer of answers) if (answer.status !== 200) expect(refusalOf(answer)).toEqual(INVALID);
  });
});

describe('an approval of a token', () => {
  test('is of no use for other scopes, details, audiences, another agent, or a decision', async () => {
    const fields = asking();
    const id = await opened(fields);
    await on.settle('Approve', id, { user: 'carol' });
    const others: Record<string, string>[] = [
      { ...fields, scope: 'docs.suggest' },
      { ...fields, use: 'read' },
      { ...fields, may_act: 'agent:other-agent' },
      { ...fields, audience: 'https://docs.acme.example/mcp' },
      { ...fields, task_purpose: 'tidy up' },
      asking(),
    ];
    for (const other of others) expect(refusalOf(await poll(other, id))).toEqual(INVALID);
    expect(refusalOf(await poll(fields, id, otherAgent))).toMatchObject({ status: 400 });
    expect(refusalOf(await poll(fields, 'nowhere'))).toEqual(INVALID);
    expect(refusalOf(await poll(fields, id))).toEqual(APPROVED);
  });

  test('is not given by the user, or an owner of the agent', async () => {
    const id = await opened(asking());
    for (const user of ['alice', 'dan', 'olga'])
      expect((await on.settle('Approve', id, { user })).status).toBe(403);
  });

  test('is of no use once its user or its agent was disabled', async () => {
    for (const [cls, who] of [
      ['user', 'alice'],
      ['agent', 'research-agent'],
    ] as const) {
      const fields = asking();
      const id = await opened(fields);
      await on.settle('Approve', id, { user: 'carol' });
      await on.stage.setStatus(cls, who, 'DISABLED');
      await on.stage.setStatus(cls, who, 'ACTIVE');
      expect(refusalOf(await poll(fields, id))).toEqual(INVALID);
    }
  });

  test('opens a task, and goes on in it without the user', async () => {
    const fields = { ...asking(), task_purpose: 'tidy up', task_lifetime: '3600' };
    const id = await opened(fields);
    await on.settle('Approve', id, { user: 'carol' });
    const { body } = await poll(fields, id);
    const { task_id: task = '' } = body as TokenJson & { task_id?: string };
    const renewing = {
      ...SCOPE,
      subject_token_type: 'urn:mandate:params:oauth:token-type:task',
      subject_token: task,
    };
    const again = await opened(renewing);
    await on.settle('Approve', again, { user: 'carol' });
    expect(refusalOf(await poll(renewing, again))).toEqual(APPROVED);
    const killed = await opened(renewing);
    await on.settle('Approve', killed, { user: 'carol' });
    await on.stage.revoke(body.access_token);
    expect(refusalOf(await poll(renewing, killed))).toEqual(APPROVED);
  });

  test('takes parameters that are of their form alone', async () => {
    const fields = asking();
    for (const more of [
      { request_approval: 'yes' },
      { approval_reason: 'why' },
      { request_approval: 'true', auth_req_id: 'x' },
      { request_approval: 'true', approval_reason: 'x'.repeat(1_025) },
      { auth_req_id: 'x'.repeat(65) },
    ])
      expect(refusalOf(await exchange({ ...fields, ...more }))).toMatchObject({
        code: 'invalid_request',
      });
  });
});

test('over gRPC the id stands in the details of the error, and the command line tells it', async () => {
  const transport = createGrpcTransport({ baseUrl: on.stage.server.data });
  const client = createClient(DelegationService, transport);
  const asked = {
    tenant: 'acme',
    subjectToken: await on.stage.issuer.sign(),
    audience: 'docs-mcp',
    scopes: ['docs.suggest'],
    requestApproval: true,
  };
  const headers = { authorization: basic(agent.id, agent.secret) };
  const error = await client.exchange(asked, { headers }).catch((each: unknown) => each);
  if (!(error instanceof ConnectError)) throw new Error('it is no error of Connect');
  expect([error.code, error.metadata.get('mandate-error-code')]).toEqual([
    Code.FailedPrecondition,
    'authorization_pending',
  ]);
  const [refusal] = error.findDetails(ExchangeRefusalSchema);
  const approval = refusal?.approval ?? '';
  const command = `token exchange -t acme --audience docs-mcp --scope docs.suggest --subject-token`.split(
    ' ',
  );
  const token = await on.stage.issuer.sign();
  const cli = at(on.stage.server, agent.secret);
  const wanted = await cli(...command, token, '--request-approval', 'to suggest');
  expect(wanted.stderr).toContain(`authorization_pending: the policy asks for approval first`);
  expect(wanted.stderr).toContain(`--approval ${approval},`);
  const decided = await at(on.stage.server, secrets.operator)('approval', 'approve', '-t', 'acme', approval);
  expect(decided.stdout).toContain(`${approval} approved by operator:root, to be used by `);
  const got = await cli(...command, token, '--approval', approval);
  expect([got.code, got.stdout.split('.').length]).toEqual([0, 3]);
});
