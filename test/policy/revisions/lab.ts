import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { aliceReads, check, connect } from '../../e2e/requests.ts';
import { basic, type Running, secrets } from '../../e2e/server.ts';

/** A tenant's policy as its author pushes it, over the admin plane. */

export interface Kept {
  revision: string;
  number: string;
  state: string;
  parent?: string;
  author: string;
  message?: string;
  tests?: { passed?: number; skipped?: number; coverage?: number };
  files?: { path: string; content?: string }[];
}

export interface Refused {
  code: string;
  message: string;
}

export const operator = basic('root', secrets.operator);

export const policyOf = (server: Running) => {
  const call = <T>(method: string, body: object, authorization: string | undefined = operator) =>
    connect<T & Refused>(server.admin, `PolicyService/${method}`, { tenant: 'acme', ...body }, authorization);
  return {
    push: (files: Record<string, string>, more: object = {}, authorization?: string) =>
      call<{ revision: Kept }>('PushRevision', { files: wire(files), ...more }, authorization),
    activate: (revision: string, more: object = {}, authorization?: string) =>
      call<{ revision: Kept }>('ActivateRevision', { revision, ...more }, authorization),
    rollback: (more: object = {}) => call<{ revision: Kept }>('RollBack', more),
    reload: (authorization?: string) => call<{ changed?: boolean }>('ReloadPolicy', {}, authorization),
    list: async (authorization?: string): Promise<Kept[]> =>
      (await call<{ revisions?: Kept[] }>('ListRevisions', {}, authorization)).body.revisions ?? [],
    get: (revision: string, more: object = {}, authorization?: string) =>
      call<{ revision: Kept }>('GetRevision', { revision, ...more }, authorization),
    active: async (): Promise<string> =>
      (await call<{ revision: Kept }>('GetActiveRevision', {})).body.revision.revision,
  };
};

const wire = (files: Record<string, string>): object[] =>
  Object.entries(files).map(([name, text]) => ({
    path: name,
    content: Buffer.from(text).toString('base64'),
  }));

/** What a folder holds, but for its tenant.yaml. */
export async function filesIn(folder: string): Promise<Record<string, string>> {
  const names = await readdir(folder, { recursive: true });
  const files: Record<string, string> = {};
  for (const name of names.filter((each) => /\.rego$|data\.(json|yaml)$/.test(each)))
    files[name] = await readFile(path.join(folder, name), 'utf8');
  return files;
}

export const bobReads = { ...aliceReads, subject: { type: 'user', id: 'bob' } };

export const decided = async (server: Running, body: object = bobReads): Promise<string> =>
  (await check(server.data, body)).body.decision.replace('DECISION_', '').toLowerCase();

/** Bob reads what is internal; with this he no longer does. */
export const STRICTER = 'package authz\n\ndeny contains "office_closed" if input.subject.id == "bob"\n';

/** The line of the test is 5. */
export const testOf = (holds: string): string =>
  `package authz_test\n\nimport data.authz\n\ntest_closed if ${holds}\n`;
