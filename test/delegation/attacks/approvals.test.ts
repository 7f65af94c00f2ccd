import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { connect } from '../../e2e/requests.ts';
import { bearer, secrets } from '../../e2e/server.ts';
import { Approving, type Asked, consoleSecret, publishing, said } from '../approving.ts';
import { mcp } from '../stage.ts';

/** The attack list of PROTOCOLS.md: an approval reused or its details swapped, given by the wrong one, or outlived. */

let on: Approving;
/** The server's clock runs ahead of the machine's by this much. In milliseconds. */
let ahead = 0;

beforeAll(async () => {
  on = await Approving.open({
    clock: () => Date.now() + ahead,
    globex: (manifest) => {
      const agent = manifest.principals.find(({ id }) => id === 'tools-mcp');
      if (agent) agent.may = ['check'];
    },
  });
});
afterAll(() => on[Symbol.asyncDispose]());

/** What nobody who presents somebody else's approval can tell from one that is not there. */
const UNKNOWN = [false, 'approval_unverifiable'];
const OVER = [false, 'approval_expired'];
const OTHER = [false, 'approval_out_of_scope'];
const ALLOWED = [true, undefined];

let serial = 0;
/** A question of its own each time, so that no test has another's approval. */
const asking = (more: Asked = {}): Asked => {
  serial += 1;
  return {
    ...publishing,
    resource: { type: 'document', id: `plan-${serial}`, properties: { pages: 7 } },
    ...more,
  };
};

describe('an approval', () => {
  test('lets what was approved be done once, and is a record each time', async () => {
    const asked = asking();
    const id = await on.approved(asked);
    expect(said(await on.again(asked, id))).toEqual(ALLOWED);
    expect(said(await on.again(asked, id))).toEqual(OVER);
    expect((await on.events(id)).map(({ action, outcome }) => [action, outcome])).toEqual([
      ['approval.request', 'done'],
      ['approval.approve', 'done'],
    ]);
    const [used] = await on.stage.records({ kind: 'decision', outcome: 'allow' });
    const body = JSON.parse(Buffer.from(String(used?.['body']), 'base64').toString()) as Record<
      string,
      object
    >;
    expect(body['approval']).toEqual({ id, uses_left: { before: 1, after: 0 } });
    expect(body['input']).toMatchObject({
      approval: { id, approver: { class: 'user', id: 'carol' }, reason: '' },
    });
  });

  test('is used by one of many at the same time', async () => {
    const asked = asking();
    const id = await on.approved(asked);
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, at) =>
        at % 2 ? on.again(asked, id).then(({ body }) => body.decision) : on.check(asked, id).then(isAllow),
      ),
    );
    expect(answers.filter(Boolean)).toHaveLength(1);
  });

  test('is used as often as the policy says, at the same time too', async () => {
    const asked = asking({ resource: { type: 'series', id: `s-${serial}` } });
    const id = await on.approved(asked);
    const answers = await Promise.all(Array.from({ length: 12 }, () => on.again(asked, id)));
    expect(answers.filter(({ body }) => body.decision)).toHaveLength(3);
  });

  test('is not used by a decision that denies in spite of it', async () => {
    const asked = asking({ resource: { type: 'document', id: 'cold', properties: { frozen: true } } });
    const id = await on.approved(asked);
    expect((await on.again(asked, id)).body.context.outcome).toBe('deny');
    expect((await on.status(id)).body).toMatchObject({ task: { status: 'approved' } });
  });
});

const isAllow = ({ decision }: { decision: string }): boolean => decision === 'DECISION_ALLOW';

