import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { Overrides } from '../../src/config.ts';
import { operations } from '../../src/tenancy/manifest.ts';
import { request } from '../e2e/requests.ts';
import { eventually, type Running, secrets, sha256, startIn } from '../e2e/server.ts';

export const SIDECAR_SECRET = 'sidecar-one-test-secret-000000000001';

/** An authority's configuration: one operator for all, one for its sidecars. */
export const authorityOverrides: Overrides = {
  operators: [
    { id: 'root', secret_sha256: sha256(secrets.operator), may: [...operations] },
    { id: 'sidecars', secret_sha256: sha256(SIDECAR_SECRET), may: ['sync.follow'] },
  ],
};

/** A sidecar of a running authority. */
export async function startSidecar(
  authority: Pick<Running, 'data' | 'admin'>,
  { node = 'one', folder, ...overrides }: Overrides & { node?: string; folder?: string } = {},
  secret: string | null = SIDECAR_SECRET,
): Promise<Running> {
  const place = folder ?? (await mkdtemp(path.join(tmpdir(), 'mandate-sidecar-')));
  try {
    return await startIn(place, {
      overrides: {
        tenants: [],
        node,
        base_url: authority.data,
        authority: { admin: authority.admin, data: authority.data },
        ...overrides,
      },
      ...(secret !== null && { environment: { MANDATE_AUTHORITY_SECRET: secret } }),
    });
  } catch (error) {
    await rm(place, { recursive: true, force: true });
    throw error;
  }
}

/** Waits until it has all that there is. */
export const isReady = (server: Pick<Running, 'data'>): Promise<unknown> =>
  eventually(
    () => request<string>(`${server.data}/readyz`),
    ({ status }) => status === 200,
  );
