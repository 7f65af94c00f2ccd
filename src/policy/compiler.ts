import { existsSync, statSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { LRUCache } from 'lru-cache';
import { ServiceError } from '../errors.ts';
import { crossings } from './boundary.ts';
import { type Bundle, bundleOf, moduleIn, sha256 } from './bundle.ts';
import { isMapping, undecided } from './decided.ts';
import { type Diagnostic, diagnosticsOf, policyInvalid } from './diagnostics.ts';
import { hostBuiltins } from './engine/builtins/index.ts';
import {
  capabilitiesFor,
  capabilitiesForTests,
  deniedBuiltins,
  type OpaCapabilities,
} from './engine/capabilities.ts';
import { ModuleCache } from './opa/cache.ts';
import { type Bounds, confined, type Run, type RunOpa } from './opa/child.ts';
import { platformFor } from './opa/generated.ts';
import { type Platform, readPlatform } from './opa/platform.ts';
import { foreignSchemas } from './opa/schemas.ts';
import { type Laid, type Stage, staged } from './opa/staging.ts';
import { servedEntries } from './serving.ts';
import { type ApartPackage, apartPackageOf, type PolicySources } from './sources.ts';

export interface CompilerOptions {
  /** The OPA binary. */
  readonly opa: string;
  /** The platform's Rego and schemas: `policies/` of the package. */
  readonly policies: string;
  /** Where compiled modules are kept, so that a start does not compile again. */
  readonly cache: string | undefined;
}

/** Where tests are run: a stage, and the compiler in it. */
export interface Bench extends Stage {
  readonly run: RunOpa;
  /** The platform's modules, by name in `platform/`. */
  readonly platform: ReadonlyMap<string, Buffer>;
}

/** Raised with what a module is checked for before it is kept: one that was kept before is checked anew. */
const CHECKS = 4;
const KEPT_MODULES = 16;
const MAX_RUNNING = 2;
/** The evaluator says where data stands in a rule's place, which neither `build` nor `check` looks for. */
const JOINED = ['eval', '-f', 'json', '-d', 'platform', '-d', 'tenant', '-d', 'data'];
const NOTHING = '{}';
const SOUND: Run = { code: 0, stdout: '', stderr: '' };
const ENTRY_POINTS = ['mandate/decision', 'mandate/delegation'];
/** Of packages with an input of their own: the schema of it. The entry point is `mandate/<package>`. */
const APART = { audit: 'record.json', approval: 'approval.json' } as const satisfies Record<
  ApartPackage,
  string
>;
/** Of so many mistakes that those of modules which have another input hide no others. */
const CHECK = ['check', '-f', 'json', '-m', '1000'];

/** Rego to bundle through the real OPA compiler, each tenant apart, in a folder of its own that is gone afterwards. */
export class Compiler {
  readonly #options: CompilerOptions;
  readonly #cache: ModuleCache;
  #capabilities: Promise<{ deciding: string; tested: string }> | undefined;
  #platform: Promise<Platform> | undefined;
  /** By what went in: tenants with the same sources are compiled once, and while that runs they wait for it together. */
  readonly #compiled = new LRUCache<string, Promise<Uint8Array>>({ max: KEPT_MODULES });
  #running = 0;
  readonly #waiting: (() => void)[] = [];

  constructor(options: CompilerOptions) {
    this.#options = options;
    this.#cache = new ModuleCache(options.cache);
    if (path.isAbsolute(options.opa) && !existsSync(options.opa))
      throw new ServiceError(
        'config_invalid',
        `the OPA compiler is not at ${options.opa}; run "make opa", or set MANDATE_OPA to an opa binary`,
      );
  }

  /**
   * Throws `policy_invalid` with the compiler's file, line and message for each mistake, `unavailable` where the
   * compiler cannot run.
   */
  async compile(sources: PolicySources): Promise<Bundle> {
    const key = await this.#keyOf(sources);
    const known = this.#compiled.get(key);
    if (known) return bundleOf(await known, sources);
    const compiled = this.#turn(() => this.#module(sources, key));
    this.#compiled.set(key, compiled);
    compiled.catch(() => this.#compiled.delete(key));
    return bundleOf(await compiled, sources);
  }

  /** Of all that is kept on disk, only what these tenants may use again stays. */
  keepOnly(tenants: Iterable<string>): Promise<void> {
    return this.#cache.keepOnly(new Set(tenants)).catch(() => undefined);
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

  async #module(sources: PolicySources, key: string): Promise<Uint8Array> {
    const kept = await this.#cache.get(sources.tenant, key);
    if (kept) return kept;
    const module = await this.#staged(sources, 'deciding', (stage, run) => this.#build(sources, stage, run));
    await this.#cache.put(sources.tenant, key, module);
    return module;
  }

  /** What is laid out here is what decides, and all of it is looked at: no test, and nothing that was not checked. */
  async #build(sources: PolicySources, { folder, capabilities }: Stage, run: RunOpa): Promise<Uint8Array> {
    const foreign = await foreignSchemas(sources.modules, run);
    if (foreign.length > 0) throw policyInvalid(foreign);
    const platform = platformFor(await this.#platformOnce(), sources);
    const target = path.join(folder, 'bundle.tar.gz');
    const apart = apartIn(sources);
    const asked = [
      ...ENTRY_POINTS,
      ...[...new Set(apart.values())].map((each) => `mandate/${each}`),
      ...(await servedEntries(sources, run)),
    ];
    const entries = asked.flatMap((entry) => ['-e', entry]);
    const given = ['--capabilities', capabilities, 'platform', 'tenant'];
    const isDecided = sources.decision !== undefined;
    const schema = sources.entrypoints.length === 0 && !isDecided ? ['-s', 'input.json'] : [];
    const mapping = new Set(
      isDecided ? [...sources.modules].flatMap(([file, text]) => (isMapping(text) ? [file] : [])) : [],
    );
    const checkedFor = (each: ApartPackage): Run | Promise<Run> =>
      [...apart.values()].includes(each) ? run([...CHECK, '-s', APART[each], ...given]) : SOUND;
    const [checked, kept, approved, mapped, crossed, missed, built, joined] = await Promise.all([
      run([...CHECK, ...schema, ...given]),
      checkedFor('audit'),
      checkedFor('approval'),
      mapping.size > 0 ? run([...CHECK, '-s', 'input.json', ...given]) : SOUND,
      crossings(sources, platform, run),
      undecided(sources, run),
      run(['build', '-t', 'wasm', ...entries, '-o', target, ...given]),
      sources.beside === NOTHING ? SOUND : run([...JOINED, '--capabilities', capabilities, 'true']),
    ]);
    const diagnostics = [
      // What the manifest is wrong in is told of that, not of what was made of it.
      ...mistakesIn(checked).filter(({ file }) => !apart.has(file) && !(missed.length > 0 && isMade(file))),
      // Their input is a record, and a request.
      ...mistakesIn(kept).filter(({ file }) => apart.get(file) === 'audit'),
      ...mistakesIn(approved).filter(({ file }) => apart.get(file) === 'approval'),
    ];
    // The rest of the tenant's packages have another input.
    if (diagnostics.length === 0)
      diagnostics.push(...mistakesIn(mapped).filter(({ file }) => mapping.has(file)));
    if (diagnostics.length === 0) diagnostics.push(...crossed);
    if (diagnostics.length === 0) diagnostics.push(...missed);
    for (const later of [built, joined]) if (diagnostics.length === 0) diagnostics.push(...mistakesIn(later));
    if (diagnostics.length > 0) throw policyInvalid(diagnostics);
    return moduleIn(await readFile(target), [
      ...[...platform.keys()].map((name) => `platform/${name}`),
      ...[...sources.modules.keys()].map((name) => `tenant/${name}`),
    ]);
  }

  /**
   * What decides, laid out with its tests beside, and nothing yet compiled. Throws `policy_invalid` where the compiler
   * would open what is not the tenant's.
   */
  async withTests<T>(sources: PolicySources, use: (bench: Bench) => Promise<T>): Promise<T> {
    return this.#staged(sources, 'tested', async (stage, run) => {
      const foreign = await foreignSchemas(new Map([...sources.modules, ...sources.tests]), run);
      if (foreign.length > 0) throw policyInvalid(foreign);
      return use({ ...stage, run, platform: platformFor(await this.#platformOnce(), sources) });
    });
  }

  /** What decides, laid out with its data, for OPA's evaluator to be asked within bounds. Of sources that compile. */
  withData<T>(sources: PolicySources, bounds: Bounds, use: (bench: Bench) => Promise<T>): Promise<T> {
    return this.#staged(
      sources,
      'evaluated',
      async (stage, run) =>
        use({ ...stage, run, platform: platformFor(await this.#platformOnce(), sources) }),
      bounds,
    );
  }

  async #staged<T>(
    sources: PolicySources,
    laid: Laid,
    use: (stage: Stage, run: RunOpa) => Promise<T>,
    bounds?: Bounds,
  ): Promise<T> {
    const capabilities = (await this.#capabilitiesTexts())[laid === 'tested' ? 'tested' : 'deciding'];
    const whole = await this.#platformOnce();
    const platform = { ...whole, modules: platformFor(whole, sources) };
    return staged({ platform, capabilities }, sources, laid, (stage) =>
      confined(this.#options.opa, stage.folder, (run) => use(stage, run), bounds),
    );
  }

  #capabilitiesTexts(): Promise<{ deciding: string; tested: string }> {
    this.#capabilities ??= this.#readCapabilities();
    // A machine that could not run it once may the next time.
    this.#capabilities.catch(() => (this.#capabilities = undefined));
    return this.#capabilities;
  }

  async #readCapabilities(): Promise<{ deciding: string; tested: string }> {
    const { code, stdout, stderr } = await confined(this.#options.opa, os.tmpdir(), (run) =>
      run(['capabilities', '--current']),
    );
    if (code !== 0)
      throw new ServiceError('config_invalid', `the OPA compiler does not run: ${stderr.slice(0, 300)}`);
    const current = JSON.parse(stdout) as OpaCapabilities;
    return {
      deciding: JSON.stringify(capabilitiesFor(current)),
      tested: JSON.stringify(capabilitiesForTests(current)),
    };
  }

  /** Everything that the module is made from, the compiler itself, and what it was checked for. No two share the JSON. */
  async #keyOf({ modules, entrypoints, documents, decision, beside }: PolicySources): Promise<string> {
    const { digest } = await this.#platformOnce();
    const { opa } = this.#options;
    const compiler = statSync(opa, { throwIfNoEntry: false });
    const built = [opa, compiler?.size, compiler?.mtimeMs, compiler?.ino];
    const checked = [CHECKS, [...hostBuiltins.keys()], deniedBuiltins];
    const made = [...modules].map(([name, text]) => [name, sha256(text)]);
    return sha256(
      JSON.stringify([built, checked, digest, made, entrypoints, documents, decision, sha256(beside)]),
    );
  }

  #platformOnce(): Promise<Platform> {
    this.#platform ??= readPlatform(this.#options.policies);
    this.#platform.catch(() => (this.#platform = undefined));
    return this.#platform;
  }
}

/** The files of packages with an input of their own. */
const apartIn = ({ modules }: PolicySources): ReadonlyMap<string, ApartPackage> =>
  new Map(
    [...modules].flatMap(([file, text]) => {
      const apart = apartPackageOf(text);
      return apart ? [[file, apart] as const] : [];
    }),
  );

const isMade = (file: string): boolean => file.startsWith('platform/');

const mistakesIn = ({ code, stdout, stderr }: Run): Diagnostic[] =>
  code === 0 ? [] : diagnosticsOf(stdout.trim() ? stdout : stderr);
