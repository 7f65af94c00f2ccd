import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { connect } from '../../e2e/requests.ts';
import { eventually, type Running, startIn, startServer } from '../../e2e/server.ts';
import { bobReads, decided, filesIn, operator, policyOf, STRICTER, testOf } from './lab.ts';

/** A revision is pushed, made active, rolled back; and nothing becomes active that fails a test. */

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

const stricter = (): Record<string, string> => ({ ...files, 'authz/closed.rego': STRICTER });

describe('a push', () => {
  test('is kept and decides nothing until it is made active; a rollback is the same again', async () => {
    const { body } = await policy.push(stricter(), { message: 'closed for Bob' });
    expect(body.revision).toMatchObject({
      state: 'validated',
      parent: first,
      author: 'operator:root',
      message: 'closed for Bob',
    });
    expect(await decided(server)).toBe('allow');
    const made = await policy.activate(body.revision.revision.slice(0, 20));
    expect(made.body.revision).toMatchObject({ state: 'active', revision: body.revision.revision });
    expect(await decided(server)).toBe('deny');
    const back = await policy.rollback();
    expect(back.body.revision).toMatchObject({ state: 'active', revision: first });
    expect(await decided(server)).toBe('allow');
    const states = (await policy.list()).map(({ revision, state }) => [revision, state]);
    expect(states).toEqual([
      [body.revision.revision, 'superseded'],
      [first, 'active'],
    ]);
  });

  test('of the same files is the same revision, and is kept once', async () => {
    const before = await policy.list();
    const { body } = await policy.push(files);
    expect(body.revision).toMatchObject({ revision: first, state: 'active' });
    expect(await policy.list()).toEqual(before);
  });

  test('keeps what it was made from, byte by byte', async () => {
    const { body } = await policy.push(stricter());
    const kept = await policy.get(body.revision.revision, { withContents: true });
    const texts = (kept.body.revision.files ?? []).map(
      ({ path: name, content = '' }) => [name, Buffer.from(content, 'base64').toString()] as const,
    );
    expect(Object.fromEntries(texts)).toEqual(stricter());
  });

  test('is in the log, with who pushed it and why, and so is what became active', async () => {
    const { body } = await policy.push(stricter(), { message: 'closed', activate: true });
    const { body: log } = await connect<{ records: { body: string }[] }>(
      server.admin,
      'AuditService/Query',
      { tenant: 'acme' },
      operator,
    );
    const newest = JSON.parse(Buffer.from(log.records[0]?.body ?? '', 'base64').toString()) as unknown;
    expect(newest).toMatchObject({
      caller: 'operator:root',
      revision: body.revision.revision,
      detail: { message: 'closed' },
      input: { action: { name: 'policy.activate' } },
    });
  });

  test.each([
    [
      'does not compile',
      { 'authz/closed.rego': 'package authz\n\ndeny contains x if nosuch(1)\n' },
      'authz/closed.rego:3',
    ],
    [
      'has a test that fails',
      { 'authz/closed_test.rego': testOf('false') },
      'authz/closed_test.rego:5: the test data.authz_test.test_closed failed',
    ],
    [
      'has a test that errs',
      { 'authz/closed_test.rego': testOf('count(numbers.range(1, 2000000)) > 0') },
      'authz/closed_test.rego:5: the test data.authz_test.test_closed failed: ',
    ],
    [
      'has a test that does not compile',
      { 'authz/closed_test.rego': testOf('nosuch(1)') },
      'authz/closed_test.rego:5',
    ],
    ['brings the tenant along', { 'tenant.yaml': 'id: acme\n' }, 'tenant.yaml: it is of the tenant'],
    ['leads out of its folder', { '../globex/authz.rego': STRICTER }, '../globex/authz.rego: it is no name'],
    ['holds what nobody reads', { 'authz/README.md': 'hello' }, 'authz/README.md: it is neither'],
    ['is not UTF-8', { 'authz/\u0000.rego': STRICTER }, 'control character'],
    [
      "declares what is the platform's",
      { 'authz/closed.rego': 'package mandate.lib\n\nx := 1\n' },
      'authz/closed.rego',
    ],
  ])('that %s is refused by file and line, and nothing of it is kept', async (_what, wrong, place) => {
    const before = await policy.list();
    const { status, body } = await policy.push({ ...files, ...wrong }, { activate: true });
    expect(status).toBe(400);
    expect(body.message).toContain(place);
    expect(await policy.list()).toEqual(before);
    expect(await policy.active()).toBe(first);
  });

  test('of a skipped test is none that fails, and coverage is told', async () => {
    const skipped =
      'package authz_test\n\nimport data.authz\n\ntodo_test_later if false\n\ntest_now if authz.deny == set() with input as {}\n';
    const { body } = await policy.push({ ...stricter(), 'authz/closed_test.rego': skipped });
    expect(body.revision.tests).toMatchObject({ passed: 1, skipped: 1 });
    expect(body.revision.tests?.coverage).toBeGreaterThan(0);
    expect(body.revision.tests?.coverage).toBeLessThan(100);
  });

  test('names the same file twice', async () => {
    const twice = ['a', 'b'].map((text) => ({
      path: 'authz/x.rego',
      content: Buffer.from(`package authz\n\n${text} := 1\n`).toString('base64'),
    }));
    const { body } = await connect<{ message: string }>(
      server.admin,
      'PolicyService/PushRevision',
      { tenant: 'acme', files: twice },
      operator,
    );
    expect(body.message).toContain('authz/x.rego: it stands twice');
  });
});