describe('its details swapped', () => {
  const swaps: [string, Asked][] = [
    ['another resource', { resource: { type: 'document', id: 'other', properties: { pages: 7 } } }],
    ['another type', { resource: { type: 'series', id: 'plan', properties: { pages: 7 } } }],
    ['other properties', { resource: { type: 'document', id: 'plan', properties: { pages: 8 } } }],
    ['more properties', { resource: { type: 'document', id: 'plan', properties: { pages: 7, x: null } } }],
    ['no properties', { resource: { type: 'document', id: 'plan' } }],
    ['properties of the action', { action: { name: 'document.publish', properties: { force: true } } }],
    ['another subject', { subject: { type: 'user', id: 'alice' } }],
    ['a subject of another class', { subject: { type: 'agent', id: 'research-agent' } }],
    ['properties of the subject', { subject: { type: 'user', id: 'bob', properties: { vip: true } } }],
    ['the context that is bound', { context: { ticket: 'T-2' } }],
    ['no context', { context: undefined }],
  ];
  test.each(swaps)('%s: it is of no use', async (_what, swap) => {
    const asked = {
      ...publishing,
      resource: { type: 'document', id: 'plan', properties: { pages: 7 } },
      context: { ticket: 'T-1' },
    };
    const { body } = await on.request(asked);
    await on.settle('Approve', body.task.id, { user: 'carol' });
    expect(said(await on.again({ ...asked, ...swap }, body.task.id))).toEqual(OTHER);
    expect(
      said(await on.again({ ...asked, context: { ticket: 'T-1', note: 'free' } }, body.task.id)),
    ).toEqual(ALLOWED);
  });

  test('another caller cannot tell it from none, and neither can it see or cancel it', async () => {
    const asked = asking();
    const id = await on.approved(asked);
    const other = { secret: mcp.secret };
    expect(said(await on.again(asked, id, other))).toEqual(UNKNOWN);
    expect(said(await on.again(asked, 'nowhere', other))).toEqual(UNKNOWN);
    const { status, body } = await on.status(id, other);
    expect([status, (await on.status('nowhere', other)).status]).toEqual([404, 404]);
    expect(body).toEqual((await on.status('nowhere', other)).body);
    expect((await on.cancel(id, other)).body).toMatchObject({
      type: 'urn:openid:authzen:access-request:error:unknown_task',
    });
    expect(said(await on.again(asked, id))).toEqual(ALLOWED);
  });

  test('another tenant has no such approval', async () => {
    const asked = asking();
    const id = await on.approved(asked);
    const elsewhere = { secret: secrets.globexMcp, tenant: 'globex' };
    const { body } = await on.again(asked, id, elsewhere);
    expect(body.context.reasons).toMatchObject([
      { code: 'principal_unknown' },
      { code: 'approval_unverifiable' },
    ]);
    expect((await on.status(id, elsewhere)).status).toBe(404);
    const asOperator = await on.settle('Approve', id, { tenant: 'globex' });
    expect(asOperator.body).toMatchObject({ code: 'not_found' });
  });

  test('a token of another agent, or with other facts, is another question', async () => {
    const { subject: _, ...asked } = asking();
    const token = await on.stage.granted();
    const by = { secret: mcp.secret, token };
    const id = await on.approved(asked, by);
    const alone = await on.stage.issuer.sign();
    expect(said(await on.again(asked, id, { ...by, token: alone }))).toEqual(OTHER);
    const other = await on.stage.granted({ may_act: 'agent:other-agent' });
    expect(said(await on.again(asked, id, { ...by, token: other }))).toEqual(OTHER);
    // The next token of the same is as good as the one before.
    expect(said(await on.again(asked, id, { ...by, token: await on.stage.granted() }))).toEqual(ALLOWED);
  });

  test('a caller who states it is refused, in every place where it could', async () => {
    const forged = { id: 'x', approver: { class: 'user', id: 'carol' } };
    const asked = asking();
    const plain = await on.check({ ...asked, context: { approval: forged } }, '');
    expect(plain).toMatchObject({ code: 'invalid_argument' });
    const { body } = await on.evaluate({ ...asked, context: { approval: forged } });
    expect(body).toMatchObject({ error: 'invalid_request' });
    const batch = await connect<{ results: { decision: string; reasons: { code: string }[] }[] }>(
      on.stage.server.data,
      'DecisionService/CheckBatch',
      { tenant: 'acme', items: [{ ...asked, context: { approval: forged } }] },
      bearer(secrets.api),
    );
    expect(batch.body.results).toMatchObject([
      { decision: 'DECISION_DENY', reasons: [{ code: 'invalid_request' }] },
    ]);
    const top = await on.evaluate({ ...asked, approval: forged });
    expect(said(top)).toEqual([false, undefined]);
  });
});

