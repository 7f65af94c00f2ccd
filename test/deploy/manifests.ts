import { spawnSync } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { parseAllDocuments } from 'yaml';
import { output, type Ran, run } from '../foreign/programs.ts';

/** The Go program of tools/manifests: Helm, Kubernetes, Compose and Prometheus, as they read what is in deploy/. */

export const repository = path.resolve(import.meta.dirname, '../..');
const program = path.join(repository, '.cache/clients/manifests');

/** What to say where it cannot be made; empty where it can. */
export const withoutGo = spawnSync('go', ['version']).error
  ? ', skipped: go is missing, install Go 1.26 or newer'
  : '';

/** Makes it, unless it is as it is now. */
export const makeManifests = (): Promise<string> => output('make', ['manifests'], { timeoutMs: 590_000 });

export const manifests = (args: readonly string[], input = ''): Promise<Ran> =>
  run(program, args, { input, timeoutMs: 60_000 });

export const textOf = (file: string): Promise<string> => readFile(path.join(repository, file), 'utf8');

/** What of a manifest the tests look at. */
export interface Manifest {
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly labels?: Readonly<Record<string, string>> };
  readonly data?: Readonly<Record<string, string>>;
  readonly spec?: { readonly template?: { readonly spec: PodSpec } } & Readonly<Record<string, unknown>>;
}

export interface PodSpec {
  readonly automountServiceAccountToken?: boolean;
  readonly enableServiceLinks?: boolean;
  readonly securityContext?: Readonly<Record<string, unknown>>;
  readonly initContainers?: readonly Container[];
  readonly containers: readonly Container[];
  readonly volumes?: readonly { readonly name: string }[];
}

export interface Container {
  readonly name: string;
  readonly args?: readonly string[];
  readonly env?: readonly { readonly name: string }[];
  readonly restartPolicy?: string;
  readonly securityContext?: Readonly<Record<string, unknown>>;
  readonly volumeMounts?: readonly {
    readonly name: string;
    readonly mountPath: string;
    readonly subPath?: string;
    readonly subPathExpr?: string;
  }[];
  readonly [probe: `${string}Probe`]: { readonly exec?: { readonly command: string[] } } | undefined;
}

export const manifestsIn = (text: string): Manifest[] =>
  parseAllDocuments(text)
    .map((each) => each.toJS() as Manifest | null)
    .filter((each) => each !== null);

/** The mandate.yaml of a ConfigMap. */
export function configurationIn(all: readonly Manifest[]): string {
  const text = all.find(({ kind }) => kind === 'ConfigMap')?.data?.['mandate.yaml'];
  if (text === undefined) throw new Error('there is no ConfigMap with a mandate.yaml');
  return text;
}
