import { createHash } from 'node:crypto';
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect } from 'vitest';
import { parse, stringify } from 'yaml';
import { type Config, type Overrides, readConfig } from '../../src/config.ts';
import type { Clock } from '../../src/effects.ts';
import { type Mandate, start } from '../../src/main.ts';
import type { Ceiling, ManifestPrincipal, TrustedIssuer } from '../../src/tenancy/manifest.ts';
import { leaveModules, takeModules } from './modules.ts';
import { faultsIn } from './record-schema.ts';

/** A running server on free ports, with acme and globex in a temporary folder. */

/** The public demonstration secrets of policies/acme, those of globex, and an operator's. */
export const secrets = {
  agent: 'acme-research-agent-demo-secret-0001',
  mcp: 'acme-docs-mcp-demo-secret-000000001',
  api: 'acme-docs-api-demo-secret-000000001',
  job: 'acme-nightly-index-demo-secret-0001',
  otherAgent: 'acme-other-agent-test-secret-000001',
  alias: 'acme-agent-named-alice-test-secret-1',
  globexAgent: 'globex-research-agent-test-secret-01',
  globexMcp: 'globex-tools-mcp-test-secret-0000001',
  operator: 'operator-root-test-secret-0000000001',
} as const;

type PrincipalDocument = Partial<Omit<ManifestPrincipal, 'ceiling'>> &
  Pick<ManifestPrincipal, 'class' | 'id'> & { ceiling?: Partial<Ceiling> };

/** A tenant.yaml as an author writes it: what has a default may be left out. */
export interface TenantDocument {
  id: string;
  roles: Record<string, { scopes: string[] }>;
  actions: Record<string, { scope?: string; use?: string }>;
  principals: PrincipalDocument[];
  issuers?: (Partial<TrustedIssuer> & { issuer: string })[];
  subject_types?: Record<string, string>;
  limits?: Record<string, number>;
  keys?: Record<string, string | number>;
  audit?: { sealed: { path: string; about?: string }[] };
  entrypoints?: string[];
  ext_authz?: { input: string; entrypoint?: string };
  policy?: { four_eyes: boolean };
  tasks?: { max_hours: number };
  meters?: Record<string, object>;
  authorization_details?: Record<string, object>;
  authorities?: { issuer: string; resources: string[]; clients?: Record<string, string> }[];
  approvals?: { callbacks: string[] };
  dpop?: { required?: string[]; nonce?: boolean };
  transactions?: {
    trust_domain: string;
    workloads: string[];
    max_lifetime_seconds?: number;
    accepted?: boolean;
  };
  mtls?: { bound?: string[]; required?: string[] };
}

type Editor = (manifest: TenantDocument) => void;

export interface Options {
  readonly overrides?: Overrides;
  readonly clock?: Clock;
  readonly environment?: Readonly<Record<string, string>>;
  /** Changes acme's tenant.yaml before the start. */
  readonly acme?: Editor;
  /** Further files of acme's folder, or others in their place. */
  readonly acmeFiles?: Readonly<Record<string, string>>;
  readonly globex?: Editor;
  /** Whether acme has its Rego tests. */
  readonly tested?: boolean;
}

export interface Running extends AsyncDisposable {
  readonly mandate: Mandate;
  readonly config: Config;
  /** Holds tenants/ and data/. */
  readonly folder: string;
  readonly data: string;
  readonly admin: string;
  /** The folder of a tenant's manifest and Rego. */
  tenantFolder(id: string): string;
  /** Stops the server and keeps the folder, to be started again on what it left. */
  stop(): Promise<void>;
}

export const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');

const repository = path.resolve(import.meta.dirname, '../..');

export async function startServer(options: Options = {}): Promise<Running> {
  const folder = await mkdtemp(path.join(tmpdir(), 'mandate-test-'));
  try {
    await writeTenants(folder, options);
    return await startIn(folder, options);
  } catch (error) {
    await rm(folder, { recursive: true, force: true });
    throw error;
  }
}

