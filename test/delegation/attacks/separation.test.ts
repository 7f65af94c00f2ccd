import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { secrets, sha256 } from '../../e2e/server.ts';
import { Approving, asking } from '../approving.ts';
import { mcp } from '../stage.ts';

/** Approvals of one's own request by a detour: through a group, a service of one's own, or an agent that takes it on. */

const secretOf = (id: string): string => `acme-${id}-test-secret-000000000001`;

let on: Approving;

beforeAll(async () => {
  on = await Approving.open({
    acme: (manifest) => {
      // research-agent is dan's, and that of the owners, of whom olga is one.
      for (const [id, owner] of [
        ['of-olga', 'user:olga'],
        ['of-compliance', 'group:compliance'],
        ['of-nobody', undefined],
      ] as const)
        manifest.principals.push({
          class: 'service',
          id,
          may: ['approval.write'],
          owners: owner ? [owner] : [],
          credentials: [{ secret_sha256: sha256(secretOf(id)) }],
        });
      manifest.principals.push({ class: 'user', id: 'erin', groups: ['compliance'] });
      const other = manifest.principals.find(({ id }) => id === 'other-agent');
      if (other) Object.assign(other, { owners: ['user:erin'], may: ['exchange', 'approval.write'] });
    },
  });
});
afterAll(() => on[Symbol.asyncDispose]());

const saidTo = async (id: string, by: Parameters<Approving['settle']>[2]): Promise<string> =>
  String((await on.settle('Approve', id, by)).body.message);

describe('nobody approves by a detour', () => {
  const byAgent = async (): Promise<string> => {
    const { subject: _, ...asked } = asking();
    return on.opened(asked, { secret: mcp.secret, token: await on.stage.granted() });
  };

  test('by a service of somebody who answers for the agent in a group', async () => {
    const id = await byAgent();
    expect(await saidTo(id, { secret: secretOf('of-olga') })).toContain('answers for an agent');
    expect((await on.settle('Approve', id, { secret: secretOf('of-nobody') })).status).toBe(200);
  });

  test('by a service of a group in which somebody answers for the agent', async () => {
    const id = await byAgent();
    expect(await saidTo(id, { secret: secretOf('of-compliance') })).toContain('answers for an agent');
    expect((await on.settle('Approve', id, { user: 'carol' })).status).toBe(200);
  });

  test('by whoever alone may take on what is granted, or answers for that one', async () => {
    const fields = { scope: 'docs.suggest', may_act: 'agent:other-agent', request_approval: 'true' };
    const { body } = await on.stage.exchange(await on.stage.issuer.sign(), fields);
    const id = String((body as { auth_req_id?: string }).auth_req_id);
    expect(await saidTo(id, { user: 'erin' })).toContain('answers for an agent');
    expect(await saidTo(id, { secret: secrets.otherAgent })).toContain('has a part in it');
    expect((await on.settle('Approve', id, { user: 'carol' })).status).toBe(200);
  });
});
