import { type Diagnostic, MAX_DIAGNOSTICS } from './diagnostics.ts';
import type { RunOpa } from './opa/child.ts';
import { textsOf } from './opa/platform.ts';
import { describeMixed, Replacements } from './opa/replacements.ts';
import { eachTree, foundAt, isData, packageOf, pathOf } from './opa/trees.ts';
import { apartPackageOf, apartPackages, type PolicySources } from './sources.ts';

const TENANT_ROOTS: ReadonlySet<string> = new Set(['authz', 'delegation', ...apartPackages]);
/** Where a tenant's decision is a rule of its own, all but these are its packages. */
const NEVER: ReadonlySet<string> = new Set(['mandate', 'system']);

/**
 * Where a tenant's modules leave their own packages: they declare only `authz`, `delegation`, `audit` and `approval` (and
 * below), and of the platform they read only `data.mandate.lib`. OPA itself parses; what is looked at is its syntax tree, so no
 * spelling of a reference gets past (`data["mandate"]`, `import`, `with`). A reference into `data` that is not
 * spelled out (`data`, `data[x]`) could reach anything and is refused too.
 */
export async function crossings(
  { modules, decision }: Pick<PolicySources, 'modules' | 'decision'>,
  platform: ReadonlyMap<string, Buffer>,
  run: RunOpa,
): Promise<Diagnostic[]> {
  const found: Diagnostic[] = [];
  const replacements = new Replacements();
  const failed = await eachTree(modules, run, (file, text, tree) => {
    replacements.look(file, tree);
    const path = pathOf(packageOf(tree));
    const root = path[1] ?? '';
    if (decision !== undefined && NEVER.has(root))
      found.push(foundAt(file, text, 'package', `the package ${root} is not a tenant's`));
    else if (decision === undefined && !TENANT_ROOTS.has(root))
      found.push(
        foundAt(
          file,
          text,
          'package',
          `a tenant's package is authz, delegation, audit or approval, or below one of them, unless tenant.yaml names another decision`,
        ),
      );
    const apart = apartPackages.find((each) => each === path[1]);
    if (apart && apartPackageOf(text) !== apart)
      found.push(foundAt(file, text, 'package', `write "package ${apart}" on a line of its own`));
    for (const crossed of walk(tree, true)) {
      // Each is looked up in the text.
      if (found.length >= MAX_DIAGNOSTICS) break;
      found.push(foundAt(file, text, crossed.length > 0 ? crossed : 'data', describeCrossing(crossed)));
    }
  });
  return failed ?? [...found, ...(await mixedUp(replacements, modules, platform, run))];
}

/** What the compiler would make something else of than OPA's evaluator does. */
async function mixedUp(
  replacements: Replacements,
  modules: ReadonlyMap<string, string>,
  platform: ReadonlyMap<string, Buffer>,
  run: RunOpa,
): Promise<Diagnostic[]> {
  if (!replacements.any) return [];
  const failed = await eachTree(textsOf(platform), run, (file, _text, tree) =>
    replacements.look(file, tree, false),
  );
  if (failed) return failed;
  const mixed = [...replacements.mixed()].slice(0, MAX_DIAGNOSTICS);
  return mixed.map((each) => describeMixed(each, modules.get(each.file) ?? ''));
}

const describeCrossing = (crossed: string): string =>
  crossed === ''
    ? 'data is read only by its full name, such as data.authz.roles'
    : `data.${crossed} is the platform's; a policy may read data.mandate.lib`;

/** Yields the second part of each reference into the platform, or '' for one into anything. */
function* walk(node: unknown, isModule = false): Generator<string> {
  if (Array.isArray(node)) {
    for (const item of node) yield* walk(item);
    return;
  }
  if (typeof node !== 'object' || node === null) return;
  const { type, value } = node as { type?: unknown; value?: unknown };
  if (type === 'var' && value === 'data') {
    yield '';
    return;
  }
  if (type === 'ref' && Array.isArray(value) && isData(value[0])) {
    yield* crossingOf(value);
    for (const part of value.slice(1)) yield* walk(part);
    return;
  }
  for (const [name, child] of Object.entries(node)) {
    // The package's own path begins with data and was looked at already.
    if (isModule && name === 'package') continue;
    yield* walk(child);
  }
}

function* crossingOf(ref: readonly unknown[]): Generator<string> {
  const path = pathOf(ref);
  const [, root, second] = path;
  if (root === undefined) yield '';
  else if (root === 'mandate' && second !== 'lib') yield `mandate${second === undefined ? '' : `.${second}`}`;
}
