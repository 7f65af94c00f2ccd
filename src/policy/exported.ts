import { promisify } from 'node:util';
import { gzip } from 'node:zlib';
import { packTar } from 'modern-tar';
import type { Bundle } from './bundle.ts';
import { platformFor } from './opa/generated.ts';
import type { Platform } from './opa/platform.ts';
import type { PolicySources } from './sources.ts';

/** A file of a bundle: its name begins with a slash, as in the bundles that OPA builds. */
export type BundleFile = readonly [name: string, content: string | Uint8Array];

export const SIGNATURES = '/.signatures.json';

/**
 * What decides in a tenant, as an OPA bundle that any OPA evaluates: the platform's Rego, the tenant's, the data, and a
 * manifest with the revision. Tests are in the revision and not in the bundle.
 */
export function bundleFiles(bundle: Bundle, sources: PolicySources, platform: Platform): BundleFile[] {
  const manifest = {
    revision: bundle.revision,
    roots: [''],
    rego_version: 1,
    metadata: { tenant: sources.tenant },
  };
  return [
    ['/.manifest', JSON.stringify(manifest)],
    ['/data.json', bundle.data],
    // Two folders, so that no file of a tenant's takes the place of one of the platform's.
    ...[...platformFor(platform, sources)].map(([name, bytes]): BundleFile => [`/platform/${name}`, bytes]),
    ...[...sources.modules].map(([name, text]): BundleFile => [`/tenant/${name}`, text]),
  ];
}

/** No time, no user, names in their order, and nothing of the machine in the archive's head: the same bytes each time. */
export async function packed(files: readonly BundleFile[]): Promise<Uint8Array> {
  const sorted = files.toSorted(([a], [b]) => (a < b ? -1 : 1));
  const tar = await packTar(
    sorted.map(([name, content]) => {
      const body = typeof content === 'string' ? Buffer.from(content) : content;
      return {
        header: { name, size: body.length, type: 'file', mode: 0o644, uid: 0, gid: 0, mtime: new Date(0) },
        body,
      };
    }),
  );
  const archive = await promisify(gzip)(tar, { level: 9 });
  // RFC 1952 section 2.3: the operating system is unknown.
  archive[9] = 255;
  return archive;
}
