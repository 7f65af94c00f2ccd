import { lstatSync, statSync } from 'node:fs';
import path from 'node:path';
import type { Config } from '../../config.ts';
import { ServiceError } from '../../errors.ts';
import type { Compiler } from '../../policy/compiler.ts';
import { PolicyInvalid } from '../../policy/diagnostics.ts';
import type { Limits } from '../../policy/engine/instance.ts';
import type { PolicySources } from '../../policy/sources.ts';
import type { Manifest } from '../../tenancy/manifest.ts';
import { ExitCode, print, printJson } from '../terminal/output.ts';
import { marked } from './marked.ts';

/** What only these commands need is loaded only for them: the others start in half the time without. */
export async function compilerOf(): Promise<Compiler> {
  const { Compiler } = await import('../../policy/compiler.ts');
  const config = await configuration();
  return new Compiler({ opa: config.opa, policies: path.join(config.home, 'policies'), cache: undefined });
}

export async function configuration(): Promise<Config> {
  const { readConfig } = await import('../../config.ts');
  return readConfig(process.env);
}

interface Read {
  readonly sources: PolicySources;
  readonly manifest: Manifest;
}

/** Throws `config_invalid` with the folder's name, where a system call would give no more than its error. */
export function placeIn(folder: string): void {
  const found = statSync(folder, { throwIfNoEntry: false });
  if (!found) throw new ServiceError('config_invalid', `no such folder: ${folder}`);
  if (!found.isDirectory()) throw new ServiceError('config_invalid', `${folder} is not a folder`);
  if (!lstatSync(path.join(folder, 'tenant.yaml'), { throwIfNoEntry: false }))
    throw new ServiceError('config_invalid', `${folder} holds no tenant.yaml`);
}

/** Throws `config_invalid`, and `policy_invalid` for what is wrong with the files. */
export async function readIn(folder: string, root = folder): Promise<Read> {
  placeIn(folder);
  const { readTenant } = await import('../../tenancy/tenants.ts');
  const { readTenantFiles } = await import('../../tenancy/folder/read.ts');
  const { sourcesOf } = await import('../../policy/sources.ts');
  const files = await readTenantFiles({ folder, root });
  const { manifest } = await readTenant(files);
  return { sources: await sourcesOf(files, manifest), manifest };
}

export const ROOT_FLAG = '--root <folder>';
export const ROOT_HELP =
  'what links may lead into, as where the server serves a folder of tenants; else the folder itself';

/** Prints what is wrong with a tenant's files, and makes the exit code say so; throws what is wrong with anything else. */
export function refuse(error: unknown, folder: string, json = false): void {
  if (!(error instanceof PolicyInvalid)) throw error;
  if (json) printJson({ ok: false, diagnostics: error.diagnostics });
  else for (const each of error.diagnostics) print(marked(each, folder));
  process.exitCode = ExitCode.deny;
}

/** What the server would allow the tenant. */
export async function limitsOf(manifest: Manifest): Promise<Limits> {
  const { limitsFor } = await import('../../policy/proof.ts');
  const { fuel, memory_mib: memoryMib } = await configuration();
  return limitsFor(manifest, { fuel, memoryMib });
}
