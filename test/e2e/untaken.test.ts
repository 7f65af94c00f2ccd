import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import Database from 'better-sqlite3';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { aliceReads, check, connect, request } from './requests.ts';
import { editTenant, eventually, type Running, startServer } from './server.ts';

/** A change on disk that the store cannot take: it decides nothing until it is recorded, and is not forgotten. */

let server: Running;
let folder: string;
const bobReads = { ...aliceReads, subject: { type: 'user', id: 'bob' } };
const seen: { tenant: string; diagnostics: { file: string; message: string }[] }[] = [];
const listen = (message: unknown): void => void seen.push(message as (typeof seen)[number]);

beforeAll(async () => {
  server = await startServer();
  folder = server.tenantFolder('acme');
  subscribe('mandate:policy.rejected', listen);
});
afterAll(async () => {
  unsubscribe('mandate:policy.rejected', listen);
  await server[Symbol.asyncDispose]();
});

interface Revision {
  revision: string;
  current?: boolean;
  diagnostics?: { file: string; message: string }[];
}

async function revision(): Promise<Revision> {
  const { body } = await connect<{ revision: Revision }>(server.admin, 'PolicyService/GetActiveRevision', {
    tenant: 'acme',
  });
  return body.revision;
}

/** Another connection holds the store, so that no commit of the server's comes through. */
function held(): Disposable {
  const db = new Database(path.join(server.folder, 'data', 'mandate.db'));
  db.exec('BEGIN IMMEDIATE');
  return {
    [Symbol.dispose]: () => {
      db.exec('ROLLBACK');
      db.close();
    },
  };
}

const records = async (): Promise<{ action: string; policyRevision?: string }[]> => {
  const { body } = await connect<{ records: { action: string; policyRevision?: string }[] }>(
    server.admin,
    'AuditService/Query',
    { tenant: 'acme', kind: 'administration', pageSize: 50 },
  );
  return body.records;
};

describe('while the store refuses to write,', () => {
  test('a new revision does not decide, is called what it is, and is taken when the store is well', async () => {
    const before = await revision();
    const file = path.join(folder, 'authz/documents.rego');
    const original = await readFile(file, 'utf8');
    {
      using _ = held();
      await writeFile(file, `${original}\ndeny contains "closed" if input.subject.id == "bob"\n`);
      await eventually(
        () => Promise.resolve(seen),
        (all) => all.length > 0,
      );
      expect(seen.at(-1)?.diagnostics).toMatchObject([
        { file: 'server', message: expect.stringMatching(/^audit_unavailable: /) as string },
      ]);
      expect(await revision()).toMatchObject({
        revision: before.revision,
        diagnostics: [{ file: 'server' }],
      });
      const { body } = await request<{ text: string }>(`${server.admin}/readyz?verbose`);
      expect(body.text).toContain('tenant acme: a change on disk could not be taken yet, and is tried again');
      expect(body.text).not.toContain('compile');
    }
    const after = await eventually(revision, ({ current }) => current === true);
    expect(after.revision).not.toBe(before.revision);
    const answer = await eventually(
      () => check(server.data, bobReads),
      ({ status }) => status === 200,
    );
    expect(answer.body.reasons).toMatchObject([{ code: 'closed' }]);
    const activations = (await records()).filter(({ action }) => action.startsWith('policy.'));
    expect(activations[0]).toMatchObject({ action: 'policy.activate', policyRevision: after.revision });
    expect(activations.filter(({ action }) => action === 'policy.reject')).toEqual([]);
  });

  test('a manifest that disables somebody is not dropped', async () => {
    await eventually(
      () => check(server.data, aliceReads),
      ({ body }) => body.decision === 'DECISION_ALLOW',
    );
    seen.length = 0;
    {
      using _ = held();
      await editTenant(folder, ({ principals }) => {
        for (const principal of principals) if (principal.id === 'alice') principal.status = 'disabled';
      });
      await eventually(
        () => Promise.resolve(seen),
        (all) => all.length > 0,
      );
      expect(seen.at(-1)?.diagnostics).toMatchObject([{ file: 'server' }]);
    }
    const { body } = await eventually(
      () => check(server.data, aliceReads),
      (answer) => answer.status === 200 && answer.body.decision === 'DECISION_DENY',
    );
    expect(body.reasons).toMatchObject([{ code: 'principal_disabled' }]);
  });

  test('broken Rego is told and recorded as such when the store is well', async () => {
    seen.length = 0;
    {
      using _ = held();
      await writeFile(path.join(folder, 'broken.rego'), 'package authz\n\nx := nosuch(1)\n');
      await eventually(
        () => Promise.resolve(seen),
        (all) => all.length > 0,
      );
    }
    await eventually(records, ([newest]) => newest?.action === 'policy.reject');
    expect(seen.at(-1)?.diagnostics).toMatchObject([{ file: 'broken.rego', line: 3 }]);
  });
});
