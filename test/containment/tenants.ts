import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { type Overrides, readConfig } from '../../src/config.ts';
import { type Mandate, start } from '../../src/main.ts';
import { acceptThreads } from '../e2e/server.ts';

/** A server whose tenants are written by the test: a manifest and one Rego file each. */
export interface TenantFiles {
  readonly id: string;
  /** JSON is YAML. */
  readonly manifest?: object;
  readonly rego: string;
  readonly data?: object;
}

export interface Served extends AsyncDisposable {
  readonly mandate: Mandate;
  readonly data: string;
  readonly admin: string;
}

export async function serve(tenants: readonly TenantFiles[], overrides: Overrides = {}): Promise<Served> {
  const folder = await mkdtemp(path.join(tmpdir(), 'mandate-tenants-'));
  for (const { id, manifest, rego, data } of tenants) {
    const at = path.join(folder, 'tenants', id);
    await mkdir(at, { recursive: true });
    const principals = [{ class: 'user', id: 'u' }];
    await writeFile(path.join(at, 'tenant.yaml'), JSON.stringify({ id, principals, ...manifest }));
    await writeFile(path.join(at, 'policy.rego'), rego);
    if (data) await writeFile(path.join(at, 'data.json'), JSON.stringify(data));
  }
  const config = readConfig(
    {},
    {
      dev: true,
      data: '127.0.0.1:0',
      admin: '127.0.0.1:0',
      data_dir: path.join(folder, 'data'),
      tenants: [path.join(folder, 'tenants')],
      log_level: 'silent',
      drain_seconds: 1,
      ...acceptThreads(),
      ...overrides,
    },
  );
  const mandate = await start(config);
  return {
    mandate,
    data: `http://127.0.0.1:${mandate.dataPort}`,
    admin: `http://127.0.0.1:${mandate.adminPort}`,
    [Symbol.asyncDispose]: async () => {
      await mandate[Symbol.asyncDispose]();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

export const asks = (tenant: string, action = 'read', context: object = {}) => ({
  tenant,
  subject: { type: 'user', id: 'u' },
  action: { name: action },
  resource: { type: 'thing', id: 't' },
  context,
});
