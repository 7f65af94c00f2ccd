import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { readConfig } from '../../src/config.ts';
import type { Bundle } from '../../src/policy/bundle.ts';
import { Compiler } from '../../src/policy/compiler.ts';
import { type Diagnostic, PolicyInvalid } from '../../src/policy/diagnostics.ts';
import { type PolicySources, sourcesOf } from '../../src/policy/sources.ts';
import { runTests, type Tested } from '../../src/policy/testing/run.ts';
import { readTenantFiles } from '../../src/tenancy/folder/read.ts';
import { parseManifest } from '../../src/tenancy/manifest.ts';

let shared: Compiler | undefined;

/** The real compiler. It keeps nothing on disk, and what it compiled last for others of the same test file. */
export const compiler = (): Compiler => {
  const { opa, home } = readConfig({ MANDATE_OPA: process.env['MANDATE_OPA'] });
  shared ??= new Compiler({ opa, policies: path.join(home, 'policies'), cache: undefined });
  return shared;
};

type Files = Readonly<Record<string, string | Buffer>>;

const manifest = parseManifest({ id: 'acme' }, 'tenant.yaml');

/** A tenant's folder with these files. */
export async function withFolder<T>(files: Files, use: (folder: string) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(path.join(tmpdir(), 'mandate-sources-'));
  try {
    for (const [name, text] of Object.entries(files)) {
      const file = path.join(folder, name);
      await mkdir(path.dirname(file), { recursive: true });
      await writeFile(file, text);
    }
    return await use(folder);
  } finally {
    await rm(folder, { recursive: true });
  }
}

export const read = async (folder: string, declared = manifest): Promise<PolicySources> =>
  sourcesOf(await readTenantFiles({ folder, root: folder }), declared);

/** Compiles a tenant that allows everything, with these files beside. */
export const compile = (files: Files): Promise<Bundle> =>
  withFolder(
    {
      'authz.rego': 'package authz\n\nallow := true\n',
      'delegation.rego': 'package delegation\n\nallow := true\n',
      ...files,
    },
    async (folder) => compiler().compile(await read(folder)),
  );

/** What `mandate policy test` makes of a folder, within these limits. */
export const tested = async (
  folder: string,
  { covered = false, declared = manifest, only = undefined as string | undefined } = {},
): Promise<Tested> =>
  runTests(compiler(), await read(folder, declared), {
    only,
    traced: false,
    covered,
    limits: { fuel: 20_000_000, memoryPages: 1024 },
    clock: () => 0,
    stopwatch: () => 0,
    principals: declared.principals,
  });

/** What is wrong with the files; nothing if they compile. */
export async function diagnosed(files: Files): Promise<readonly Diagnostic[]> {
  try {
    await compile(files);
    return [];
  } catch (error) {
    if (error instanceof PolicyInvalid) return error.diagnostics;
    throw error;
  }
}
