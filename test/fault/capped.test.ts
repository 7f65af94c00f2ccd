import { rm } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { connect, exchangeFields, form, postJson, type TokenJson } from '../e2e/requests.ts';
import { basic } from '../e2e/server.ts';
import { logIn } from './log.ts';
import { serveProcess } from './process.ts';

/** A cap that was answered holds, whatever becomes of the server in the next moment. */

const agent = { id: 'research-agent', secret: 'acme-research-agent-demo-secret-0001' };
const TASK = 'urn:mandate:params:oauth:token-type:task';
const SCOPE = 'docs.read docs.suggest';

type TaskJson = TokenJson & { readonly task_id: string };

test('a task is capped, and SIGKILL straight after the answer', async () => {
  const server = await serveProcess();
  try {
    const url = `${server.data}/t/acme/dev/token?user=alice&client=research-agent`;
    const { access_token: user } = (await postJson<{ access_token: string }>(url, '')).body;
    const opening = exchangeFields(user, { scope: SCOPE, task_purpose: 'x' });
    const { task_id: taskId, scope } = (await form<TaskJson>(server.data, 'token', opening, agent)).body;
    expect(scope).toBe(SCOPE);
    const cap = { tenant: 'acme', taskId, scopes: ['docs.read'], use: 'read' };
    const { status } = await connect(
      server.data,
      'DelegationService/CapTask',
      cap,
      basic(agent.id, agent.secret),
    );
    await server.end('SIGKILL');
    expect(status).toBe(200);
    const records = logIn(server.store).filter(({ kind }) => kind === 'revocation');
    expect(records).toMatchObject([{ action: 'task.cap', outcome: 'done' }]);
    await using again = await serveProcess({ folder: server.folder });
    const renewal = exchangeFields(taskId, { subject_token_type: TASK, scope: SCOPE });
    const { body } = await form<TaskJson>(again.data, 'token', renewal, agent);
    expect(body).toMatchObject({ scope: 'docs.read', use: 'read' });
  } finally {
    await rm(server.folder, { recursive: true, force: true });
  }
});
