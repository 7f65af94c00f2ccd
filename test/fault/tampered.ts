import { cp, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import Database from 'better-sqlite3';
import { freePort } from '../../tools/fleet/ports.ts';
import { AttackedLog } from '../cli/attacked.ts';
import { aliceReads, check, connect, exchangeFields, form, postJson } from '../e2e/requests.ts';
import { checkpointOf, checkpointStored, decideOne } from '../e2e/served-log.ts';
import { bearer, type Running, secrets, startServer } from '../e2e/server.ts';

/** A store of sixty records of single commits, and what somebody does to it who was not content with what they say. */

/** How many records acme's log has when its server has stopped, which is the last of them. */
export const SIZE = 60;

export const zoe = { ...aliceReads, subject: { type: 'user', id: 'zoe' } };
export const bob = { ...aliceReads, subject: { type: 'user', id: 'bob' } };

export interface Kept {
  readonly folder: string;
  /** The same at each start, so that tokens are of the same issuer. */
  readonly data: string;
  /** What acme's log stated last, and its key. */
  readonly checkpoint: string;
  readonly key: string;
  /** Of alice by the agent, minted before the stop. */
  readonly token: string;
}

/** The server's folder stays until `remove`. */
export async function keptStore(): Promise<Kept> {
  const data = `127.0.0.1:${await freePort()}`;
  const server = await startServer({ overrides: { data } });
  const admin = (method: string, more: object) => connect(server.admin, method, { tenant: 'acme', ...more });
  const properties = { department: 'engineering', projects: ['apollo'], clearance: 2 };
  const principals = [{ class: 'user', id: 'zoe', roles: ['editor'], properties }];
  await admin('TenantService/PutPrincipals', { principals });
  const status = 'PRINCIPAL_STATUS_DISABLED';
  await admin('TenantService/SetPrincipalStatus', { class: 'user', id: 'bob', status });
  const token = await minted(server);
  let next = 0;
  while (next < SIZE - 1) next = (await decideOne(server)).index + 1;
  await checkpointOf(server, SIZE - 1);
  const { body } = await connect<{ key: string }>(server.admin, 'AuditService/DescribeLog', {
    tenant: 'acme',
  });
  await server.stop();
  return { folder: server.folder, data, checkpoint: checkpointStored(server.folder), key: body.key, token };
}

async function minted(server: Running): Promise<string> {
  const url = `${server.data}/t/acme/dev/token?user=alice&client=research-agent`;
  const user = (await postJson<{ access_token: string }>(url, '')).body.access_token;
  const agent = { id: 'research-agent', secret: secrets.agent };
  return (await form(server.data, 'token', exchangeFields(user), agent)).body.access_token;
}

/** RFC 7662. */
export const isActive = async (server: Running, token: string): Promise<boolean | undefined> => {
  const client = { id: 'docs-mcp', secret: secrets.mcp };
  return (await form<{ active?: boolean }>(server.data, 'introspect', { token }, client)).body.active;
};

export const asked = (server: Running, question: object = aliceReads) =>
  check(server.data, question, bearer(secrets.api));

/** A copy of the server's folder, after somebody was at acme's log. */
export async function tampered(
  { folder }: Kept,
  attack: (log: AttackedLog) => void,
): Promise<{ folder: string } & AsyncDisposable> {
  const copy = await mkdtemp(path.join(tmpdir(), 'mandate-tampered-'));
  await cp(folder, copy, { recursive: true });
  // They say how far the store was, which he would have said, too.
  for (const name of ['mandate.heads.0', 'mandate.heads.1']) await rm(path.join(copy, 'data', name));
  const db = new Database(path.join(copy, 'data', 'mandate.db'));
  const triggers = db.prepare<[], string>("SELECT name FROM sqlite_master WHERE type = 'trigger'");
  for (const name of triggers.pluck().all()) db.exec(`DROP TRIGGER ${name}`);
  attack(new AttackedLog(db));
  db.close();
  return { folder: copy, [Symbol.asyncDispose]: () => rm(copy, { recursive: true, force: true }) };
}

/** What stands in the store of acme's log: how many rows, the end by the index, and the newest checkpoint. */
export function standing(folder: string): unknown {
  const db = new Database(path.join(folder, 'data', 'mandate.db'), { readonly: true });
  try {
    const acme = new AttackedLog(db);
    const rows = db.prepare('SELECT count(*), max(id) FROM runs WHERE id >= ? AND id < ?').raw();
    return [rows.get(acme.at(0), acme.at(2 ** 36)), checkpointStored(folder)];
  } finally {
    db.close();
  }
}
