import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { at } from '../../cli/run.ts';
import { aliceReads, check } from '../../e2e/requests.ts';
import { eventually, type Running, secrets, startIn, startServer } from '../../e2e/server.ts';
import { bobReads, decided, filesIn, policyOf, STRICTER } from './lab.ts';

/** A revision is tried before it is active: asked beside, or deciding for some. */

let server: Running;
let files: Record<string, string>;
let first: string;
let stricter: string;
let policy: ReturnType<typeof policyOf>;

beforeAll(async () => {
  server = await startServer();
  files = await filesIn(server.tenantFolder('acme'));
  policy = policyOf(server);
  first = await policy.active();
  stricter = (await policy.push({ ...files, 'closed.rego': STRICTER })).body.revision.revision;
});
afterAll(() => server[Symbol.asyncDispose]());
beforeEach(async () => {
  await policy.activate(first);
  await cli(server, 'shadow', '--end');
  await cli(server, 'stage', '--end');
});

const cli = (of: Running, ...args: string[]) =>
  at(of, secrets.operator)('policy', args[0] ?? '', '-t', 'acme', ...args.slice(1));

interface Seen {
  shadow: string | null;
  package?: string | null;
  report: {
    replayed: number;
    changed: number;
    groups: { change: string; by: string; name: string }[];
  } | null;
}

const shadowOf = async (of: Running): Promise<Seen> =>
  JSON.parse((await at(of, secrets.operator)('--json', 'policy', 'shadow', '-t', 'acme')).stdout) as Seen;

describe('a shadow', () => {
  test('is asked what the active one is asked, and answers nobody', async () => {
    const { stdout } = await cli(server, 'shadow', stricter);
    expect(stdout).toContain('is asked beside what is active');
    expect((await policy.list()).find(({ revision }) => revision === stricter)?.state).toBe('shadow');
    for (let round = 0; round < 20; round += 1) expect(await decided(server)).toBe('allow');
    for (let round = 0; round < 5; round += 1) expect(await decided(server, aliceReads)).toBe('allow');
    const seen = await eventually(
      () => shadowOf(server),
      ({ report }) => report?.replayed === 25,
    );
    expect(seen.report).toMatchObject({ replayed: 25, changed: 20 });
    expect(seen.report?.groups).toContainEqual(
      expect.objectContaining({ change: 'allow → deny', by: 'rule', name: 'authz.deny office_closed' }),
    );
  });

  test('of one package alone leaves the others as they are active, and names what differs', async () => {
    const changed = {
      ...files,
      'closed.rego': STRICTER,
      'delegation/closed.rego': 'package delegation\n\ndeny contains "nobody_acts" if true\n',
    };
    const { revision } = (await policy.push(changed)).body.revision;
    const whole = await cli(server, 'shadow', revision);
    expect(whole.stdout).toContain('it differs in authz, delegation\n');
    // The stricter authz is not asked here, so that nothing would be decided otherwise.
    const part = await cli(server, 'shadow', revision, '--package', 'delegation');
    expect(part.stdout).toMatch(/^delegation of \S+ is asked beside what is active\n/);
    for (let each = 0; each < 3; each += 1) await decided(server);
    const alone = await eventually(
      () => shadowOf(server),
      ({ report }) => report?.replayed === 3,
    );
    expect(alone).toMatchObject({ shadow: revision, package: 'delegation', report: { changed: 0 } });
    await cli(server, 'shadow', revision, '--package', 'authz');
    for (let each = 0; each < 2; each += 1) await decided(server);
    const other = await eventually(
      () => shadowOf(server),
      ({ report }) => report?.replayed === 2,
    );
    expect(other).toMatchObject({ package: 'authz', report: { changed: 2 } });
    expect(other.report?.groups).toContainEqual(
      expect.objectContaining({ change: 'allow → deny', by: 'package', name: 'authz' }),
    );
    const none = await cli(server, 'shadow', revision, '--package', 'nothing');
    expect(none.stderr).toContain('neither revision has a package nothing');
  });

  test('of one package goes on after a restart, and beside another active revision', async () => {
    const { revision } = (await policy.push({ ...files, 'closed.rego': STRICTER })).body.revision;
    const relaxed = (await policy.push({ ...files, 'more.rego': 'package delegation\n\n# More.\n' })).body
      .revision;
    await cli(server, 'shadow', revision, '--package', 'authz');
    await policy.activate(relaxed.revision);
    expect(await shadowOf(server)).toMatchObject({ shadow: revision, package: 'authz' });
    await decided(server);
    await eventually(
      () => shadowOf(server),
      ({ report }) => report?.changed === 1,
    );
    const folder = server.folder;
    await server.stop();
    server = await startIn(folder);
    policy = policyOf(server);
    expect(await shadowOf(server)).toMatchObject({ shadow: revision, package: 'authz' });
  });

  test('ends with a record of what it would have decided otherwise', async () => {
    await cli(server, 'shadow', stricter);
    await decided(server);
    await eventually(
      () => shadowOf(server),
      ({ report }) => report?.changed === 1,
    );
    await cli(server, 'shadow', '--end');
    expect(await shadowOf(server)).toMatchObject({ shadow: null });
    const { stdout } = await at(server, secrets.operator)(
      '--json',
      'audit',
      'query',
      '-t',
      'acme',
      '--action',
      'policy.shadow',
    );
    expect(stdout).toContain('allow → deny');
    expect((await policy.list()).find(({ revision }) => revision === stricter)?.state).not.toBe('shadow');
  });

  test('is one no more once it is active, and what is active cannot be one', async () => {
    await cli(server, 'shadow', stricter);
    await policy.activate(stricter);
    await eventually(
      () => shadowOf(server),
      ({ shadow }) => shadow === null,
    );
    const again = await cli(server, 'shadow', stricter);
    expect([again.code, again.stderr]).toEqual([2, expect.stringContaining('conflict')]);
    expect(await policy.active()).toBe(stricter);
  });
});

