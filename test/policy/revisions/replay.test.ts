import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { at } from '../../cli/run.ts';
import { Stage } from '../../delegation/stage.ts';
import { aliceReads, check } from '../../e2e/requests.ts';
import { secrets, sha256 } from '../../e2e/server.ts';
import { filesIn, policyOf, STRICTER } from './lab.ts';

/** A candidate is asked about what was recorded. */

let stage: Stage;
let files: Record<string, string>;
let first: string;
let policy: ReturnType<typeof policyOf>;
const READER = 'acme-policy-reader-test-secret-00001';

beforeAll(async () => {
  stage = await Stage.open({
    acme: (manifest) =>
      manifest.principals.push({
        class: 'service',
        id: 'reader',
        may: ['policy.read'],
        credentials: [{ secret_sha256: sha256(READER) }],
      }),
  });
  const { server } = stage;
  files = await filesIn(server.tenantFolder('acme'));
  policy = policyOf(server);
  first = await policy.active();
  const asks = ['alice', 'bob', 'carol', 'nobody'].flatMap((id) =>
    ['document.read', 'document.edit', 'document.publish', 'nothing'].map((name) => ({
      ...aliceReads,
      subject: { type: 'user', id },
      action: { name },
      context: { reason: "it's \u202e odd" },
    })),
  );
  for (const body of asks) await check(server.data, body);
  const token = await stage.granted();
  await stage.check(token);
  await stage.check(`${token.slice(0, -4)}AAAA`);
});
afterAll(() => stage[Symbol.asyncDispose]());

const cli = (...args: string[]) => at(stage.server, secrets.operator)('--json', 'policy', 'replay', ...args);

interface Report {
  replayed: number;
  changed: number;
  unasked: number;
  partial: number;
  drifted: number;
  failed: number;
  groups: { change: string; by: string; name: string; count: number }[];
  examples: { change: string; subject: string; action: string; properties: unknown; rule: string }[];
}

async function report(revision: string, ...more: string[]): Promise<Report & { code: number }> {
  const { code, stdout, stderr } = await cli('-t', 'acme', revision, ...more);
  expect(stderr).toBe('');
  return { code, ...(JSON.parse(stdout) as Report) };
}

const pushed = async (more: Record<string, string>): Promise<string> =>
  (await policy.push({ ...files, ...more })).body.revision.revision;

describe('a replay', () => {
  test('of the active revision changes nothing of what it decided, exchanges included', async () => {
    const { code, ...told } = await report(first);
    expect(told).toMatchObject({ changed: 0, drifted: 0, partial: 0, failed: 0, groups: [], examples: [] });
    expect(told.replayed).toBeGreaterThanOrEqual(18);
    expect(told.unasked).toBe(1);
    expect(code).toBe(0);
  });

  test('tells what a candidate denies and what it allows, by what it has in common, with examples', async () => {
    const generous = 'package authz\n\nallow if input.subject.id == "carol"\n';
    const told = await report(await pushed({ 'closed.rego': STRICTER, 'generous.rego': generous }));
    expect(told.code).toBe(1);
    const counted = (change: string, by: string, name: string) =>
      told.groups.find((each) => each.change === change && each.by === by && each.name === name)?.count;
    expect(counted('allow → deny', 'rule', 'authz.deny office_closed')).toBe(1);
    expect(counted('allow → deny', 'action', 'document.read')).toBe(1);
    expect(counted('deny → allow', 'principal_class', 'user')).toBeGreaterThan(0);
    expect(told.examples.find(({ change }) => change === 'allow → deny')).toMatchObject({
      subject: 'user:bob',
      action: 'document.read',
      properties: aliceReads.resource.properties,
      rule: 'authz.deny office_closed',
    });
    // What it says comes true.
    expect(told.changed).toBe(
      told.groups.filter(({ by }) => by === 'action').reduce((sum, { count }) => sum + count, 0),
    );
  });

  test('tells of other obligations and challenges, where the outcome is the same', async () => {
    const obliged =
      'package authz\n\nobligations contains {"type": "watermark"} if input.subject.id == "alice"\n';
    const told = await report(await pushed({ 'obliged.rego': obliged }));
    expect(told.groups.some(({ change }) => change === 'obligations')).toBe(true);
    expect(told.changed).toBeGreaterThan(0);
  });

  test('of a class, a span or the newest few is of these alone', async () => {
    expect((await report(first, '--class', 'agent')).replayed).toBe(2);
    expect((await report(first, '--until', '2020-01-01T00:00:00Z')).replayed).toBe(0);
    const last = await report(first, '--last', '3');
    expect(last.replayed + last.unasked).toBeLessThanOrEqual(3);
    const { code, stderr } = await cli('-t', 'acme', first, '--class', 'robot');
    expect([code, stderr]).toEqual([2, expect.stringContaining('principal_class_unknown')]);
  });

  test('of a candidate that never comes to an end tells so, and ends', async () => {
    const endless =
      'package authz\n\ndeny contains "x" if count([1 | some i in numbers.range(1, 60000); some j in numbers.range(1, 60000); i == j]) < 0\n';
    const told = await report(await pushed({ 'endless.rego': endless }));
    // The exchange is none of its business.
    expect(told.failed).toBe(told.replayed - 1);
    expect(told.groups.find(({ by }) => by === 'rule')?.name).toContain('deadline_exceeded');
  });

  test('is recorded, and takes the right to read the log beside that to read the policy', async () => {
    const reader = at(stage.server, READER);
    const asReader = await reader('policy', 'replay', '-t', 'acme', first);
    expect([asReader.code, asReader.stderr]).toEqual([2, expect.stringContaining('permission_denied')]);
    await report(first, '--last', '1');
    const { stdout } = await at(stage.server, secrets.operator)(
      'audit',
      'query',
      '-t',
      'acme',
      '--kind',
      'read',
      '-n',
      '5',
    );
    expect(stdout).toContain('audit.replay');
  });

  test('stops an activation that would change more than it may', async () => {
    const revision = await pushed({ 'closed.rego': STRICTER });
    const activate = (most: string) =>
      at(stage.server, secrets.operator)('policy', 'activate', '-t', 'acme', revision, '--max-changes', most);
    const refused = await activate('0');
    expect([refused.code, refused.stderr]).toEqual([2, expect.stringContaining('would decide 1 of')]);
    expect(await policy.active()).toBe(first);
    expect((await activate('1')).code).toBe(0);
    expect(await policy.active()).toBe(revision);
    await policy.activate(first);
  });

  test('prints the questions so that a shell takes them', async () => {
    const revision = await pushed({ 'closed.rego': STRICTER });
    const { stdout } = await at(stage.server, secrets.operator)('policy', 'replay', '-t', 'acme', revision);
    expect(stdout).toMatch(/1 would be decided otherwise by sha256:/);
    const line = stdout.split('\n').find((each) => each.startsWith('mandate check')) ?? '';
    expect(line).toContain("-s user:bob -a document.read -r document:roadmap -p '");
    expect(line).toContain("it'\\''s");
    expect(line).not.toContain('\u202e');
  });
});
