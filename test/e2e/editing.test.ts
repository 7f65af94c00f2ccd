import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { readFile, rename, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { aliceReads, type CheckJson, check, connect, request } from './requests.ts';
import { bearer, editTenant, eventually, type Running, secrets, startIn, startServer } from './server.ts';

/** An author saves; the next decision is by what was saved, or by what stood before if it does not compile. */

let server: Running;
let folder: string;
let original: string;
let first: Revision;
const FILE = 'authz/documents.rego';

beforeAll(async () => {
  server = await startServer();
  folder = server.tenantFolder('acme');
  original = await readFile(path.join(folder, FILE), 'utf8');
  first = await revision();
});
afterAll(() => server[Symbol.asyncDispose]());

beforeEach(async () => {
  await save(original);
  await eventually(revision, (active) => active.current === true && active.revision === first.revision);
});

const save = (text: string): Promise<void> => writeFile(path.join(folder, FILE), text);
const bobReads = { ...aliceReads, subject: { type: 'user', id: 'bob' } };
const ask = async (body: object = bobReads): Promise<CheckJson> => (await check(server.data, body)).body;
const allowed = ({ decision }: CheckJson): boolean => decision === 'DECISION_ALLOW';

/** Bob reads what is internal; with this he no longer does. */
const stricter = (): string => `${original}\ndeny contains "office_closed" if input.subject.id == "bob"\n`;

interface Revision {
  revision: string;
  current?: boolean;
  files: string[];
  diagnostics?: { file: string; line?: number; message: string }[];
}

async function revision(tenant = 'acme'): Promise<Revision> {
  const { body } = await connect<{ revision: Revision }>(server.admin, 'PolicyService/GetActiveRevision', {
    tenant,
  });
  return body.revision;
}

interface Rejection {
  tenant: string;
  diagnostics: { file: string; line: number; message: string }[];
  kept: string;
}

/** What the server says of files that it did not take, from now on. */
function rejections(): { seen: Rejection[] } & Disposable {
  const seen: Rejection[] = [];
  const listen = (message: unknown): void => void seen.push(message as Rejection);
  subscribe('mandate:policy.rejected', listen);
  return { seen, [Symbol.dispose]: () => void unsubscribe('mandate:policy.rejected', listen) };
}

describe('saving a Rego file while requests run', () => {
  test('changes the next decisions, at once and whole, with no request failed', async () => {
    expect(allowed(await ask())).toBe(true);
    const stop = new AbortController();
    const failures: unknown[] = [];
    // One caller after the other: within it, what is answered later was asked later.
    const callers = Array.from({ length: 8 }, async () => {
      const answers: CheckJson[] = [];
      while (!stop.signal.aborted) {
        const answer = await check(server.data, bobReads, bearer(secrets.api)).catch(
          (error: unknown) => error,
        );
        if (answer instanceof Error || (answer as { status: number }).status !== 200) failures.push(answer);
        else answers.push((answer as { body: CheckJson }).body);
      }
      return answers;
    });
    await save(stricter());
    await eventually(ask, (answer) => !allowed(answer));
    await save(original);
    await eventually(ask, allowed);
    stop.abort();
    const all = await Promise.all(callers);
    expect(failures).toEqual([]);
    const revisions = new Set(all.flat().map(({ policyRevision }) => policyRevision));
    expect(revisions.has(first.revision)).toBe(true);
    expect(revisions.size).toBe(2);
    for (const answers of all) {
      // Old, new, old again: never to and fro.
      const turns = answers.filter(
        ({ policyRevision }, at) => policyRevision !== answers[at - 1]?.policyRevision,
      );
      expect(turns.length).toBeLessThanOrEqual(3);
      for (const answer of answers) expect(allowed(answer)).toBe(answer.policyRevision === first.revision);
    }
  });

  test('works as editors save: a new file renamed over the old one', async () => {
    const aside = path.join(folder, 'authz', '.documents.rego.swp');
    await writeFile(aside, stricter());
    await rename(aside, path.join(folder, FILE));
    const answer = await eventually(ask, (each) => !allowed(each));
    expect(answer.reasons).toMatchObject([{ code: 'office_closed' }]);
  });

  test('takes files that come and go', async () => {
    const extra = path.join(folder, 'authz', 'extra.rego');
    await writeFile(extra, 'package authz\n\ndeny contains "extra" if input.subject.id == "bob"\n');
    const answer = await eventually(ask, (each) => !allowed(each));
    expect(answer.reasons).toMatchObject([{ code: 'extra' }]);
    expect((await revision()).files).toContain('authz/extra.rego');
    await rm(extra);
    await eventually(ask, allowed);
  });

  test('is in the log, with the revision it brought', async () => {
    await save(stricter());
    await eventually(ask, (answer) => !allowed(answer));
    const active = await revision();
    const { body } = await connect<{ records: object[] }>(server.admin, 'AuditService/Query', {
      tenant: 'acme',
      kind: 'administration',
      pageSize: 1,
    });
    expect(body.records).toMatchObject([
      { action: 'policy.activate', outcome: 'done', policyRevision: active.revision },
    ]);
  });

  test('leaves other tenants alone', async () => {
    const before = await revision('globex');
    await save(stricter());
    await eventually(ask, (answer) => !allowed(answer));
    expect(await revision('globex')).toEqual(before);
  });
});

describe('saving a broken file', () => {
  test('keeps the old revision, and says file, line and why, on the channel and on the admin plane', async () => {
    using rejected = rejections();
    await save(`${original}\nallow if {\n\tnosuch(input)\n}\n`);
    const line = original.split('\n').length + 2;
    const message = expect.stringContaining('undefined function nosuch') as string;
    await eventually(
      () => Promise.resolve(rejected.seen.length),
      (count) => count > 0,
    );
    expect(rejected.seen.at(-1)).toEqual({
      tenant: 'acme',
      kept: first.revision,
      diagnostics: [{ file: FILE, line, column: 2, message }],
    });
    const after = await revision();
    expect(after).toMatchObject({ revision: first.revision, diagnostics: [{ file: FILE, line, message }] });
    expect(after.current ?? false).toBe(false);
    expect(allowed(await ask())).toBe(true);
    const { body } = await connect<{ records: object[] }>(server.admin, 'AuditService/Query', {
      tenant: 'acme',
      kind: 'administration',
      outcome: 'error',
      pageSize: 1,
    });
    expect(body.records).toMatchObject([{ action: 'policy.reject', policyRevision: first.revision }]);
  });

  test('a reload that is asked for answers policy_invalid with the diagnostics', async () => {
    await save('package authz\n\nallow if {\n');
    const reloaded = await connect(server.admin, 'PolicyService/ReloadPolicy', { tenant: 'acme' });
    expect(reloaded.headers.get('mandate-error-code')).toBe('policy_invalid');
    expect(JSON.stringify(reloaded.body)).toContain(FILE);
  });

  test("a tenant.yaml that does not parse is refused like a policy, and the tenant's callers stay", async () => {
    using rejected = rejections();
    const file = path.join(folder, 'tenant.yaml');
    const good = await readFile(file, 'utf8');
    try {
      await writeFile(file, `${good}\nunknown_member: 1\n`);
      await eventually(
        () => Promise.resolve(rejected.seen),
        (seen) => seen.length > 0,
      );
      expect(rejected.seen.at(-1)).toEqual({
        tenant: 'acme',
        kept: first.revision,
        diagnostics: [
          {
            file: 'tenant.yaml',
            line: good.split('\n').length + 1,
            message: 'document: Unrecognized key: "unknown_member"',
          },
        ],
      });
      expect((await check(server.data, aliceReads, bearer(secrets.api))).status).toBe(200);
      const ready = await request<{ text: string }>(`${server.admin}/readyz?verbose`);
      expect(ready.body.text).toBe('ready\ntenant acme: tenant.yaml was not taken\n');
    } finally {
      await writeFile(file, good);
    }
  });

  test('a tenant.yaml that is no YAML is refused with the line', async () => {
    using rejected = rejections();
    const file = path.join(folder, 'tenant.yaml');
    const good = await readFile(file, 'utf8');
    try {
      await writeFile(file, `id: acme\nroles: [\nactions: {}\n`);
      await eventually(
        () => Promise.resolve(rejected.seen),
        (seen) => seen.length > 0,
      );
      expect(rejected.seen.at(-1)?.diagnostics).toMatchObject([{ file: 'tenant.yaml', line: 3 }]);
    } finally {
      await writeFile(file, good);
    }
  });

  test('is forgotten once it is mended', async () => {
    await save('package authz\n\nallow if {\n');
    await eventually(revision, ({ current }) => current !== true);
    await save(stricter());
    const mended = await eventually(revision, ({ current }) => current === true);
    expect(mended.diagnostics ?? []).toEqual([]);
    expect(allowed(await ask())).toBe(false);
  });
});

describe('saving tenant.yaml', () => {
  test('takes out a credential from the next request on', async () => {
    const file = path.join(folder, 'tenant.yaml');
    const good = await readFile(file, 'utf8');
    try {
      await editTenant(folder, (manifest) => {
        for (const principal of manifest.principals)
          if (principal.id === 'docs-api') principal.credentials = [];
      });
      await eventually(
        () => check(server.data, aliceReads, bearer(secrets.api)),
        ({ status }) => status === 401,
      );
    } finally {
      await writeFile(file, good);
    }
    await eventually(
      () => check(server.data, aliceReads, bearer(secrets.api)),
      ({ status }) => status === 200,
    );
  });
});

describe('a policy that does not compile at the start', () => {
  test('denies everything of its tenant and nothing of others, says so, and is taken when it is mended', async () => {
    using rejected = rejections();
    await using broken = await startServer().then(async (started) => {
      await started.stop();
      await writeFile(path.join(started.tenantFolder('acme'), FILE), 'package authz\n\nallow := nosuch(1)\n');
      // A store that has never had one that does.
      await rm(path.join(started.folder, 'data'), { recursive: true });
      return startIn(started.folder);
    });
    expect(rejected.seen).toMatchObject([
      { tenant: 'acme', kept: '', diagnostics: [{ file: FILE, line: 3 }] },
    ]);
    const { body } = await check(broken.data, aliceReads);
    expect(body).toMatchObject({ decision: 'DECISION_DENY', reasons: [{ code: 'policy_undefined' }] });
    const other = { ...aliceReads, tenant: 'globex' };
    expect((await check(broken.data, other)).body.decision).toBe('DECISION_ALLOW');
    const ready = await request<{ text: string }>(`${broken.admin}/readyz?verbose`);
    expect(ready.body.text).toContain('acme');
    await writeFile(path.join(broken.tenantFolder('acme'), FILE), original);
    await eventually(
      () => check(broken.data, aliceReads),
      (answer) => allowed(answer.body),
    );
  });
});
