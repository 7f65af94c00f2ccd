import { createHash } from 'node:crypto';
import { gunzipSync } from 'node:zlib';
import { unpackTar } from 'modern-tar';
import { ServiceError } from '../errors.ts';
import type { PolicySources } from './sources.ts';

/** A tenant's policy as it is run. */
export interface Bundle {
  /** `sha256:<hex>` over the module and the data: what decides, and nothing else. */
  readonly revision: string;
  readonly wasm: Uint8Array;
  /** JSON text of `data`. */
  readonly data: string;
  /** The Rego files it was compiled from, relative to the tenant's folder. */
  readonly files: readonly string[];
}

const MAX_UNPACKED_BYTES = 128 * 1024 * 1024;

/** Reads OPA's bundle (a gzipped tar). Throws `policy_invalid` if there is no module in it. */
export async function readBundle(archive: Uint8Array, sources: PolicySources): Promise<Bundle> {
  const tar = gunzipSync(archive, { maxOutputLength: MAX_UNPACKED_BYTES });
  const entries = await unpackTar(tar);
  const wasm = entries.find(({ header }) => header.name.replace(/^\//, '') === 'policy.wasm')?.data;
  if (!wasm) throw new ServiceError('policy_invalid', 'the bundle holds no policy.wasm');
  const revision = createHash('sha256').update(wasm).update('\0').update(sources.data).digest('hex');
  return { revision: `sha256:${revision}`, wasm, data: sources.data, files: [...sources.modules.keys()] };
}
