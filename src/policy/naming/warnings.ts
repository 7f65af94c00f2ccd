import { ServiceError } from '../../errors.ts';
import type { Manifest } from '../../tenancy/manifest.ts';
import type { Compiler } from '../compiler.ts';
import { MAPPING } from '../decided.ts';
import type { PolicySources } from '../sources.ts';
import { parseAll, type Syntax } from '../testing/syntax.ts';
import { type Declared, declaredIn } from './declared.ts';
import { Reader } from './mentions.ts';
import { near } from './near.ts';
import { DataPaths } from './paths.ts';
import { Names, nameOf, platformTakers } from './places.ts';
import { fileOf, Told, type Warning, warning } from './told.ts';

import { constantsIn } from './values.ts';

export type { Warning } from './told.ts';

/** How many are told; a policy with more has one cause for most. */
const MAX_WARNINGS = 100;
/** Where they stand in the compiler's folder. */
const LIBRARY = 'platform/lib.rego';
/** Their packages' input is the tenant's principals and what they do. */
const LOOKED_AT: ReadonlySet<string> = new Set(['authz', 'delegation', 'approval']);

/**
 * What a tenant's Rego names and neither its manifest nor its data has, by OPA's own syntax tree. Principals may be
 * registered, and groups and roles come from identity providers: those are told only where they are near to one that is
 * declared. For sources that compile.
 */
export async function warningsOf(
  compiler: Compiler,
  sources: PolicySources,
  manifest: Manifest,
): Promise<Warning[]> {
  try {
    return await lookedAt(compiler, sources, manifest);
  } catch (error) {
    // It compiles, and its tree with all places is too much: the parser is bounded, and so is a walk's depth.
    const isTooMuch =
      error instanceof RangeError || (error instanceof ServiceError && error.code === 'policy_invalid');
    if (!isTooMuch) throw error;
    const message = 'it is too large or too deep for its names to be looked at';
    return [{ file: '.', line: 0, message, severity: 'note' }];
  }
}

function lookedAt(compiler: Compiler, sources: PolicySources, manifest: Manifest): Promise<Warning[]> {
  return compiler.withTests(sources, async ({ run }) => {
    const files = [...sources.modules.keys()].map((file) => `tenant/${file}`);
    const parsed = await parseAll([...files, LIBRARY], run);
    const { [LIBRARY]: library, ...own } = Object.fromEntries(parsed);
    const found = [
      ...astray(own, library, sources),
      ...unknown(own, declaredIn(manifest), lookedAtIn(sources)),
      ...withoutAllow(own, allowingIn(sources)),
    ];
    found.sort(
      (a, b) => (a.file < b.file ? -1 : Number(a.file > b.file)) || a.line - b.line || col(a) - col(b),
    );
    return [...new Map(found.map((each) => [JSON.stringify(each), each])).values()].slice(0, MAX_WARNINGS);
  });
}

const col = ({ column = 0 }: Warning): number => column;

type Modules = Readonly<Record<string, Syntax>>;

/** By file, what the names in a module mean. */
function namesIn(modules: Modules): ReadonlyMap<string, Names> {
  const rules = new Map<string, Set<string>>();
  const packageOf = ({ package: { path } }: Syntax): string =>
    path.map(({ value }) => String(value)).join('.');
  for (const syntax of Object.values(modules)) {
    const known = rules.get(packageOf(syntax)) ?? new Set();
    for (const { head } of syntax.rules ?? []) known.add(nameOf(head));
    rules.set(packageOf(syntax), known);
  }
  return new Map(
    Object.entries(modules).map(([file, syntax]) => [
      file,
      new Names(syntax, rules.get(packageOf(syntax)) ?? new Set()),
    ]),
  );
}

function astray(modules: Modules, library: Syntax | undefined, { data }: PolicySources): Warning[] {
  const paths = new DataPaths(JSON.parse(data));
  const names = namesIn(library ? { ...modules, [LIBRARY]: library } : modules);
  for (const [file, { package: own }] of names)
    for (const { head } of (file === LIBRARY ? library : modules[file])?.rules ?? [])
      paths.add([...own, nameOf(head)]);
  return Object.entries(modules).flatMap(([file, syntax]) => {
    const own = names.get(file);
    return own
      ? [...paths.astray(syntax, own)].map(({ location, path, known }) => {
          const meant = near(path.at(-1) ?? '', known);
          const suggestion = meant && [...path.slice(0, -1), meant].join('.');
          const message = `${path.join('.')} is neither in a package nor in a data document, so it is undefined`;
          return warning(location, message, suggestion);
        })
      : [];
  });
}

/** Where another package decides, its input is not the platform's. */
const lookedAtIn = ({ decision }: PolicySources): ReadonlySet<string> =>
  decision === undefined ? LOOKED_AT : new Set([MAPPING, 'delegation', 'approval']);

const allowingIn = ({ decision }: PolicySources): readonly string[] =>
  [...LOOKED_AT].filter((name) => decision === undefined || name !== 'authz');

function unknown(modules: Modules, declared: Declared, packages: ReadonlySet<string>): Warning[] {
  const names = namesIn(modules);
  const looked = Object.entries(modules).flatMap(([file, syntax]) => {
    const own = names.get(file);
    return own && packages.has(own.package[1] ?? '') ? [{ syntax, own }] : [];
  });
  const constants = new Map(looked.flatMap(({ syntax, own }) => constantsIn(syntax, own)));
  const takers = platformTakers();
  // What its arguments are, a function says itself, and it may stand after those who call it.
  for (const { syntax, own } of looked) new Reader(own, constants, takers).read(syntax);
  const told = new Told(declared);
  return looked.flatMap(({ syntax, own }) => {
    const reader = new Reader(own, constants, takers);
    reader.read(syntax);
    return reader.mentions.flatMap((mention) => told.of(mention) ?? []);
  });
}

/** `allow` that is missing denies everything with `policy_undefined`, whatever else the package says. */
function withoutAllow(modules: Modules, packages: readonly string[]): Warning[] {
  return packages.flatMap((name) => {
    const of = Object.entries(modules).filter(
      ([
        ,
        {
          package: { path },
        },
      ]) => path[1]?.value === name,
    );
    const [first] = of;
    const allows = of.some(
      ([
        ,
        {
          package: { path },
          rules = [],
        },
      ]) => path.length === 2 && rules.some(({ head }) => nameOf(head) === 'allow'),
    );
    if (!first || allows) return [];
    const message = `the package ${name} defines no allow, so all that it is asked is denied`;
    return [{ file: fileOf(first[0]), line: 1, message, severity: 'warning' as const }];
  });
}