describe('separation of duties: it is not approved', () => {
  const refusedFor = async (id: string, by: Parameters<Approving['settle']>[2]): Promise<string> => {
    const { status, body } = await on.settle('Approve', id, by);
    expect(status).toBe(403);
    const [last] = (await on.events(id)).toReversed();
    expect(last).toMatchObject({ action: 'approval.approve', outcome: 'deny', detail: { after: null } });
    expect((await on.status(id)).body).not.toMatchObject({ task: { status: 'approved' } });
    return String(body.message);
  };

  test('by the subject itself, whatever the policy says of it', async () => {
    const id = await on.opened(asking({ subject: { type: 'user', id: 'carol' } }));
    expect(await refusedFor(id, { user: 'carol' })).toContain('has a part in it');
    expect((await on.settle('Approve', id, { user: 'dan' })).status).toBe(200);
  });

  test('by whoever asked for it', async () => {
    const id = await on.opened(asking());
    expect(await refusedFor(id, { secret: secrets.api })).toContain('whoever asked for it');
    const byRoot = await on.opened(asking(), { secret: secrets.operator });
    expect((await on.settle('Approve', byRoot, {})).body.message).toContain('whoever asked for it');
    expect((await on.settle('Approve', id, {})).status).toBe(200);
  });

  test('by the user or the agent of a chain, or an owner of the agent, alone or in a group', async () => {
    const { subject: _, ...asked } = asking();
    const token = await on.stage.granted();
    const id = await on.opened(asked, { secret: mcp.secret, token });
    const said = async (by: Parameters<Approving['settle']>[2]): Promise<string> =>
      String((await on.settle('Approve', id, by)).body.message);
    expect(await said({ user: 'alice' })).toContain('has a part in it');
    expect(await said({ user: 'dan' })).toContain('answers for an agent');
    expect(await said({ user: 'olga' })).toContain('answers for an agent');
    expect(await said({ secret: mcp.secret })).toContain('whoever asked for it');
    expect((await on.settle('Approve', id, { user: 'carol' })).status).toBe(200);
  });

  test('by somebody whom the policy does not name, a user without a right, or nobody', async () => {
    const id = await on.opened(asking());
    expect(await refusedFor(id, { user: 'alice' })).toContain('not_allowed');
    expect(await refusedFor(id, { user: 'nobody' })).toContain('approver_inactive');
    expect((await on.settle('Approve', id, { secret: secrets.agent })).status).toBe(403);
  });

  test('with a token that was given to somebody else than the console, or is for nobody in person', async () => {
    const id = await on.opened(asking());
    const tries: object[] = [
      { client_id: 'research-agent' },
      { aud: 'https://elsewhere.example' },
      { may_act: { sub: 'console' } },
      { exp: Math.floor(Date.now() / 1_000) - 3_600 },
    ];
    for (const claims of tries)
      expect((await on.settle('Approve', id, { user: 'carol', claims })).status).not.toBe(200);
    // An operator is nobody's client.
    expect((await on.settle('Approve', id, { user: 'carol', secret: secrets.operator })).status).toBe(403);
    const delegated = await on.stage.granted();
    const asked = { tenant: 'acme', id, approverToken: delegated };
    const { body } = await connect(
      on.stage.server.admin,
      'ApprovalService/Approve',
      asked,
      bearer(consoleSecret),
    );
    expect(body).toMatchObject({ code: 'invalid_argument' });
    expect((await on.status(id)).body).toMatchObject({ task: { status: 'pending' } });
  });
});

