import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { connect } from '../../e2e/requests.ts';
import { bearer, secrets } from '../../e2e/server.ts';
import { Approving, asking, OVER, said } from '../approving.ts';
import { mcp } from '../stage.ts';

/** The attack list of PROTOCOLS.md: an approval that is outlived. */

let on: Approving;
/** The server's clock runs ahead of the machine's by this much. In milliseconds. */
let ahead = 0;

beforeAll(async () => {
  on = await Approving.open({ clock: () => Date.now() + ahead });
});
afterAll(() => on[Symbol.asyncDispose]());

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

  test.each([
    ['the approver', 'carol', true],
    ['who asked', 'bob', true],
    ['who asked, before it was decided,', 'bob', false],
  ])(
    'after %s was disabled for a while it stands in the way of no other one',
    async (_who, who, isApproved) => {
      const asked = asking();
      const id = isApproved ? await on.approved(asked) : await on.opened(asked);
      expect((await on.request(asked)).body.task?.id).toBe(id);
      await setStatus('user', who, 'DISABLED');
      await setStatus('user', who, 'ACTIVE');
      const anew = await on.opened(asked);
      expect(anew).not.toBe(id);
      expect((await on.settle('Approve', anew, { user: 'carol' })).status).toBe(200);
      expect((await on.again(asked, anew)).body.decision).toBe(true);
    },
  );

  test('after whoever asked was disabled, and enabled again', async () => {
    const asked = asking();
    const id = await on.approved(asked);
    await setStatus('service', 'docs-api', 'DISABLED');
    expect(await on.again(asked, id)).toMatchObject({ status: 403, body: { error: 'principal_disabled' } });
    await setStatus('service', 'docs-api', 'ACTIVE');
    expect(said(await on.again(asked, id))).toEqual(OVER);
  });

  test('after an agent in it was suspended for a while, as nobody answered for it', async () => {
    const { subject: _, ...asked } = asking();
    const id = await on.approved(asked, { secret: mcp.secret, token: await on.stage.granted() });
    const owners = ['dan', 'olga'];
    for (const owner of owners) await setStatus('user', owner, 'DISABLED');
    for (const owner of owners) await setStatus('user', owner, 'ACTIVE');
    const next = await on.stage.granted();
    expect(said(await on.again(asked, id, { secret: mcp.secret, token: next }))).toEqual(OVER);
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
