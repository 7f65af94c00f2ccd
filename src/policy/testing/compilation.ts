import { mkdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { fileIn, moduleIn } from '../bundle.ts';
import type { Bench } from '../compiler.ts';
import { diagnosticsOf, policyInvalid } from '../diagnostics.ts';
import type { Builtin } from '../engine/builtins/builtin.ts';
import { PolicyModule } from '../engine/module.ts';
import type { PolicySources } from '../sources.ts';
import { Discovery, type TestRule } from './discovery.ts';
import { builtinOfTests } from './earnest.ts';
import { planned } from './planning.ts';
import { sortings } from './sorting.ts';
import { Source } from './source.ts';
import { parseAll } from './syntax.ts';

export interface CompiledTests extends DiscoveredTests {
  /** Undefined if there is nothing to run. */
  readonly module: PolicyModule | undefined;
  /** What the compiler says of tests that it has no plan for, by entry point. */
  readonly refused: ReadonlyMap<string, string>;
}

/** Platform, tenant and tests in one module, each test an entry point. Throws `policy_invalid`. */
export async function compileTests(
  bench: Bench,
  sources: PolicySources,
  builtins: (name: string) => Builtin | undefined = builtinOfTests,
): Promise<CompiledTests> {
  const { tests, texts } = await discover(bench, sources);
  const entrypoints = tests.filter(isAsked).map(entrypointOf);
  if (entrypoints.length === 0) return { tests, texts, module: undefined, refused: new Map() };
  let folder = 'tenant';
  if (texts.size > 0) {
    folder = 'engine';
    await layOut(path.join(bench.folder, folder), [...sources.modules, ...sources.tests, ...texts]);
  }
  const given = { folder, names: namesOf(sources), capabilities: bench.capabilities };
  const { built, refused } = await planned(entrypoints, (some) =>
    build(bench, { ...given, entrypoints: some }),
  );
  return { tests, texts, module: built && PolicyModule.compile(built, builtins), refused };
}

interface DiscoveredTests {
  readonly tests: readonly TestRule[];
  /** Files that are compiled in another form: tests of one name have names of their own, functions are replaced last. */
  readonly texts: ReadonlyMap<string, string>;
}

async function discover(bench: Bench, sources: PolicySources): Promise<DiscoveredTests> {
  const { modules, tests } = sources;
  const discovery = new Discovery();
  const found: TestRule[] = [];
  const texts = new Map<string, string>();
  // OPA finds tests among what decides too.
  const files = [...tests, ...modules].filter(([, text]) => text.includes('test_'));
  const helpers = [...tests].filter(([, text]) => !text.includes('test_') && text.includes('with'));
  const parsed = await parseAll(
    [...files, ...helpers].map(([file]) => `tenant/${file}`),
    bench.run,
  );
  const sorted = await sortings(bench, sources, parsed);
  for (const [file, text] of [...files, ...helpers]) {
    const syntax = parsed.get(`tenant/${file}`);
    if (!syntax) continue;
    const { tests: own, edits } = discovery.of(text, syntax);
    found.push(...own);
    const all = [...edits, ...(sorted.get(file) ?? [])];
    if (all.length > 0) texts.set(file, new Source(text).edited(all));
  }
  return { tests: found, texts };
}

/** What has a value that the engine can be asked for. */
export const isAsked = ({ todo, isFunction }: TestRule): boolean => !todo && !isFunction;

/** As `opa build -e` takes a path. */
export const entrypointOf = ({ path: parts }: TestRule): string => parts.map(encodeURIComponent).join('/');

export async function layOut(folder: string, files: Iterable<readonly [string, string]>): Promise<void> {
  for (const [name, text] of files) {
    const place = path.join(folder, name);
    await mkdir(path.dirname(place), { recursive: true });
    await writeFile(place, text);
  }
}

/** Throws `policy_invalid`, files as the author knows them. */
export async function build(bench: Bench, built: Built): Promise<Uint8Array> {
  return moduleIn(await archiveOf(bench, 'wasm', built), filesOf(bench, built));
}

/** What the module is made from, as JSON: each statement with its place. */
export async function planOf(bench: Bench, built: Built): Promise<string> {
  const archive = await archiveOf(bench, 'plan', built);
  return Buffer.from(await fileIn(archive, 'plan.json', filesOf(bench, built))).toString('utf8');
}

export interface Built {
  readonly entrypoints: readonly string[];
  /** What is compiled beside the platform, in the bench. */
  readonly folder: string;
  /** The files in it. */
  readonly names: readonly string[];
  readonly capabilities: string;
}

const filesOf = ({ platform }: Bench, { folder, names }: Built): string[] => [
  ...[...platform.keys()].map((name) => `platform/${name}`),
  ...names.map((name) => `${folder}/${name}`),
];

/** All that is compiled of a tenant. */
export const namesOf = ({ modules, tests }: PolicySources): string[] => [...modules.keys(), ...tests.keys()];

async function archiveOf({ folder, run }: Bench, target: string, built: Built): Promise<Uint8Array> {
  const archive = path.join(folder, `${built.folder}-${target}.tar.gz`);
  const entries = built.entrypoints.flatMap((entry) => ['-e', entry]);
  const given = ['--capabilities', built.capabilities, 'platform', built.folder];
  const { code, stdout, stderr } = await run(['build', '-t', target, ...entries, '-o', archive, ...given]);
  if (code === 0) return readFile(archive);
  const wrong = diagnosticsOf(stdout.trim() ? stdout : stderr);
  throw policyInvalid(wrong.map((each) => ({ ...each, file: each.file.replace(`${built.folder}/`, '') })));
}