describe('outlived: it is of no use', () => {
  const setStatus = (cls: string, id: string, status: 'ACTIVE' | 'DISABLED') =>
    on.stage.setStatus(cls, id, status);

  test.each([
    ['the approver', 'user', 'carol'],
    ['the subject', 'user', 'bob'],
  ])('after %s was disabled, and enabled again', async (_who, cls, who) => {
    const asked = asking();
    const id = await on.approved(asked);
    await setStatus(cls, who, 'DISABLED');
    expect((await on.again(asked, id)).body.decision).toBe(false);
    await setStatus(cls, who, 'ACTIVE');
    expect(said(await on.again(asked, id))).toEqual(OVER);
  });

  test('after who asked was disabled while it waited: nobody approves it any more', async () => {
    const asked = asking();
    const id = await on.opened(asked);
    await setStatus('user', 'bob', 'DISABLED');
    await setStatus('user', 'bob', 'ACTIVE');
    const { status, body } = await on.settle('Approve', id, { user: 'carol' });
    expect([status, body.code]).toEqual([400, 'failed_precondition']);
    expect(said(await on.again(asked, id))).toEqual([false, 'approval_pending']);
  });

  test('approved by somebody who was disabled before', async () => {
    const id = await on.opened(asking());
    await setStatus('user', 'carol', 'DISABLED');
    try {
      expect((await on.settle('Approve', id, { user: 'carol' })).status).toBe(403);
    } finally {
      await setStatus('user', 'carol', 'ACTIVE');
    }
    expect((await on.status(id)).body).toMatchObject({ task: { status: 'pending' } });
  });

  test('when it has expired, which is a record once', async () => {
    const asked = asking();
    const id = await on.approved(asked);
    ahead = 601_000;
    try {
      expect(said(await on.again(asked, id))).toEqual(OVER);
      expect(said(await on.again(asked, id))).toEqual(OVER);
    } finally {
      ahead = 0;
    }
    // A clock that is set back gives it no second life.
    expect(said(await on.again(asked, id))).toEqual(OVER);
    const events = await on.events(id);
    expect(events.map(({ action }) => action)).toEqual([
      'approval.request',
      'approval.approve',
      'approval.expire',
    ]);
    expect(events.at(-1)?.detail).toMatchObject({
      before: { state: 'approved' },
      after: { state: 'expired' },
    });
  });

  test('when the request has expired: nobody approves it any more', async () => {
    const id = await on.opened(asking());
    ahead = 3_601_000;
    try {
      expect((await on.settle('Approve', id, {})).body.message).toContain('expired');
    } finally {
      ahead = 0;
    }
    expect((await on.status(id)).body).toMatchObject({ task: { status: 'expired' } });
    expect((await on.settle('Approve', id, { user: 'carol' })).status).toBe(400);
  });

  test('after it was cancelled, rejected, or rejected after all', async () => {
    const asked = asking();
    const cancelled = await on.opened(asked);
    expect((await on.cancel(cancelled)).body).toMatchObject({ task: { status: 'cancelled' } });
    expect((await on.cancel(cancelled)).body).toMatchObject({
      type: 'urn:openid:authzen:access-request:error:invalid_task_state',
    });
    expect((await on.settle('Approve', cancelled, { user: 'carol' })).status).toBe(400);
    expect(said(await on.again(asked, cancelled))).toEqual(OVER);
    const rejected = await on.opened(asked);
    await on.settle('Reject', rejected, { user: 'carol' });
    expect((await on.status(rejected)).body).toMatchObject({ task: { status: 'denied' } });
    expect((await on.settle('Approve', rejected, { user: 'carol' })).status).toBe(400);
    const withdrawn = await on.approved(asked);
    await on.settle('Reject', withdrawn, { user: 'carol' });
    expect(said(await on.again(asked, withdrawn))).toEqual(OVER);
  });

  test('after the grant it was asked under was killed', async () => {
    const { subject: _, ...asked } = asking();
    const token = await on.stage.granted();
    const id = await on.approved(asked, { secret: mcp.secret, token });
    await on.stage.revoke(token);
    const next = await on.stage.granted();
    expect(said(await on.again(asked, id, { secret: mcp.secret, token: next }))).toEqual(OVER);
  });

  test('after the issuer of its token was killed and restored', async () => {
    const { subject: _, ...asked } = asking();
    const token = await on.stage.issuer.sign({ sub: 'bob' });
    const by = { secret: mcp.secret, token };
    const id = await on.approved(asked, by);
    const target = { tenant: 'acme', issuer: on.stage.issuer.url };
    await connect(on.stage.server.admin, 'KillService/Kill', target, bearer(secrets.operator));
    await connect(on.stage.server.admin, 'KillService/Restore', target, bearer(secrets.operator));
    expect(said(await on.again(asked, id, by))).toEqual(OVER);
  });

  test('after the tenant was killed and restored', async () => {
    const asked = asking();
    const id = await on.approved(asked);
    const target = { tenant: 'acme', wholeTenant: true };
    await connect(on.stage.server.admin, 'KillService/Kill', target, bearer(secrets.operator));
    expect((await on.again(asked, id)).body.context.reasons[0]).toMatchObject({ code: 'tenant_killed' });
    expect((await on.settle('Approve', id, { user: 'carol' })).status).not.toBe(200);
    await connect(on.stage.server.admin, 'KillService/Restore', target, bearer(secrets.operator));
    expect(said(await on.again(asked, id))).toEqual(OVER);
  });
});

