import { mkdtemp, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Authority } from '../e2e/authority.ts';
import { type Running, startIn, writeTenants } from '../e2e/server.ts';
import { ECHO } from './questions.ts';

/** A server for strangers: in cleartext or under TLS, with answers that tell their questions. */

export const securities = ['cleartext', 'TLS'] as const;
export type Security = (typeof securities)[number];

export interface Served extends AsyncDisposable {
  readonly running: Running;
  readonly port: number;
  /** host:port. */
  readonly address: string;
  /** The data plane, http or https. */
  readonly url: string;
  readonly admin: string;
  /** The file of the authority that a client trusts; undefined in cleartext. */
  readonly ca: string | undefined;
}

/** A certificate for this machine, and the file of the authority that signed it. */
export async function certify(folder: string): Promise<{ ca: string; cert: string; key: string }> {
  const authority = await Authority.create(folder, 'ours');
  const { cert, key } = await authority.issue('server', { 'IP.1': '127.0.0.1', 'DNS.1': 'localhost' });
  return { ca: authority.ca.cert, cert, key };
}

export async function serve(security: Security): Promise<Served> {
  const folder = await mkdtemp(path.join(tmpdir(), 'mandate-foreign-'));
  await writeTenants(folder);
  await writeFile(path.join(folder, 'tenants/acme/authz/echo.rego'), ECHO);
  const files = security === 'TLS' ? await certify(folder) : undefined;
  const tls = files && { cert: files.cert, key: files.key };
  const running = await startIn(folder, { overrides: tls ? { tls } : {} });
  const scheme = tls ? 'https' : 'http';
  const { dataPort: port, adminPort } = running.mandate;
  return {
    running,
    port,
    address: `127.0.0.1:${port}`,
    url: `${scheme}://127.0.0.1:${port}`,
    admin: `${scheme}://127.0.0.1:${adminPort}`,
    ca: files?.ca,
    [Symbol.asyncDispose]: () => running[Symbol.asyncDispose](),
  };
}
