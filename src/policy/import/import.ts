import { ServiceError } from '../../errors.ts';
import { partsOf } from '../decided.ts';
import { apartPackages, isTest } from '../sources.ts';
import { type Module, readModules, whyDenied } from './modules.ts';
import { type Refusal, readSource } from './reading.ts';
import { SIGNATURES, verify } from './signature.ts';
import {
  BUNDLE_MANIFEST,
  type BundleManifest,
  isOwned,
  readBundleManifest,
  sortFiles,
  WRITTEN,
} from './sorting.ts';
import { denialsText, IMPORTED, manifestText, mappingText, tableText } from './written.ts';

export interface ImportOptions {
  readonly place: string;
  readonly opa: string;
  readonly id: string;
  /** SHA-256 of the caller's secret, as hex. */
  readonly digest: string;
  /** A reference such as `data.shop.authz.allow`; undefined: the one that there is. */
  readonly decision: string | undefined;
  /** A reference to a set of denials, in the place of it: what has none is allowed. */
  readonly denials: string | undefined;
  /** PEM. */
  readonly verificationKey: string | undefined;
  readonly skipsVerification: boolean;
  readonly isV0: boolean;
  readonly without: readonly string[];
}

/** What of a repository can be a tenant's folder, and what cannot. */
export interface Imported {
  /** To be written, by path; empty where anything was refused. */
  readonly files: ReadonlyMap<string, string | Buffer>;
  /** By the path that it had: the one that it has. */
  readonly taken: readonly { readonly file: string; readonly as: string }[];
  readonly refused: readonly Refusal[];
  readonly left: readonly Refusal[];
  readonly decision: string;
  readonly isVerified: boolean;
}

/** Packages that mean something here, whoever wrote them. */
const CLASHING: ReadonlySet<string> = new Set(['delegation', 'mapping', IMPORTED, ...apartPackages]);
const MAX_SERVED = 200;

/**
 * Reads a repository or a bundle, and says what a tenant's folder would have of it. Where anything that decides is refused
 * there is none: to leave out a rule that denies would allow more. Throws `invalid_request`.
 */
export async function importFrom(options: ImportOptions): Promise<Imported> {
  const source = await readSource(options.place);
  const manifest = bundleManifest(source.files.get(BUNDLE_MANIFEST));
  const isV0 = options.isV0 || manifest.isV0;
  const isVerified = options.verificationKey !== undefined;
  if (options.verificationKey !== undefined) await verify(source, options.verificationKey, options.opa, isV0);
  else if (source.files.has(SIGNATURES) && !options.skipsVerification)
    throw new ServiceError(
      'invalid_request',
      'it is signed: give --verification-key, or --skip-verification',
    );
  const { rego, data, left, ...sorted } = sortFiles(source.files, options.without);
  const read = await readModules(rego, { opa: options.opa, isV0 });
  const modules = read.modules.map((each) => ({ ...each, as: nameOf(each) }));
  const refused = [
    ...source.refused,
    ...sorted.refused,
    ...read.refused,
    ...modules.flatMap((each) => problemOf(each, manifest)),
    ...[...data.keys()].flatMap((file) => misplaced(file, manifest)),
    ...twice(modules.map(({ as }) => as)),
  ].sort((a, b) => (a.file < b.file ? -1 : 1));
  const taken = [
    ...modules.map(({ file, as }) => ({ file, as })),
    ...[...data.keys()].map((file) => ({ file, as: file })),
  ].filter(({ file }) => !refused.some((each) => each.file === file));
  const told = { taken, refused, left: [...source.left, ...left], isVerified };
  if (refused.length > 0) return { ...told, files: new Map(), decision: '' };
  const deciding = modules.filter(({ as }) => !isTest(as));
  const { denials } = options;
  const meant = denials ?? options.decision;
  // It may go on into a rule's value, and may be a package.
  const isThere = [...rulesOf(deciding)].some(
    (each) => isWithin(each, meant ?? '') || isWithin(meant ?? '', each),
  );
  if (meant !== undefined && !isThere)
    throw new ServiceError(
      'invalid_request',
      `there is no rule ${meant}; there are ${listed(rulesOf(deciding))}`,
    );
  const decision = denials === undefined ? (meant ?? theOne(deciding, manifest)) : `data.${IMPORTED}`;
  const reads = [...new Set(deciding.flatMap((each) => each.reads))].sort();
  const files = new Map<string, string | Buffer>([
    [WRITTEN[0], manifestText({ ...options, decision, entrypoints: served(deciding, decision) })],
    [WRITTEN[1], mappingText(decision, reads)],
    [WRITTEN[2], tableText()],
    ...(denials === undefined ? [] : [[WRITTEN[3], denialsText(denials)] as const]),
    ...modules.map(({ as, text }) => [as, text] as const),
    ...data,
  ]);
  return { ...told, files, decision };
}