describe('a request', () => {
  test('takes a denial of the same caller, for the same, of late', async () => {
    const asked = asking();
    const { body: denied } = await on.evaluate(asked);
    const problem = async (answer: ReturnType<Approving['submit']>): Promise<unknown> =>
      (await answer).body.type;
    const named = (name: string) => `urn:openid:authzen:access-request:error:${name}`;
    const unbound = named('invalid_denial_binding');
    const of = (more: object) => ({ ...denied, context: { ...denied.context, ...more } });
    expect(await problem(on.submit(asked, denied, { secret: mcp.secret }))).toBe(unbound);
    expect(await problem(on.submit(asked, of({ evaluation_id: 'nowhere' })))).toBe(unbound);
    expect(
      await problem(on.submit(asked, of({ access_request: { expires_at: '2099-01-01T00:00:00Z' } }))),
    ).toBe(unbound);
    const other = { ...asked, resource: { type: 'document', id: 'other' } };
    expect(await problem(on.submit(other, denied))).toBe(unbound);
    const more = { ...asked, resource: { ...(asked['resource'] as object), properties: { pages: 9 } } };
    expect(await problem(on.submit(more, denied))).toBe(unbound);
    const reads = { ...publishing, action: { name: 'document.read' } };
    const { body: plain } = await on.evaluate(reads);
    expect(plain.context.access_request).toBeUndefined();
    const forged = of({ evaluation_id: plain.context['decision_id'] });
    expect(await problem(on.submit(reads, forged))).toBe(named('not_requestable'));
    ahead = 601_000;
    try {
      expect(await problem(on.submit(asked, denied))).toBe(named('expired_denial'));
    } finally {
      ahead = 0;
    }
    expect((await on.submit(asked, denied)).status).toBe(202);
  });

  test('is one for the same question, and as many as may be of one who would act', async () => {
    const asked = asking({ subject: { type: 'user', id: 'dan' } });
    const [one, two] = [await on.opened(asked), await on.opened(asked)];
    expect(two).toBe(one);
    const answers = await Promise.all(
      Array.from({ length: 24 }, () => on.request(asking({ subject: { type: 'user', id: 'dan' } }))),
    );
    const refused = answers.filter(({ status }) => status !== 202);
    expect(refused).toHaveLength(5);
    expect(refused[0]).toMatchObject({ status: 429, body: { error: 'resource_exhausted' } });
    expect((await on.request(asking())).status).toBe(202);
  });

  test('has no member that is not known, and texts of bounded length', async () => {
    const asked = asking();
    const { body: denied } = await on.evaluate(asked);
    for (const more of [
      { callback: { endpoint: 'https://pep.example' } },
      { items: [] },
      { context: { business_justification: 7 } },
      { context: { business_justification: 'x'.repeat(1_025) } },
    ]) {
      const { status, body } = await on.submit({ ...asked, ...more }, denied);
      expect([status, body.error]).toEqual([400, 'invalid_request']);
    }
  });
});
