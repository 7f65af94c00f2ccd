import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { basic, type Running, sha256, startServer } from '../../e2e/server.ts';
import { filesIn, type Kept, policyOf, STRICTER } from './lab.ts';

/** Who writes a policy need not be who releases it. */

const SECRETS = {
  writer: 'acme-policy-writer-test-secret-0001',
  releaser: 'acme-policy-releaser-test-secret-001',
  both: 'acme-policy-both-test-secret-0000001',
};
const MAY = {
  writer: ['policy.read', 'policy.write'],
  releaser: ['policy.read', 'policy.activate'],
  both: ['policy.read', 'policy.write', 'policy.activate'],
} as const;
type Name = keyof typeof SECRETS;
const as = (name: Name): string => basic(name, SECRETS[name]);

let server: Running;
let files: Record<string, string>;
let first: string;
/** As one who may see it. */
const active = async (): Promise<string> => (await policy.get('', {}, as('both'))).body.revision.revision;
let policy: ReturnType<typeof policyOf>;

beforeAll(async () => {
  server = await startServer({
    overrides: { dev: false, operators: [] },
    acme: (manifest) => {
      for (const name of Object.keys(SECRETS) as Name[])
        manifest.principals.push({
          class: 'service',
          id: name,
          may: [...MAY[name], 'check'],
          credentials: [{ secret_sha256: sha256(SECRETS[name]) }],
        });
      Object.assign(manifest, { policy: { four_eyes: true } });
    },
  });
  files = await filesIn(server.tenantFolder('acme'));
  policy = policyOf(server);
  const { body } = await policy.push(files, {}, as('writer'));
  first = body.revision.revision;
});
afterAll(() => server[Symbol.asyncDispose]());

const stricter = (): Record<string, string> => ({ ...files, 'authz/closed.rego': STRICTER });
const pushed = async (name: Name): Promise<string> =>
  (await policy.push(stricter(), {}, as(name))).body.revision.revision;

describe('rights', () => {
  test('who may write activates nothing, neither by a push nor by name nor by a reload', async () => {
    const revision = await pushed('writer');
    expect((await policy.push(stricter(), { activate: true }, as('writer'))).status).toBe(403);
    expect((await policy.activate(revision, {}, as('writer'))).status).toBe(403);
    expect((await policy.reload(as('writer'))).status).toBe(403);
    expect((await policy.activate(revision, {}, 'Basic bm9ib2R5Om5vdGhpbmc=')).status).toBe(401);
  });

  test('who may activate writes nothing', async () => {
    expect((await policy.push(stricter(), {}, as('releaser'))).status).toBe(403);
  });
});

describe('four eyes', () => {
  test('who pushed it does not make it active, in any way; somebody else does', async () => {
    const mine = { ...files, 'authz/closed.rego': STRICTER.replace('bob', 'nobody') };
    const { body } = await policy.push(mine, {}, as('both'));
    const { revision } = body.revision;
    expect((await policy.activate(revision, {}, as('both'))).status).toBe(403);
    expect((await policy.push(mine, { activate: true }, as('both'))).status).toBe(403);
    expect((await policy.activate(revision, {}, as('releaser'))).status).toBe(200);
    expect((await policy.activate(first, {}, as('releaser'))).status).toBe(200);
  });

  test('another pair of eyes is not made by pushing the same again', async () => {
    const mine = { ...files, 'authz/closed.rego': STRICTER.replace('bob', 'somebody') };
    const { body } = await policy.push(mine, {}, as('both'));
    await policy.push(mine, {}, as('writer'));
    expect((await policy.activate(body.revision.revision, {}, as('both'))).status).toBe(403);
  });

  test('what is saved in the folder waits for them too, over a look at it', async () => {
    const before = await active();
    const mine = 'package authz\n\ndeny contains "mine" if input.subject.id == "x"\n';
    await writeFile(path.join(server.tenantFolder('acme'), 'mine.rego'), mine);
    for (let round = 0; round < 2; round += 1) {
      expect((await policy.reload(as('both'))).body.changed ?? false).toBe(false);
      expect(await active()).toBe(before);
    }
    const [newest] = await policy.list(as('both'));
    expect(newest).toMatchObject({ state: 'validated', author: 'service:both' });
    const { revision } = newest as Kept;
    expect((await policy.activate(revision, {}, as('both'))).status).toBe(403);
    expect((await policy.activate(revision, {}, as('releaser'))).status).toBe(200);
    expect(await active()).toBe(revision);
  });

  test('of another tenant a revision is not there', async () => {
    const answer = await policy.get(first, { tenant: 'globex' });
    expect(answer.status).not.toBe(200);
  });
});
