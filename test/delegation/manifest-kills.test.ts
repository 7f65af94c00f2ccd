import { afterAll, beforeAll, expect, test } from 'vitest';
import { connect } from '../e2e/requests.ts';
import { bearer, editTenant, secrets } from '../e2e/server.ts';
import { agent, refusalOf, Stage } from './stage.ts';

/** What a manifest says of a principal undoes no kill, and a server that was killed is given nothing more. */

let stage: Stage;
beforeAll(async () => {
  stage = await Stage.open({
    acme: ({ principals }) => {
      for (const each of principals) if (each.id === agent.id) each.status = 'active';
    },
    overrides: { base_url: 'http://mandate.test' },
  });
});
afterAll(() => stage[Symbol.asyncDispose]());

type Edit = Parameters<typeof editTenant>[1];
const reloaded = async (edit: Edit): Promise<void> => {
  await editTenant(stage.server.tenantFolder('acme'), edit);
  const { status } = await connect(stage.server.admin, 'PolicyService/ReloadPolicy', { tenant: 'acme' });
  expect(status).toBe(200);
};
const kill = (target: object) =>
  connect(stage.server.admin, 'KillService/Kill', { tenant: 'acme', ...target }, bearer(secrets.operator));
const exchanged = async () => refusalOf(await stage.exchange(await stage.issuer.sign()));
const said =
  (status: 'active' | 'disabled' | undefined): Edit =>
  ({ principals }) => {
    for (const each of principals)
      if (each.id === agent.id && status !== undefined) each.status = status;
      else if (each.id === agent.id) delete each.status;
  };
const DISABLED = { code: 'exchange_denied' };

test('an agent that was killed stays so when its manifest says active, also when something else in it changes', async () => {
  expect(await exchanged()).toMatchObject({ status: 200 });
  await kill({ agent: agent.id });
  expect(await exchanged()).toMatchObject(DISABLED);
  await reloaded(({ roles }) => {
    roles['new'] = { scopes: [] };
  });
  expect(await exchanged()).toMatchObject(DISABLED);
  await reloaded(said(undefined));
  await reloaded(said('active'));
  expect(await exchanged()).toMatchObject(DISABLED);
  await stage.restart();
  expect(await exchanged()).toMatchObject(DISABLED);
  await stage.setStatus('agent', agent.id, 'ACTIVE');
  expect(await exchanged()).toMatchObject({ status: 200 });
});

test('one that the manifest has disabled is let act again by it', async () => {
  await reloaded(said('disabled'));
  expect(await exchanged()).toMatchObject(DISABLED);
  await reloaded(said('active'));
  expect(await exchanged()).toMatchObject({ status: 200 });
});

test('nobody is given a token for a server that was killed, and it is asked for again once it is enabled', async () => {
  await kill({ subject: { class: 'mcp_server', id: 'docs-mcp' } });
  expect(await exchanged()).toMatchObject({ status: 400, error: 'invalid_target' });
  const task = await stage.exchange(await stage.issuer.sign(), {
    resource: 'https://docs.acme.example/mcp',
    audience: '',
  });
  expect(refusalOf(task)).toMatchObject({ status: 400 });
  await stage.setStatus('mcp_server', 'docs-mcp', 'ACTIVE');
  expect(await exchanged()).toMatchObject({ status: 200 });
});