describe('a staged revision', () => {
  test('decides for whom it is staged, and for nobody else', async () => {
    const { code } = await cli(server, 'stage', stricter, '--principal', 'user:bob');
    expect(code).toBe(0);
    const { body } = await check(server.data, bobReads);
    expect(body).toMatchObject({ decision: 'DECISION_DENY', policyRevision: stricter });
    expect((await check(server.data, aliceReads)).body).toMatchObject({ policyRevision: first });
    expect(await policy.active()).toBe(first);
    await cli(server, 'stage', '--end');
    expect(await decided(server)).toBe('allow');
  });

  test('decides for a share that is always the same, and grows', async () => {
    const decidedBy = async (): Promise<Set<number>> => {
      const by = new Set<number>();
      for (let user = 0; user < 200; user += 1) {
        const subject = { type: 'user', id: `somebody-${user}` };
        const { body } = await check(server.data, { ...aliceReads, subject });
        if (body.policyRevision === stricter) by.add(user);
      }
      return by;
    };
    await cli(server, 'stage', stricter, '--percent', '20');
    const few = await decidedBy();
    expect(few.size).toBeGreaterThan(20);
    expect(few.size).toBeLessThan(65);
    expect(await decidedBy()).toEqual(few);
    await cli(server, 'stage', stricter, '--percent', '60');
    const more = await decidedBy();
    expect(more.size).toBeGreaterThan(few.size);
    expect([...few].every((user) => more.has(user))).toBe(true);
    await cli(server, 'stage', stricter, '--percent', '100');
    expect((await decidedBy()).size).toBe(200);
  });

  test('is promoted, and then is the one for all', async () => {
    await cli(server, 'stage', stricter, '--percent', '1');
    const { stdout } = await cli(server, 'promote');
    expect(stdout).toContain('acme now decides by');
    expect(await policy.active()).toBe(stricter);
    expect(await decided(server)).toBe('deny');
    const none = await cli(server, 'promote');
    expect([none.code, none.stderr]).toEqual([2, expect.stringContaining('nothing of acme is staged')]);
  });

  test('decides for them after a restart, too, and so is a shadow asked', async () => {
    const other = { ...files, 'other.rego': STRICTER.replace('bob', 'alice') };
    await using own = await startServer().then(async (started) => {
      const { push } = policyOf(started);
      await push({ ...files, 'closed.rego': STRICTER });
      const { body } = await push(other);
      await cli(started, 'stage', stricter, '--principal', 'user:bob');
      await cli(started, 'shadow', body.revision.revision);
      await started.stop();
      return startIn(started.folder);
    });
    await eventually(
      () => decided(own),
      (decision) => decision === 'deny',
    );
    await decided(own, aliceReads);
    await eventually(
      () => shadowOf(own),
      ({ report }) => (report?.changed ?? 0) > 0,
    );
  });

  test.each([
    ['no share', [], 'a percent, or principals'],
    ['more than all', ['--percent', '101'], 'between 0 and 100'],
    ['nobody', ['--principal', 'robot:x'], 'principal_class_unknown'],
    ['half a name', ['--principal', 'user:'], 'class:id'],
  ])('is staged for %s: refused', async (_what, args, why) => {
    const { code, stderr } = await cli(server, 'stage', stricter, ...args);
    expect(code).toBe(2);
    expect(stderr).toContain(why);
  });

  test('that keeps failing costs the others nothing, and does not make the tenant degraded', async () => {
    const endless =
      'package authz\n\ndeny contains "x" if count([1 | some i in numbers.range(1, 60000); some j in numbers.range(1, 60000); i == j]) < 0\n';
    const { body } = await policy.push({ ...files, 'endless.rego': endless });
    await cli(server, 'stage', body.revision.revision, '--principal', 'user:bob');
    for (let round = 0; round < 8; round += 1) await check(server.data, bobReads);
    expect(await decided(server, aliceReads)).toBe('allow');
    const { stdout } = await at(server, secrets.operator)('tenant', 'list');
    expect(stdout).not.toContain('failed repeatedly');
  });
});
