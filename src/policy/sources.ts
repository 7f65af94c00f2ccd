import { existsSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, ServiceError } from '../errors.ts';
import type { Manifest } from '../tenancy/manifest.ts';

/** Everything of a tenant that goes into its revision. */
export interface PolicySources {
  /** Rego by path relative to the tenant's folder, tests left out; in the order of the paths. */
  readonly modules: ReadonlyMap<string, string>;
  /** `*_test.rego`. */
  readonly tests: ReadonlyMap<string, string>;
  /** Entry points beside the platform's. */
  readonly entrypoints: readonly string[];
  /** JSON text of `data`: the tenant's data.json and what the manifest declares. */
  readonly data: string;
}

const MAX_FILES = 1_000;
const MAX_BYTES = 16 * 1024 * 1024;

/** Reads a tenant's folder. Throws `policy_invalid` or `config_invalid`. */
export async function readSources(folder: string, manifest: Manifest): Promise<PolicySources> {
  const names = (await readdir(folder, { recursive: true, withFileTypes: true }))
    .filter((entry) => entry.isFile() && entry.name.endsWith('.rego'))
    .map((entry) => path.relative(folder, path.join(entry.parentPath, entry.name)).replaceAll(path.sep, '/'))
    .sort();
  if (names.length > MAX_FILES)
    throw new ServiceError('policy_invalid', `${folder}: more than ${MAX_FILES} Rego files`);
  const modules = new Map<string, string>();
  const tests = new Map<string, string>();
  let bytes = 0;
  for (const name of names) {
    const text = await readFile(path.join(folder, name), 'utf8');
    bytes += text.length;
    if (bytes > MAX_BYTES)
      throw new ServiceError('policy_invalid', `${folder}: more than ${MAX_BYTES} bytes of Rego`);
    (name.endsWith('_test.rego') ? tests : modules).set(name, text);
  }
  return { modules, tests, entrypoints: manifest.entrypoints, data: await readData(folder, manifest) };
}

async function readData(folder: string, manifest: Manifest): Promise<string> {
  const file = path.join(folder, 'data.json');
  let own: unknown = {};
  if (existsSync(file)) {
    try {
      own = JSON.parse(await readFile(file, 'utf8'));
    } catch (error) {
      throw new ServiceError('policy_invalid', `data.json:0: ${describe(error)}`);
    }
  }
  if (typeof own !== 'object' || own === null || Array.isArray(own) || Object.hasOwn(own, 'mandate'))
    throw new ServiceError(
      'policy_invalid',
      'data.json:0: an object without a member "mandate", which is the platform\'s',
    );
  return JSON.stringify({ ...own, mandate: { tenant: { actions: manifest.actions } } });
}