describe('two at once', () => {
  test('of two who started from the same one wins, and the other is told', async () => {
    const other = { ...files, 'authz/closed.rego': STRICTER.replace('bob', 'carol') };
    const both = await Promise.all([
      policy.push(stricter(), { parent: first, activate: true }),
      policy.push(other, { parent: first, activate: true }),
    ]);
    expect(both.map(({ status }) => status).sort()).toEqual([200, 409]);
    const winner = both.find(({ status }) => status === 200)?.body.revision.revision;
    expect(both.find(({ status }) => status === 409)?.body.message).toContain('conflict');
    expect(await policy.active()).toBe(winner);
  });

  test('of many at once some are told to come back, and the server answers meanwhile', async () => {
    const many = Array.from({ length: 8 }, (_, at) =>
      policy.push({ ...files, 'authz/n.rego': `package authz\n\nn := ${at}\n` }),
    );
    expect(await decided(server)).toBe('allow');
    const statuses = (await Promise.all(many)).map(({ status }) => status).sort();
    expect(statuses.slice(0, 4)).toEqual([200, 200, 200, 200]);
    expect(statuses.at(-1)).toBe(429);
  });

  test('what was expected to be active and is not is a conflict', async () => {
    const { body } = await policy.push(stricter());
    const answer = await policy.activate(body.revision.revision, { expected: body.revision.revision });
    expect(answer.status).toBe(409);
    expect(await policy.active()).toBe(first);
  });

  test('every answer under load is one of the two, and none fails', async () => {
    const { body } = await policy.push(stricter());
    const over = new AbortController();
    const asked: string[] = [];
    const load = Array.from({ length: 8 }, async () => {
      while (!over.signal.aborted) asked.push(await decided(server));
    });
    for (let round = 0; round < 5; round += 1) {
      await policy.activate(body.revision.revision);
      expect(await decided(server)).toBe('deny');
      await policy.rollback();
      expect(await decided(server)).toBe('allow');
    }
    over.abort();
    await Promise.all(load);
    expect(new Set(asked)).toEqual(new Set(['allow', 'deny']));
  });
});

describe('a restart', () => {
  test('goes on with what was pushed, until the folder changes', async () => {
    await using own = await startServer().then(async (started) => {
      await policyOf(started).push(stricter(), { activate: true });
      expect(await decided(started)).toBe('deny');
      await started.stop();
      return startIn(started.folder);
    });
    expect(await decided(own)).toBe('deny');
    await writeFile(path.join(own.tenantFolder('acme'), 'authz/more.rego'), 'package authz\n\nmore := 1\n');
    await eventually(
      () => decided(own),
      (decision) => decision === 'allow',
    );
  });

  test('goes on with what was active where the folder no longer compiles, and says so', async () => {
    await using own = await startServer().then(async (started) => {
      await started.stop();
      await writeFile(path.join(started.tenantFolder('acme'), 'authz/closed_test.rego'), testOf('false'));
      return startIn(started.folder);
    });
    expect(await decided(own)).toBe('allow');
    const { body } = await connect<{ revision: { current?: boolean; diagnostics: { message: string }[] } }>(
      own.admin,
      'PolicyService/GetActiveRevision',
      { tenant: 'acme' },
      operator,
    );
    expect(body.revision.current ?? false).toBe(false);
    expect(body.revision.diagnostics[0]?.message).toContain('test_closed failed');
  });
});

describe('what is saved', () => {
  test('counts when its tests pass, and does not when one fails', async () => {
    await using own = await startServer();
    const at = (name: string): string => path.join(own.tenantFolder('acme'), name);
    await writeFile(
      at('authz/closed_test.rego'),
      testOf('"office_closed" in authz.deny with input as {"subject": {"id": "bob"}}'),
    );
    await writeFile(at('authz/closed.rego'), STRICTER);
    await eventually(
      () => decided(own),
      (decision) => decision === 'deny',
    );
    await writeFile(at('authz/closed.rego'), STRICTER.replace('bob', 'carol'));
    const { active } = policyOf(own);
    const before = await active();
    await eventually(
      async () =>
        (
          await connect<{ revision: { current?: boolean } }>(own.admin, 'PolicyService/GetActiveRevision', {
            tenant: 'acme',
          })
        ).body,
      ({ revision }) => revision.current !== true,
    );
    expect(await active()).toBe(before);
    expect(await decided(own)).toBe('deny');
  });

  test('outside of development waits until somebody reloads it, unless the tenant is watched', async () => {
    await using own = await startServer({
      overrides: { dev: false },
      globex: (manifest) => Object.assign(manifest, { watch: true }),
    });
    const ask = async (tenant: string): Promise<string> =>
      (
        await connect<{ decision: string }>(
          own.data,
          'DecisionService/Check',
          { ...bobReads, tenant, subject: { type: 'user', id: 'alice' } },
          operator,
        )
      ).body.decision;
    expect(await ask('globex')).toBe('DECISION_ALLOW');
    const closed = 'package authz\n\ndeny contains "closed"\n';
    for (const tenant of ['acme', 'globex'])
      await writeFile(path.join(own.tenantFolder(tenant), 'closed.rego'), closed);
    await eventually(
      () => ask('globex'),
      (decision) => decision === 'DECISION_DENY',
    );
    expect(await ask('acme')).toBe('DECISION_ALLOW');
    expect((await policyOf(own).reload()).body.changed).toBe(true);
    expect(await ask('acme')).toBe('DECISION_DENY');
  });
});
