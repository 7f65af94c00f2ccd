import { isUtf8 } from 'node:buffer';
import { isTable } from '../tenancy/folder/names.ts';
import { composeData } from '../tenancy/folder/parser.ts';
import type { TenantFiles } from '../tenancy/folder/read.ts';
import type { Manifest } from '../tenancy/manifest.ts';
import { MANIFEST } from '../tenancy/manifest-invalid.ts';
import { type Diagnostic, policyInvalid } from './diagnostics.ts';

/** One file of the list that a revision is made from. */
export interface SourceFile {
  /** Relative to the tenant's folder. */
  readonly path: string;
  readonly bytes: Uint8Array;
}

/** Everything of a tenant that goes into its revision. */
export interface PolicySources {
  readonly tenant: string;
  /** The one list: modules, tests and data documents, in the order of their paths. The rest is read from it. */
  readonly files: readonly SourceFile[];
  /** Rego by path, tests left out: what decides. */
  readonly modules: ReadonlyMap<string, string>;
  /** `*_test.rego`: what tests it, and is never compiled into it. */
  readonly tests: ReadonlyMap<string, string>;
  /** `*_test.yaml`: tables of requests and decisions, which test it too. */
  readonly tables: ReadonlyMap<string, string>;
  /** A reference to what decides, in the place of the package authz, such as `data.shop.authz.allow`. */
  readonly decision?: string | undefined;
  /** Entry points beside the platform's. */
  readonly entrypoints: readonly string[];
  /** Of them, those at which data documents have something. */
  readonly documents: readonly string[];
  /** JSON text of `data`: the data documents and what the manifest declares. */
  readonly data: string;
  /** JSON text: of that, what lies where the tenant's packages are. */
  readonly beside: string;
}

/** The packages with an input of their own, and an entry point where a tenant has one. */
export const apartPackages = ['audit', 'approval'] as const;
export type ApartPackage = (typeof apartPackages)[number];

/** Of which of them a module is, or below which. Another spelling of it is refused (`boundary.ts`). */
export const apartPackageOf = (text: string): ApartPackage | undefined =>
  /^[ \t]*package[ \t]+(audit|approval)\b/m.exec(text)?.[1] as ApartPackage | undefined;

/** Whether a module is of the package that keeps things out of records. */
const isOfAudit = (text: string): boolean => apartPackageOf(text) === 'audit';

/** Whether files as they were read, which may not compile, have such a module. */
export const keepsOut = ({ files }: Pick<TenantFiles, 'files'>): boolean =>
  [...files].some(
    ([path, bytes]) => path.endsWith('.rego') && !isTest(path) && isOfAudit(bytes.toString('utf8')),
  );

/** The one place that tells a test from what decides. */
export const isTest = (path: string): boolean => path.endsWith('_test.rego') || isTable(path);

/** Whether anything tests it. */
export const hasTests = ({ tests, tables }: Pick<PolicySources, 'tests' | 'tables'>): boolean =>
  tests.size + tables.size > 0;

const MAX_TABLES = 1_000;
/** Of all of them together, in characters. */
const MAX_TABLED = 1024 * 1024;

/** What of the files as they were read is the tenant's policy. Throws `policy_invalid`, naming each file at fault. */
export async function sourcesOf(
  read: Pick<TenantFiles, 'files' | 'faults'>,
  manifest: Pick<Manifest, 'id' | 'actions' | 'entrypoints' | 'decision'>,
): Promise<PolicySources> {
  const wrong: Diagnostic[] = read.faults
    .filter(({ file }) => file !== MANIFEST)
    .map(({ file, problem }) => ({ file, line: 0, message: problem }));
  const modules = new Map<string, string>();
  const tests = new Map<string, string>();
  const tables = new Map<string, string>();
  const documents: (readonly [string, string])[] = [];
  const files = [...read.files].map(([path, bytes]) => ({ path, bytes }));
  for (const { path, bytes } of files) {
    const line = lineNotUtf8(bytes);
    if (line > 0) wrong.push({ file: path, line, message: 'this is not UTF-8' });
    const text = bytes.toString('utf8');
    if (path.endsWith('.rego')) (isTest(path) ? tests : modules).set(path, text);
    else if (isTable(path)) tables.set(path, text);
    else documents.push([path, text]);
  }
  const tooMany = tables.size > MAX_TABLES ? [...tables.keys()][MAX_TABLES] : undefined;
  if (tooMany !== undefined)
    wrong.push({ file: tooMany, line: 0, message: `more than ${MAX_TABLES} tables of tests` });
  if ([...tables.values()].reduce((sum, { length }) => sum + length, 0) > MAX_TABLED)
    wrong.push({
      file: [...tables.keys()].at(-1) ?? '',
      line: 0,
      message: `more than ${MAX_TABLED} characters of tests in all`,
    });
  if (wrong.length > 0) throw policyInvalid(wrong);
  const composed = await composeData(
    documents,
    { tenant: { actions: manifest.actions } },
    {
      paths: manifest.entrypoints,
      isAnywhere: manifest.decision !== undefined,
    },
  );
  if ('problem' in composed)
    throw policyInvalid([{ file: composed.file, line: composed.line, message: composed.problem }]);
  return {
    tenant: manifest.id,
    files,
    modules,
    tests,
    tables,
    decision: manifest.decision,
    entrypoints: manifest.entrypoints,
    documents: composed.there,
    data: composed.data,
    beside: composed.beside,
  };
}

/** The first line that is not UTF-8, counted from 1; 0 if all are. No sequence of more than a byte holds a line's end. */
function lineNotUtf8(bytes: Buffer): number {
  if (isUtf8(bytes)) return 0;
  let [line, start] = [1, 0];
  for (;;) {
    const end = bytes.indexOf(0x0a, start);
    if (end < 0 || !isUtf8(bytes.subarray(start, end))) return line;
    [line, start] = [line + 1, end + 1];
  }
}
