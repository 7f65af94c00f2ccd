import { rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { expect, test } from 'vitest';
import { connect, postJson } from '../e2e/requests.ts';
import { logIn } from './log.ts';
import { type ServeProcess, serveProcess } from './process.ts';

/** An approval that was used stays used, and one that was given stays given, whatever becomes of the server right after. */

const POLICY = `package authz

challenge := {"type": "approval"} if {
	input.action.name == "document.publish"
	not input.approval
}

allow if {
	input.action.name == "document.publish"
	input.approval.id
}
`;
const APPROVAL = 'package approval\n\nallow if input.approver.id == "carol"\n';

const asked = {
  subject: { type: 'user', id: 'bob' },
  action: { name: 'document.publish' },
  resource: { type: 'document', id: 'plan' },
};
/** Under --dev a caller without a credential is nobody in particular. */
const API = 'Bearer acme-docs-api-demo-secret-000000001';

interface Evaluated {
  readonly decision: boolean;
  readonly context: Record<string, string> & { access_request: { expires_at: string } };
}

const post = async <T>(server: ServeProcess, where: string, body: object): Promise<T> =>
  (await postJson<T>(`${server.data}/t/acme/access/v1/${where}`, body, API)).body;

const again = (server: ServeProcess, id: string): Promise<Evaluated> =>
  post(server, 'evaluation', { ...asked, context: { approval: { id } } });

async function opened(server: ServeProcess): Promise<string> {
  const { context } = await post<Evaluated>(server, 'evaluation', asked);
  const denial = { evaluation_id: context['evaluation_id'], expires_at: context.access_request.expires_at };
  const { task } = await post<{ task: { id: string } }>(server, 'requests', { ...asked, denial });
  return task.id;
}

async function approve(server: ServeProcess, id: string): Promise<number> {
  const url = `${server.data}/t/acme/dev/token?user=carol&client=docs-api`;
  const { body } = await postJson<{ access_token: string }>(url, '');
  const message = { tenant: 'acme', id, approverToken: body.access_token };
  return (await connect(server.admin, 'ApprovalService/Approve', message)).status;
}

test('used, SIGKILL straight after the answer, started again: it is used', async () => {
  const first = await serveProcess();
  const { folder } = first;
  await first.end('SIGTERM');
  const acme = path.join(folder, 'tenants', 'acme');
  await writeFile(path.join(acme, 'authz', 'publishing.rego'), POLICY);
  await writeFile(path.join(acme, 'approval', 'approval.rego'), APPROVAL);
  try {
    const server = await serveProcess({ folder });
    const used = await opened(server);
    expect(await approve(server, used)).toBe(200);
    const answer = await again(server, used);
    await server.end('SIGKILL');
    expect(answer.decision).toBe(true);
    const next = await serveProcess({ folder });
    expect((await again(next, used)).decision).toBe(false);
    const id = await opened(next);
    expect(await approve(next, id)).toBe(200);
    await next.end('SIGKILL');
    await using last = await serveProcess({ folder });
    const answers = await Promise.all(Array.from({ length: 5 }, () => again(last, id)));
    expect(answers.filter(({ decision }) => decision)).toHaveLength(1);
    const actions = logIn(last.store)
      .filter(({ kind }) => kind === 'approval')
      .map(({ action }) => action);
    const each = ['approval.request', 'approval.approve'];
    expect(actions).toEqual([...each, ...each]);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});
