import { deflateRawSync, inflateRawSync } from 'node:zlib';
import { ServiceError } from '../../errors.ts';
import { type TenantId, tenantId } from '../../ids.ts';
import type { PutTenantStore } from '../../storage/put-tenants.ts';
import type { TenantPlace } from '../../tenancy/folder/list.ts';
import { readTenantFiles, type TenantFiles } from '../../tenancy/folder/read.ts';
import { MANIFEST } from '../../tenancy/manifest-invalid.ts';

/** Where a tenant stands that the API put: in the store, under a name that no path has. */
const API = 'api:';

export const putPlace = (id: TenantId): TenantPlace => ({ folder: `${API}${id}`, root: API });
export const isPut = ({ root }: Pick<TenantPlace, 'root'>): boolean => root === API;

/** More than a message may hold of them. */
const MOST_BYTES = 16 * 1024 * 1024;

/** As they are kept: a JSON array of [name, base64], deflated. */
export function packed(manifest: Buffer, files: ReadonlyMap<string, Buffer>): Uint8Array {
  const all = [[MANIFEST, manifest] as const, ...files].map(([name, bytes]) => [
    name,
    bytes.toString('base64'),
  ]);
  return deflateRawSync(JSON.stringify(all));
}

/** Reads a tenant's files where it stands. Throws as `readTenantFiles`, and `unavailable` for what the store cannot tell. */
export function filesReader(store: PutTenantStore): typeof readTenantFiles {
  return async (place, quietMs) => (isPut(place) ? keptFiles(store, place) : readTenantFiles(place, quietMs));
}

function keptFiles(store: PutTenantStore, place: TenantPlace): TenantFiles {
  const kept = store.find(tenantId(place.folder.slice(API.length)));
  if (!kept) throw new ServiceError('unavailable', `${place.folder} is not in the store`);
  const text = inflateRawSync(kept, { maxOutputLength: MOST_BYTES }).toString('utf8');
  const files = new Map(
    (JSON.parse(text) as [string, string][]).map(([name, body]) => [name, Buffer.from(body, 'base64')]),
  );
  const manifest = files.get(MANIFEST);
  files.delete(MANIFEST);
  return { place, manifest, files, faults: [] };
}