function bundleManifest(bytes: Buffer | undefined): BundleManifest {
  try {
    return readBundleManifest(bytes);
  } catch (cause) {
    throw new ServiceError('invalid_request', `${BUNDLE_MANIFEST} is no JSON`, { cause });
  }
}

/** A file of tests that is not called one would be part of what decides. */
function nameOf({ file, rules }: Module): string {
  const base = file.slice(file.lastIndexOf('/') + 1);
  const isOne = rules.some((each) => each.startsWith('test_')) && base.startsWith('test_');
  return isTest(file) || !isOne ? file : file.replace(/\.rego$/, '_test.rego');
}

function problemOf(
  { file, as, package: path, denied }: Module & { as: string },
  { roots }: BundleManifest,
): Refusal[] {
  const [root = ''] = path;
  const why: string[] = [];
  if (root === 'mandate') why.push("the package mandate is the platform's");
  if (root === 'system') why.push("the package system is OPA's own, for its server; nothing here asks it");
  if (CLASHING.has(root))
    why.push(`the package ${root} has a meaning here: rename it, or leave it out with --without`);
  if (denied.length > 0 && !isTest(as)) why.push(whyDenied(denied));
  if (!isTest(as) && !isOwned(path.join('/'), roots))
    why.push(`the package ${path.join('.')} is outside of the roots of ${BUNDLE_MANIFEST}`);
  return why.map((each) => ({ file, why: each }));
}

function misplaced(file: string, { roots }: BundleManifest): Refusal[] {
  const folder = file.split('/').slice(0, -1).join('/');
  const [root = ''] = folder.split('/');
  if (root === 'mandate' || root === 'system') return [{ file, why: `data.${root} is not the tenant's` }];
  // What is at the root may be of any of them.
  if (folder === '' || isOwned(folder, roots) || roots.some((each) => each.startsWith(`${folder}/`)))
    return [];
  return [{ file, why: `data.${folder.replaceAll('/', '.')} is outside of the roots of ${BUNDLE_MANIFEST}` }];
}

const twice = (names: readonly string[]): Refusal[] =>
  names.flatMap((file, at) =>
    names.indexOf(file) < at ? [{ file, why: 'two files would have this name' }] : [],
  );

/** What the author meant where there is one rule that it can be. */
function theOne(modules: readonly Module[], { entrypoints }: BundleManifest): string {
  if (entrypoints.length === 1) return referenceTo(String(entrypoints[0]).split('/'));
  const found = new Set(
    modules.flatMap(({ package: path, rules }) =>
      rules.includes('allow') ? [referenceTo([...path, 'allow'])] : [],
    ),
  );
  const [one] = found;
  if (found.size === 1 && one !== undefined) return one;
  const others = rulesOf(modules);
  throw new ServiceError(
    'invalid_request',
    `which rule decides? Give --decision, or --denials for a set of them; there are ${listed(found.size > 0 ? found : others)}`,
  );
}

const isWithin = (inner: string, outer: string): boolean =>
  inner === outer || (inner.startsWith(outer) && /^[.[]/.test(inner.slice(outer.length)));

const rulesOf = (modules: readonly Module[]): Set<string> =>
  new Set(modules.flatMap(({ package: path, rules }) => rules.map((each) => referenceTo([...path, each]))));

const listed = (references: ReadonlySet<string>): string =>
  [...references].sort().slice(0, 20).join(', ') || 'none';

const referenceTo = (path: readonly string[]): string =>
  path.reduce(
    (ref, part) => (/^[A-Za-z_]\w*$/.test(part) ? `${ref}.${part}` : `${ref}[${JSON.stringify(part)}]`),
    'data',
  );

/** Callers of OPA's go on asking for what they did; of a large repository for the decision alone. */
function served(modules: readonly Module[], decision: string): string[] {
  const roots = [...new Set(modules.map(({ package: [root = ''] }) => root))].filter((each) =>
    /^[\w-]+$/.test(each),
  );
  const size = modules.reduce((sum, { rules, package: path }) => sum + new Set(rules).size + path.length, 0);
  return size <= MAX_SERVED && roots.length <= 64 ? roots.sort() : [partsOf(decision).join('/')];
}
