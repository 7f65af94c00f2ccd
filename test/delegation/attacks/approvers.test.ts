import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { connect } from '../../e2e/requests.ts';
import { bearer, secrets } from '../../e2e/server.ts';
import { Approving, asking, consoleSecret } from '../approving.ts';
import { mcp } from '../stage.ts';

/** The attack list of PROTOCOLS.md: an approval by the wrong one. */

let on: Approving;

beforeAll(async () => {
  on = await Approving.open();
});
afterAll(() => on[Symbol.asyncDispose]());

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
