import { createHash } from 'node:crypto';
import { gunzipSync } from 'node:zlib';
import { unpackTar } from 'modern-tar';
import { ServiceError } from '../errors.ts';
import { type KeptSources, keptSources, unpacked } from './kept.ts';
import type { PolicySources } from './sources.ts';

/** A tenant's policy as it is run. */
export interface Bundle {
  /** `sha256:<hex>` over what decides (the module and the data) and over every file it was made and tested from. */
  readonly revision: string;
  readonly wasm: Uint8Array;
  /** JSON text of `data`. */
  readonly data: string;
  /** The Rego files it was compiled from, relative to the tenant's folder. */
  readonly files: readonly string[];
}

const MAX_UNPACKED_BYTES = 128 * 1024 * 1024;

/** Takes the module out of OPA's bundle; throws what fileIn() does. */
export const moduleIn = (archive: Uint8Array, files: Iterable<string>): Promise<Uint8Array> =>
  fileIn(archive, 'policy.wasm', files);

/**
 * Takes a file out of OPA's bundle (a gzipped tar). Throws `policy_invalid` if there is none in it, or if it was not
 * made from these files: the compiler says which it has read, and leaves none out in silence.
 */
export async function fileIn(
  archive: Uint8Array,
  name: string,
  files: Iterable<string>,
): Promise<Uint8Array> {
  const tar = gunzipSync(archive, { maxOutputLength: MAX_UNPACKED_BYTES });
  const entries = new Map(
    (await unpackTar(tar)).map(({ header, data }) => [header.name.replace(/^\//, ''), data]),
  );
  const found = entries.get(name);
  if (!found) throw new ServiceError('policy_invalid', `the bundle holds no ${name}`);
  const left = new Set([...entries.keys()].filter((entry) => entry.endsWith('.rego')));
  for (const file of files)
    if (!left.delete(file)) throw new ServiceError('policy_invalid', `the compiler left out ${file}`);
  for (const file of left) throw new ServiceError('policy_invalid', `the compiler read ${file} too`);
  return found;
}

/** What is hashed is JSON, which no two contents share: names and texts cannot run into each other. */
export function bundleOf(wasm: Uint8Array, sources: PolicySources): Bundle {
  const made = JSON.stringify({
    wasm: sha256(wasm),
    data: sha256(sources.data),
    files: sources.files.map(({ path, bytes }) => [path, sha256(bytes)]),
  });
  const bundle = {
    revision: `sha256:${sha256(made)}`,
    wasm,
    data: sources.data,
    files: [...sources.modules.keys()],
  };
  madeFrom.set(bundle, keptSources(bundle.revision, sources));
  return bundle;
}

/** By what was made from them: a bundle travels to decision threads, and its sources stay. */
const madeFrom = new WeakMap<Bundle, KeptSources>();

/** What a bundle was made from, in the thread that made it; undefined elsewhere. */
export async function sourcesBehind(bundle: Bundle, tenant: string): Promise<PolicySources | undefined> {
  const kept = madeFrom.get(bundle);
  return kept && unpacked(kept, tenant, bundle.data);
}

export const sha256 = (content: string | Uint8Array): string =>
  createHash('sha256').update(content).digest('hex');
