import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { at } from '../../cli/run.ts';
import { connect } from '../../e2e/requests.ts';
import { type Running, secrets, startIn, startServer } from '../../e2e/server.ts';
import { decided, filesIn, type Kept, operator, policyOf, type Refused, STRICTER, testOf } from './lab.ts';

/** A draft is kept without its tests being run, and decides nothing, by no way, until they pass. */

let server: Running;
let files: Record<string, string>;
let first: string;
let policy: ReturnType<typeof policyOf>;

beforeAll(async () => {
  server = await startServer();
  files = await filesIn(server.tenantFolder('acme'));
  policy = policyOf(server);
  first = await policy.active();
});
afterAll(() => server[Symbol.asyncDispose]());
beforeEach(async () => {
  await policy.activate(first);
});

let serial = 0;
/** Rules of their own each time; of their test whether it holds. */
const change = (holds: boolean): Record<string, string> => {
  serial += 1;
  const id = `bob-${serial}`;
  return {
    ...files,
    'authz/closed.rego': STRICTER.replace('"bob"', `{"bob", "${id}"}[_]`),
    'authz/closed_test.rego': testOf(
      `authz.deny["office_closed"] with input as {"subject": {"id": "${holds ? id : 'nobody'}"}}`,
    ),
  };
};
const call = (method: string, body: object, authorization = operator) =>
  connect<Refused & { revision: Kept }>(
    server.admin,
    `PolicyService/${method}`,
    { tenant: 'acme', ...body },
    authorization,
  );
const draft = async (of: Record<string, string>): Promise<Kept> => {
  const { status, body } = await policy.push(of, { draft: true });
  expect({ status, body }).toMatchObject({ status: 200, body: { revision: { state: 'draft' } } });
  return body.revision;
};
const stateOf = async (revision: string): Promise<string | undefined> =>
  (await policy.list()).find((each) => each.revision === revision)?.state;

test('is kept though its tests fail, and neither activated, staged nor shadowed', async () => {
  const { revision, tests } = await draft(change(false));
  expect(tests?.passed ?? 0).toBe(0);
  for (const [method, body] of [
    ['ActivateRevision', { revision }],
    ['SetShadow', { revision }],
    ['SetStaged', { revision, share: { percent: 50 } }],
  ] as const) {
    const refused = await call(method, body);
    expect(refused.status, method).toBe(400);
    expect(refused.body.message).toMatch(/^policy_invalid: sha256:\S+ is a draft/);
  }
  expect(await policy.active()).toBe(first);
  expect(await decided(server)).toBe('allow');
  expect(await stateOf(revision)).toBe('draft');
});

test('stays one where its tests fail, with the line, and is validated where they pass', async () => {
  const failing = await draft(change(false));
  const refused = await call('ValidateRevision', { revision: failing.revision });
  expect(refused.body.message).toContain('authz/closed_test.rego:5');
  expect(await stateOf(failing.revision)).toBe('draft');
  const sound = await draft(change(true));
  const { body } = await call('ValidateRevision', { revision: sound.revision.slice(0, 20) });
  expect(body.revision).toMatchObject({ revision: sound.revision, state: 'validated', tests: { passed: 1 } });
  expect(body.revision.tests?.coverage).toBeGreaterThan(0);
  expect((await policy.activate(sound.revision)).status).toBe(200);
  expect(await decided(server)).toBe('deny');
  // What is no draft is as it is.
  expect((await call('ValidateRevision', { revision: sound.revision })).body.revision.state).toBe('active');
});

test('is validated by a push of the same, activated or not; a draft of what is validated changes nothing', async () => {
  const [one, other] = [change(true), change(true)];
  const { revision } = await draft(one);
  expect((await policy.push(one)).body.revision).toMatchObject({ revision, state: 'validated' });
  expect((await policy.push(one, { draft: true })).body.revision).toMatchObject({
    revision,
    state: 'validated',
  });
  const activated = await draft(other);
  const pushed = await policy.push(other, { activate: true });
  expect(pushed.body.revision).toMatchObject({
    revision: activated.revision,
    state: 'active',
    tests: { passed: 1 },
  });
});

test('compiles, or is not kept; and is not activated by the same push', async () => {
  const before = await policy.list();
  const broken = await policy.push(
    { ...files, 'authz/x.rego': 'package authz\n\nallow if {' },
    { draft: true },
  );
  expect(broken.status).toBe(400);
  expect(broken.body.message).toContain('authz/x.rego:3');
  expect((await policy.push(change(true), { draft: true, activate: true })).status).toBe(400);
  expect(await policy.list()).toEqual(before);
});

test('is one after a restart, and each step is a record', async () => {
  const { revision } = await draft(change(true));
  const { folder } = server;
  await server.stop();
  server = await startIn(folder);
  policy = policyOf(server);
  expect(await stateOf(revision)).toBe('draft');
  expect((await call('ActivateRevision', { revision })).status).toBe(400);
  const cli = (...args: string[]) => at(server, secrets.operator)(...args);
  const validated = await cli('policy', 'validate', '-t', 'acme', revision);
  expect(validated.stdout).toMatch(/^sha256:\S+ is validated; tests: 1 passed, /);
  const { stdout } = await cli('audit', 'query', '-t', 'acme', '--kind', 'administration', '--limit', '4');
  expect(stdout).toMatch(/policy\.push[^]*policy\.validate|policy\.validate[^]*policy\.push/);
});

test('takes the right to write policies', async () => {
  const { revision } = await draft(change(true));
  const agent = await call('ValidateRevision', { revision }, `Bearer ${secrets.agent}`);
  expect(agent.status).toBe(403);
  expect(await stateOf(revision)).toBe('draft');
});
