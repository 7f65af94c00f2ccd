import { type Diagnostic, MAX_DIAGNOSTICS, policyInvalid } from './diagnostics.ts';
import type { RunOpa } from './opa/child.ts';
import { eachTree, packageOf, pathOf, type Tree } from './opa/trees.ts';
import type { PolicySources } from './sources.ts';

/** How many entry points a tenant's own come to, with the rules and packages below them. */
const MAX_ENTRYPOINTS = 256;

/** The compiler makes entry points of rules and packages alone, so a data document has a rule of the platform's. */
const ofDocument = (path: string): string => `at_${Buffer.from(path).toString('hex')}`;

const asDocument = (path: string): string => `mandate/served/${ofDocument(path)}`;

const refTo = (path: string): string =>
  `data${path
    .split('/')
    .map((part) => `[${JSON.stringify(part)}]`)
    .join('')}`;

/** The platform's module for data documents that a tenant serves; undefined where it serves none. */
export function servedModule({ documents }: Pick<PolicySources, 'documents'>): string | undefined {
  if (documents.length === 0) return undefined;
  const rules = documents.map((path) => `${ofDocument(path)} := ${refTo(path)}\n`);
  return `# What tenant.yaml names under entrypoints, and documents have.\npackage mandate.served\n\n${rules.join('\n')}`;
}

/**
 * What the compiler makes entry points of: what the tenant declares, and each rule and package below, so that a rule is
 * asked by itself and not by all of its package. Throws `policy_invalid`.
 */
export async function servedEntries(
  { entrypoints, documents, modules }: Pick<PolicySources, 'entrypoints' | 'documents' | 'modules'>,
  run: RunOpa,
): Promise<string[]> {
  if (entrypoints.length === 0) return [];
  const served = new Set(entrypoints.filter((path) => !documents.includes(path)));
  const failed = await eachTree(modules, run, (_file, _text, tree) => {
    for (const path of pathsIn(tree))
      if (entrypoints.some((each) => path.startsWith(`${each}/`))) served.add(path);
  });
  if (failed) throw policyInvalid(failed.slice(0, MAX_DIAGNOSTICS));
  if (served.size > MAX_ENTRYPOINTS) throw policyInvalid([tooMany(served.size)]);
  return [...served, ...documents.map(asDocument)];
}

const tooMany = (size: number): Diagnostic => ({
  file: 'tenant.yaml',
  line: 0,
  message: `entrypoints: they come to ${size} rules and packages, and may to ${MAX_ENTRYPOINTS}`,
});

/** Rules and the packages that they are in; functions have no value. */
function* pathsIn(tree: Tree): Generator<string> {
  const of = pathOf(packageOf(tree)).slice(1);
  for (const [at] of of.entries()) yield of.slice(0, at + 1).join('/');
  for (const rule of Array.isArray(tree['rules']) ? (tree['rules'] as unknown[]) : []) {
    const { head } = rule as { head: { ref?: unknown; name?: string; args?: unknown } };
    if (head.args) continue;
    const [first] = pathOf(head.ref);
    const name = first ?? head.name;
    if (name !== undefined && isSayable(name)) yield [...of, name].join('/');
  }
}

/** An entry point's parts are told apart by slashes. */
const isSayable = (name: string): boolean => !name.includes('/');

/** By which entry point a path is answered, and what of its value it names. */
export function servedAt(
  path: string,
  entrypoints: { has(path: string): boolean },
): { readonly entryPoint: string; readonly below: readonly string[] } {
  const parts = path.split('/');
  for (let length = parts.length; length > 0; length -= 1) {
    const head = parts.slice(0, length).join('/');
    const below = parts.slice(length);
    if (entrypoints.has(asDocument(head))) return { entryPoint: asDocument(head), below };
    if (entrypoints.has(head)) return { entryPoint: head, below };
  }
  return { entryPoint: path, below: [] };
}
