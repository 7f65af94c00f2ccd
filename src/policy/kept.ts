import { promisify } from 'node:util';
import zlib from 'node:zlib';
import { isTest, type PolicySources, type SourceFile } from './sources.ts';

const [deflate, inflate] = [promisify(zlib.deflate), promisify(zlib.inflate)];

/** The sources of one revision in little memory: most tenants are never asked why. Its data is the bundle's. */
export interface KeptSources {
  readonly packed: Promise<Uint8Array>;
  readonly paths: readonly (readonly [path: string, bytes: number])[];
  readonly entrypoints: readonly string[];
  readonly beside: string;
}

/** Tenants on the same revision have the same sources. */
const byRevision = new Map<string, WeakRef<KeptSources>>();
const gone = new FinalizationRegistry<string>((revision) => {
  if (byRevision.get(revision)?.deref() === undefined) byRevision.delete(revision);
});

export function keptSources(revision: string, sources: PolicySources): KeptSources {
  const known = byRevision.get(revision)?.deref();
  if (known) return known;
  const { files, entrypoints, beside } = sources;
  const kept = {
    packed: deflate(Buffer.concat(files.map(({ bytes }) => bytes))),
    paths: files.map(({ path, bytes }) => [path, bytes.length] as const),
    entrypoints,
    beside,
  };
  // Whoever asks hears of it.
  kept.packed.catch(() => undefined);
  byRevision.set(revision, new WeakRef(kept));
  gone.register(kept, revision);
  return kept;
}

/** As they were. */
export async function unpacked(kept: KeptSources, tenant: string, data: string): Promise<PolicySources> {
  const { paths, entrypoints, beside } = kept;
  const all = await inflate(await kept.packed);
  const files: SourceFile[] = [];
  const [modules, tests] = [new Map<string, string>(), new Map<string, string>()];
  let at = 0;
  for (const [path, length] of paths) {
    const bytes = all.subarray(at, at + length);
    at += length;
    files.push({ path, bytes });
    if (path.endsWith('.rego')) (isTest(path) ? tests : modules).set(path, bytes.toString('utf8'));
  }
  return { tenant, files, modules, tests, entrypoints, data, beside };
}
