import { ServiceError } from '../../errors.ts';
import type { Manifest } from '../../tenancy/manifest.ts';
import { MANIFEST } from '../../tenancy/manifest-invalid.ts';
import type { Compiler } from '../compiler.ts';
import type { Diagnostic } from '../diagnostics.ts';
import type { PolicySources } from '../sources.ts';
import { parseAll, type Syntax } from '../testing/syntax.ts';
import { type Declared, declaredIn, type Kind, PLATFORM_ACTIONS } from './declared.ts';
import { constantsIn, type Mention, Reader } from './mentions.ts';
import { near } from './near.ts';
import { DataPaths } from './paths.ts';
import { Names, nameOf, platformTakers } from './places.ts';

/** What is probably a mistake (`warning`), or worth knowing (`note`), and keeps no revision from being made. */
export interface Warning extends Diagnostic {
  readonly severity: 'warning' | 'note';
  /** What was probably meant. */
  readonly suggestion?: string;
}

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
      ...unknown(own, declaredIn(manifest)),
      ...withoutAllow(own),
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

function unknown(modules: Modules, declared: Declared): Warning[] {
  const names = namesIn(modules);
  const looked = Object.entries(modules).flatMap(([file, syntax]) => {
    const own = names.get(file);
    return own && LOOKED_AT.has(own.package[1] ?? '') ? [{ syntax, own }] : [];
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

/** Kinds of which all there are stand in the manifest, so that one that does not is worth knowing. */
const CLOSED: ReadonlySet<Kind> = new Set(['action', 'scope', 'class']);

const WORDS: Readonly<Record<Kind, string>> = {
  action: 'action',
  type: 'type of resources',
  role: 'role',
  group: 'group',
  scope: 'scope',
  principal: 'principal',
  class: 'class of principals',
};

class Told {
  readonly #declared: Declared;
  /** Names are few, and mentions many. */
  readonly #near = new Map<string, string | undefined>();

  constructor(declared: Declared) {
    this.#declared = declared;
  }

  of({ kind, name, isPrefix, location }: Mention): Warning | undefined {
    const known = this.#declared[kind];
    if (isPrefix ? [...known].some((each) => each.startsWith(name)) : known.has(name)) return undefined;
    if (isPrefix) {
      if (kind !== 'action' || known.size === PLATFORM_ACTIONS.length) return undefined;
      return {
        ...warning(location, `no action in ${MANIFEST} begins with ${JSON.stringify(name)}`),
        severity: 'note',
      };
    }
    const key = JSON.stringify([kind, name]);
    if (!this.#near.has(key)) this.#near.set(key, near(name, known));
    const meant = this.#near.get(key);
    const what = kind === 'class' ? 'there is no' : `${MANIFEST} has no`;
    const said = warning(location, `${what} ${WORDS[kind]} ${JSON.stringify(name)}`, meant);
    if (meant !== undefined || kind === 'class') return said;
    // A tenant that declares none leaves them open.
    if (known.size === (kind === 'action' ? PLATFORM_ACTIONS.length : 0)) return undefined;
    return CLOSED.has(kind) ? { ...said, severity: 'note' } : undefined;
  }
}

/** `allow` that is missing denies everything with `policy_undefined`, whatever else the package says. */
function withoutAllow(modules: Modules): Warning[] {
  return [...LOOKED_AT].flatMap((name) => {
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

const fileOf = (file: string): string => file.replace(/^tenant\//, '');

function warning(
  { file, row, col: column }: { file: string; row: number; col: number },
  message: string,
  suggestion?: string,
): Warning {
  return {
    file: fileOf(file),
    line: row,
    column,
    message: suggestion === undefined ? message : `${message}; did you mean ${JSON.stringify(suggestion)}?`,
    severity: 'warning',
    ...(suggestion === undefined ? {} : { suggestion }),
  };
}