/** Starts on a folder that `writeTenants` made, or that a stopped server left. Disposing removes the folder. */
export async function startIn(folder: string, options: Options = {}): Promise<Running> {
  // The end-to-end tests run on both servers of HTTP/2: vitest.config.ts.
  const config = readConfig(
    { MANDATE_HTTP2: process.env['MANDATE_HTTP2'], ...options.environment },
    { ...overridesIn(folder), ...acceptThreads(), ...options.overrides },
  );
  await takeModules(config.data_dir);
  const mandate = await start(config, options.clock);
  let stopped = false;
  const stop = async (): Promise<void> => {
    if (stopped) return;
    stopped = true;
    // Whatever the test was about.
    const faults = faultsIn(mandate);
    await mandate[Symbol.asyncDispose]();
    await leaveModules(config.data_dir);
    expect(faults, 'records are as docs/record.schema.json says').toEqual([]);
  };
  return {
    mandate,
    config,
    folder,
    data: `http://127.0.0.1:${mandate.dataPort}`,
    admin: `http://127.0.0.1:${mandate.adminPort}`,
    tenantFolder: (id) => path.join(folder, 'tenants', id),
    stop,
    [Symbol.asyncDispose]: async () => {
      await stop();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** On as many threads that accept the connections as `ACCEPT_THREADS` says; else main does, however full it is. */
export const acceptThreads = (): Overrides => ({
  accept_threads: Number(process.env['ACCEPT_THREADS'] ?? 0),
  accept_from: 'start',
});

const overridesIn = (folder: string): Overrides => ({
  dev: true,
  data: '127.0.0.1:0',
  admin: '127.0.0.1:0',
  data_dir: path.join(folder, 'data'),
  tenants: [path.join(folder, 'tenants')],
  log_level: 'silent',
  drain_seconds: 2,
  operators: [{ id: 'root', secret_sha256: sha256(secrets.operator) }],
});

export async function writeTenants(
  folder: string,
  { acme, acmeFiles = {}, globex, tested = false }: Options = {},
): Promise<void> {
  const tenants = path.join(folder, 'tenants');
  await mkdir(tenants);
  // Most of what a test changes here acme's own would not pass, and each start would run them.
  await cp(path.join(repository, 'policies/acme'), path.join(tenants, 'acme'), {
    recursive: true,
    filter: (file) => tested || !/_test\.(?:rego|yaml)$/.test(file),
  });
  await editTenant(path.join(tenants, 'acme'), (manifest) => acme?.(manifest));
  for (const [name, text] of Object.entries(acmeFiles))
    await writeFile(path.join(tenants, 'acme', name), text);
  await mkdir(path.join(tenants, 'globex'));
  const document = globexManifest();
  globex?.(document);
  await writeFile(path.join(tenants, 'globex', 'tenant.yaml'), stringify(document));
  await writeFile(path.join(tenants, 'globex', 'policy.rego'), GLOBEX_AUTHZ);
  await writeFile(path.join(tenants, 'globex', 'delegation.rego'), GLOBEX_DELEGATION);
}

export async function editTenant(folder: string, edit: Editor): Promise<void> {
  const file = path.join(folder, 'tenant.yaml');
  const manifest = parse(await readFile(file, 'utf8')) as TenantDocument;
  edit(manifest);
  await writeFile(file, stringify(manifest));
}

/** A tenant whose users and agents have the same ids as acme's, and which allows everything. */
const globexManifest = (): TenantDocument => ({
  id: 'globex',
  roles: { reader: { scopes: ['docs.read'] } },
  actions: { 'document.read': { scope: 'docs.read' } },
  principals: [
    { class: 'user', id: 'alice', roles: ['reader'] },
    {
      class: 'agent',
      id: 'research-agent',
      credentials: [{ secret_sha256: sha256(secrets.globexAgent) }],
      ceiling: { scopes: ['docs.read'], audiences: ['tools-mcp'] },
    },
    {
      class: 'mcp_server',
      id: 'tools-mcp',
      credentials: [{ secret_sha256: sha256(secrets.globexMcp) }],
    },
  ],
});

const GLOBEX_AUTHZ = 'package authz\n\nallow := true\n';
const GLOBEX_DELEGATION = 'package delegation\n\nallow := true\n';

export const basic = (id: string, secret: string): string =>
  `Basic ${Buffer.from(`${encodeURIComponent(id)}:${encodeURIComponent(secret)}`).toString('base64')}`;

export const bearer = (secret: string): string => `Bearer ${secret}`;

/** How long something that comes by itself is waited for: far longer than it takes where others use the machine, too. */
const PATIENCE_MS = 90_000;

/** Asks until the answer is good; throws what it saw last where it never is. */
export async function eventually<T>(ask: () => Promise<T>, good: (value: T) => boolean): Promise<T> {
  let last: T | undefined;
  const since = performance.now();
  while (performance.now() - since < PATIENCE_MS) {
    last = await ask();
    if (good(last)) return last;
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
  throw new Error(`never came: ${JSON.stringify(last)}`);
}
