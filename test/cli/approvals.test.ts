import { afterAll, beforeAll, expect, test } from 'vitest';
import { Approving, consoleSecret, publishing } from '../delegation/approving.ts';
import { secrets } from '../e2e/server.ts';
import { at } from './run.ts';

let on: Approving;
/** What a terminal would act on. */
const NOISY = 'plan\u001b[2J';

beforeAll(async () => {
  on = await Approving.open();
});
afterAll(() => on[Symbol.asyncDispose]());

const cli = (...args: string[]) => at(on.stage.server, secrets.operator)(...args);
const asking = (id: string) => ({
  ...publishing,
  resource: { type: 'document', id, properties: { pages: 7 } },
});

test('list: a table, or JSON with --json, as many as are wanted; with --settled what is over, too', async () => {
  const [first, second] = [await on.opened(asking('one')), await on.opened(asking('two'))];
  await on.cancel(first);
  const { code, stdout } = await cli('approval', 'list', '-t', 'acme');
  expect(code).toBe(0);
  expect(stdout).toMatch(/^REQUEST +STATE +SUBJECT +ACTOR +ACTION +RESOURCE +REASON\n/);
  expect(stdout).toContain(`${second}  pending  user:bob         document.publish  document:two`);
  expect(stdout).not.toContain(first);
  const all = await cli('--json', 'approval', 'list', '-t', 'acme', '--settled', '--limit', '1');
  expect(JSON.parse(all.stdout)).toMatchObject({ approvals: [{ id: second, state: 'pending' }], more: true });
  const { stdout: settled } = await cli('approval', 'list', '-t', 'acme', '--settled');
  expect(settled).toContain(`${first}  cancelled`);
});

test('show: every field, before and after', async () => {
  const id = await on.opened(asking('shown'));
  const { stdout } = await cli('approval', 'show', '-t', 'acme', id);
  for (const line of [
    /^state +pending$/m,
    /^for +a decision$/m,
    /^asked by +service:docs-api$/m,
    /^properties +\{"pages":7\}$/m,
    /^template +manager$/m,
    /^uses +1 of 1 left, for 600 seconds once it is approved$/m,
  ])
    expect(stdout).toMatch(line);
  await on.settle('Approve', id, { user: 'carol', note: 'fine' });
  const { stdout: after } = await cli('--json', 'approval', 'show', '-t', 'acme', id);
  expect(JSON.parse(after)).toMatchObject({
    state: 'approved',
    approver: 'user:carol',
    note: 'fine',
    uses_left: 1,
  });
  const gone = await cli('approval', 'show', '-t', 'acme', 'nowhere');
  expect(gone).toMatchObject({ code: 2, stderr: 'mandate: not_found: no such request in this tenant\n' });
});

test('approve and reject: by the caller, or by whose token it passes on', async () => {
  const [own, theirs, mine] = [
    await on.opened(asking('own')),
    await on.opened(asking('theirs')),
    await on.opened(asking('mine')),
  ];
  const approved = await cli('approval', 'approve', '-t', 'acme', own, '--note', 'as agreed');
  expect(approved.stdout).toMatch(new RegExp(`^${own} approved by operator:root, to be used by 2.*Z\n$`));
  const token = await on.stage.issuer.sign({ sub: 'carol', client_id: 'console' });
  const byConsole = at(on.stage.server, consoleSecret);
  const rejected = await byConsole('approval', 'reject', '-t', 'acme', theirs, '--approver-token', token);
  expect(rejected.stdout).toBe(`${theirs} rejected by user:carol\n`);
  expect((await byConsole('approval', 'approve', '-t', 'acme', theirs)).stderr).toBe(
    'mandate: approval_settled: the request is rejected\n',
  );
  const refused = await at(on.stage.server, secrets.api)('approval', 'approve', '-t', 'acme', mine);
  expect(refused).toMatchObject({ code: 2 });
  expect(refused.stderr).toContain('permission_denied: you may not decide this request');
  expect((await at(on.stage.server, secrets.mcp)('approval', 'list', '-t', 'acme')).stderr).toContain(
    'may not approval.read',
  );
});

test('names in it do not act on the terminal', async () => {
  const id = await on.opened(asking(NOISY));
  for (const command of [['list'], ['show', id]]) {
    const { stdout } = await cli('approval', ...command, '-t', 'acme');
    expect(stdout).toContain('document:plan\\x1b[2J');
    expect(stdout).not.toContain('\u001b');
  }
});
