import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, statSync } from 'node:fs';
import { cp, mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { LRUCache } from 'lru-cache';
import { ServiceError } from '../errors.ts';
import { crossings } from './boundary.ts';
import { type Bundle, readBundle } from './bundle.ts';
import { type Diagnostic, diagnosticsOf, policyInvalid } from './diagnostics.ts';
import { hostBuiltins } from './engine/builtins/index.ts';
import { capabilitiesFor, type OpaCapabilities } from './engine/capabilities.ts';
import type { PolicySources } from './sources.ts';

export interface CompilerOptions {
  /** The OPA binary. */
  readonly opa: string;
  /** The platform's Rego and schemas: `policies/` of the package. */
  readonly policies: string;
  /** Where compiled bundles are kept, so that a start does not compile again. */
  readonly cache: string | undefined;
}

const TIMEOUT_MS = 60_000;
const KEPT_BUNDLES = 16;
const MAX_RUNNING = 2;
const MAX_OUTPUT_BYTES = 64 * 1024 * 1024;
const ENTRY_POINTS = ['mandate/decision', 'mandate/delegation'];

/** Rego to bundle through the real OPA compiler, each tenant apart, in a folder of its own that is gone afterwards. */
export class Compiler {
  readonly #options: CompilerOptions;
  #capabilities: Promise<string> | undefined;
  #platform: Promise<string> | undefined;
  /** By what went in: tenants with the same sources are compiled once, and while that runs they wait for it together. */
  readonly #compiled = new LRUCache<string, Promise<Bundle>>({ max: KEPT_BUNDLES });
  #running = 0;
  readonly #waiting: (() => void)[] = [];

  constructor(options: CompilerOptions) {
    this.#options = options;
    if (path.isAbsolute(options.opa) && !existsSync(options.opa))
      throw new ServiceError(
        'config_invalid',
        `the OPA compiler is not at ${options.opa}; run "make opa", or set MANDATE_OPA to an opa binary`,
      );
  }

  /** Throws `policy_invalid` with the compiler's file, line and message for each mistake. */
  async compile(sources: PolicySources): Promise<Bundle> {
    const key = await this.#keyOf(sources);
    const known = this.#compiled.get(key);
    if (known) return known;
    const compiled = this.#turn(() => this.#compile(sources, key));
    this.#compiled.set(key, compiled);
    compiled.catch(() => this.#compiled.delete(key));
    return compiled;
  }

  /** A compilation is several processes; only a few run at once. */
  async #turn<T>(work: () => Promise<T>): Promise<T> {
    while (this.#running >= MAX_RUNNING)
      await new Promise<void>((resolve) => void this.#waiting.push(resolve));
    this.#running += 1;
    try {
      return await work();
    } finally {
      this.#running -= 1;
      this.#waiting.shift()?.();
    }
  }

  async #compile(sources: PolicySources, key: string): Promise<Bundle> {
    const kept = await this.#kept(sources, key);
    if (kept) return kept;
    return this.#staged(sources, async (stage, capabilities) => {
      const target = path.join(stage, 'bundle.tar.gz');
      const entries = [...ENTRY_POINTS, ...sources.entrypoints].flatMap((entry) => ['-e', entry]);
      const [checked, crossed, built] = await Promise.all([
        this.#check(stage, capabilities, sources.entrypoints.length === 0),
        crossings(sources, (args, input) => this.#opa(args, stage, input)),
        this.#opa(
          [
            'build',
            '-t',
            'wasm',
            ...entries,
            '--capabilities',
            capabilities,
            '-o',
            target,
            'platform',
            'tenant',
          ],
          stage,
        ),
      ]);
      const diagnostics = [...checked, ...(checked.length === 0 ? crossed : [])];
      if (diagnostics.length === 0 && built.code !== 0) diagnostics.push(...diagnosticsOf(built.stderr));
      if (diagnostics.length > 0) throw policyInvalid(diagnostics);
      const bundle = await readFile(target);
      await this.#keep(key, bundle);
      return readBundle(bundle, sources);
    });
  }

  /** Runs the tenant's Rego tests as OPA does. Answers OPA's own report. */
  async test(
    sources: PolicySources,
    args: readonly string[],
  ): Promise<{ code: number; stdout: string; stderr: string }> {
    return this.#staged(sources, (stage) =>
      this.#opa(['test', ...args, 'platform', 'tenant', 'data'], stage),
    );
  }

  async #check(stage: string, capabilities: string, typed: boolean): Promise<Diagnostic[]> {
    const schema = typed ? ['-s', 'input.json'] : [];
    const args = ['check', '-f', 'json', '--capabilities', capabilities, ...schema, 'platform', 'tenant'];
    const { code, stdout, stderr } = await this.#opa(args, stage);
    return code === 0 ? [] : diagnosticsOf(stdout.trim() ? stdout : stderr);
  }

  async #staged<T>(
    sources: PolicySources,
    use: (stage: string, capabilities: string) => Promise<T>,
  ): Promise<T> {
    const stage = await mkdtemp(path.join(os.tmpdir(), 'mandate-policy-'));
    try {
      await cp(path.join(this.#options.policies, 'platform'), path.join(stage, 'platform'), {
        recursive: true,
      });
      await cp(path.join(this.#options.policies, 'schemas', 'input.json'), path.join(stage, 'input.json'));
      await mkdir(path.join(stage, 'tenant'));
      for (const [name, text] of [...sources.modules, ...sources.tests]) {
        const file = path.join(stage, 'tenant', name);
        await mkdir(path.dirname(file), { recursive: true });
        await writeFile(file, text);
      }
      await mkdir(path.join(stage, 'data'));
      await writeFile(path.join(stage, 'data', 'data.json'), sources.data);
      const capabilities = path.join(stage, 'capabilities.json');
      await writeFile(capabilities, await this.#capabilitiesText());
      return await use(stage, capabilities);
    } finally {
      await rm(stage, { recursive: true, force: true });
    }
  }

  #capabilitiesText(): Promise<string> {
    this.#capabilities ??= this.#opa(['capabilities', '--current'], os.tmpdir()).then(
      ({ code, stdout, stderr }) => {
        if (code !== 0)
          throw new ServiceError('config_invalid', `the OPA compiler does not run: ${stderr.slice(0, 300)}`);
        return JSON.stringify(capabilitiesFor(JSON.parse(stdout) as OpaCapabilities));
      },
    );
    return this.#capabilities;
  }

  /** The compiler gets no environment, no input but what is named, and a bound in time and output. */
  #opa(
    args: readonly string[],
    cwd: string,
    input = '',
  ): Promise<{ code: number; stdout: string; stderr: string }> {
    return new Promise((resolve, reject) => {
      const child = execFile(
        this.#options.opa,
        args,
        { cwd, env: {}, timeout: TIMEOUT_MS, maxBuffer: MAX_OUTPUT_BYTES },
        (error, stdout, stderr) => {
          if (!error) return resolve({ code: 0, stdout, stderr });
          if (typeof error.code === 'number') return resolve({ code: error.code, stdout, stderr });
          reject(
            new ServiceError('policy_invalid', 'the policy compiler could not finish', {
              cause: error,
              detail: `${this.#options.opa} ${args[0]}: ${error.message.slice(0, 300)}`,
            }),
          );
        },
      );
      child.stdin?.on('error', () => {});
      child.stdin?.end(input);
    });
  }

  async #kept(sources: PolicySources, key: string): Promise<Bundle | undefined> {
    const file = this.#fileOf(key);
    if (!file || !existsSync(file)) return undefined;
    return readBundle(await readFile(file), sources).catch(() => undefined);
  }

  async #keep(key: string, bundle: Uint8Array): Promise<void> {
    const file = this.#fileOf(key);
    if (!file) return;
    await mkdir(path.dirname(file), { recursive: true, mode: 0o700 });
    // Written aside and renamed: a crash leaves a stray file, never half a bundle.
    await writeFile(`${file}.${process.pid}`, bundle, { mode: 0o600 });
    await rename(`${file}.${process.pid}`, file);
  }

  #fileOf(key: string): string | undefined {
    return this.#options.cache && path.join(this.#options.cache, `${key}.tar.gz`);
  }

  /** Everything that the compiler reads, and the compiler itself. */
  async #keyOf(sources: PolicySources): Promise<string> {
    this.#platform ??= this.#platformDigest();
    const hash = createHash('sha256').update(await this.#platform);
    for (const [name, text] of sources.modules) hash.update(`${name} ${text.length}\n`).update(text);
    return hash
      .update(`${sources.entrypoints.join(' ')}\n`)
      .update(sources.data)
      .digest('hex');
  }

  async #platformDigest(): Promise<string> {
    const { opa, policies } = this.#options;
    const compiler = existsSync(opa) ? statSync(opa) : undefined;
    const folders = await Promise.all(
      ['platform', 'schemas'].map((folder) => digestOf(path.join(policies, folder))),
    );
    return [opa, compiler?.size, compiler?.mtimeMs, ...folders, ...hostBuiltins.keys()].join(' ');
  }
}

async function digestOf(folder: string): Promise<string> {
  const hash = createHash('sha256');
  for (const name of (await readdir(folder)).sort())
    hash.update(`${name}\n`).update(await readFile(path.join(folder, name)));
  return hash.digest('hex');
}
