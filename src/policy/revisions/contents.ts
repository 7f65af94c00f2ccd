import { deflateRawSync } from 'node:zlib';
import type { KeptFile } from '../../storage/revisions/rows.ts';
import type { Manifest } from '../../tenancy/manifest.ts';
import { sha256 } from '../bundle.ts';
import { type PolicySources, type SourceFile, sourcesOf } from '../sources.ts';

/** What a revision was made from: all of the tenant that decides, whichever compiler turns it into a module. */
export interface Contents {
  /** Path and SHA-256 of each file (hex), in the order of their paths. */
  readonly files: readonly (readonly [path: string, digest: string])[];
  /** Of the manifest, what is in a policy's data, and what is an entry point. */
  readonly entrypoints: readonly string[];
  /** Left out where the package authz decides. */
  readonly decision?: string;
  readonly actions: Manifest['actions'];
}

/** The contents as they are kept, JSON text, and the name that they have among all. */
export interface Named {
  readonly contents: string;
  /** SHA-256 of it, as hex. */
  readonly digest: string;
}

export function contentsOf(
  { files, entrypoints, decision }: PolicySources,
  actions: Manifest['actions'],
): Named {
  const named = files.map(({ path, bytes }) => [path, sha256(bytes)]);
  const contents = JSON.stringify({ files: named, entrypoints, actions, decision });
  return { contents, digest: sha256(contents) };
}

/** The files of some sources that are not kept yet. */
export const unkeptOf = (
  { files }: PolicySources,
  isKept: (digest: string) => boolean,
): readonly KeptFile[] => {
  const unkept = new Map<string, KeptFile>();
  for (const { bytes } of files) {
    const digest = sha256(bytes);
    if (!unkept.has(digest) && !isKept(digest)) unkept.set(digest, { digest, body: deflateRawSync(bytes) });
  }
  return [...unkept.values()];
};

/** The files that a revision was made from. Throws `unavailable` where one of them is damaged. */
export function filesOf(contents: string, read: (digest: string) => Buffer): SourceFile[] {
  const { files } = JSON.parse(contents) as Contents;
  return files.map(([path, digest]) => ({ path, bytes: read(digest) }));
}

/** The same as the sources that they were. */
export function sourcesIn(
  tenant: string,
  contents: string,
  read: (digest: string) => Buffer,
): Promise<PolicySources> {
  const { entrypoints, actions, decision } = JSON.parse(contents) as Contents;
  const files = new Map(filesOf(contents, read).map(({ path, bytes }) => [path, bytes as Buffer]));
  return sourcesOf({ files, faults: [] }, { id: tenant, entrypoints: [...entrypoints], actions, decision });
}
