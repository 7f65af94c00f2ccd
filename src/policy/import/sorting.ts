import { isUtf8 } from 'node:buffer';
import { isDataDocument, isTable } from '../../tenancy/folder/names.ts';
import { MANIFEST } from '../../tenancy/manifest-invalid.ts';
import type { Refusal } from './reading.ts';
import { SIGNATURES } from './signature.ts';

/** What a bundle's own manifest says, as far as it counts here. */
export interface BundleManifest {
  readonly roots: readonly string[];
  readonly isV0: boolean;
  /** Paths such as `shop/authz/allow`. */
  readonly entrypoints: readonly string[];
}

export interface Sorted {
  readonly rego: ReadonlyMap<string, string>;
  readonly data: ReadonlyMap<string, Buffer>;
  readonly refused: readonly Refusal[];
  /** What is neither policy nor data, and why. */
  readonly left: readonly Refusal[];
}

export const BUNDLE_MANIFEST = '.manifest';

/** Files that only say what the others are, or are made of them. */
const BESIDE: Readonly<Record<string, string>> = {
  [BUNDLE_MANIFEST]: 'it was read for roots, entry points and version',
  [SIGNATURES]: 'it was read for signatures',
  'policy.wasm': 'it is compiled anew from the Rego',
  'plan.json': 'it is compiled anew from the Rego',
};

/** What is written beside, so that nothing else has these names. */
export const WRITTEN = [
  MANIFEST,
  'mandate/mapping.rego',
  'mandate/requests_test.yaml',
  'mandate/imported.rego',
] as const;

/** Tells what decides from what does not. Every file is in one of them. `without`: what the author leaves out. */
export function sortFiles(files: ReadonlyMap<string, Buffer>, without: readonly string[]): Sorted {
  const rego = new Map<string, string>();
  const data = new Map<string, Buffer>();
  const refused: Refusal[] = [];
  const left: Refusal[] = [];
  for (const [file, bytes] of files) {
    const base = file.slice(file.lastIndexOf('/') + 1);
    if (without.some((each) => file === each || file.startsWith(`${each.replace(/\/$/, '')}/`)))
      left.push({ file, why: 'left out by --without' });
    else if (BESIDE[file] !== undefined) left.push({ file, why: BESIDE[file] });
    else if ((WRITTEN as readonly string[]).includes(file))
      refused.push({ file, why: 'a file of this name is written by the import' });
    else if (isTable(file))
      refused.push({ file, why: 'a file of this name is a table of tests here; rename it' });
    else if (file.endsWith('.rego') && !isUtf8(bytes)) refused.push({ file, why: 'it is not UTF-8' });
    else if (file.endsWith('.rego')) rego.set(file, bytes.toString('utf8'));
    else if (isDataDocument(file)) data.set(file, bytes);
    else if (base === BUNDLE_MANIFEST) left.push({ file, why: 'the manifest of a bundle is at its root' });
    else if (/\.(?:json|ya?ml)$/.test(base))
      left.push({ file, why: 'data is in data.json or data.yaml, in the folder that names its place' });
    else left.push({ file, why: 'it is neither Rego nor data' });
  }
  return { rego, data, refused, left };
}

/** Throws a `SyntaxError` for what is no manifest. */
export function readBundleManifest(bytes: Buffer | undefined): BundleManifest {
  if (!bytes) return { roots: [''], isV0: false, entrypoints: [] };
  const said = JSON.parse(bytes.toString('utf8')) as {
    roots?: unknown;
    rego_version?: unknown;
    wasm?: unknown;
  };
  const texts = (value: unknown): string[] =>
    Array.isArray(value) ? value.filter((each) => typeof each === 'string') : [];
  const modules = Array.isArray(said.wasm) ? (said.wasm as { entrypoint?: unknown }[]) : [];
  return {
    roots: said.roots === undefined ? [''] : texts(said.roots).map((root) => root.replace(/^\/|\/$/g, '')),
    isV0: said.rego_version === 0,
    entrypoints: texts(modules.map(({ entrypoint }) => entrypoint)),
  };
}

/** Whether a bundle owns a path: OPA loads nothing of it that is outside of its roots. */
export const isOwned = (path: string, roots: readonly string[]): boolean =>
  roots.some((root) => root === '' || path === root || path.startsWith(`${root}/`));
