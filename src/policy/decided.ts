import { type Diagnostic, MAX_DIAGNOSTICS } from './diagnostics.ts';
import type { RunOpa } from './opa/child.ts';
import { eachTree, foundAt, packageOf, pathOf, type Tree } from './opa/trees.ts';
import type { PolicySources } from './sources.ts';

/** The package that makes the decision's input of the platform's, by its rule `asked`. */
export const MAPPING = 'mapping';

type Decided = Pick<PolicySources, 'decision' | 'modules'>;

/** Whether a module is of it. Another spelling of it is refused. */
export const isMapping = (text: string): boolean => /^[ \t]*package[ \t]+mapping[ \t]*(?:#.*)?$/m.test(text);

/** The platform's module for a tenant whose decision is a rule of its own choice; undefined for any other. */
export function decidedModule({ decision, modules }: Decided): string | undefined {
  if (decision === undefined) return undefined;
  const isMapped = [...modules.values()].some(isMapping);
  const said = isMapped
    ? `said := value if {\n\tasked := data.${MAPPING}.asked\n\tvalue := ${decision} with input as asked\n}`
    : `said := ${decision}`;
  return `# What tenant.yaml names as its decision, in the place of the package authz.
package mandate.decided

${said}

allow := allowed(said)

deny := member(said, "deny")

challenge := member(said, "challenge")

obligations := member(said, "obligations")

reasons := member(said, "reasons")

# Through arguments, of which the compiler knows no type.
member(value, name) := value[name] if is_object(value)

allowed(value) := value if is_boolean(value)

allowed(value) := value.allow if is_object(value)

# As OPA's plugin for Envoy has it. Whoever has both, and they differ, allows nothing.
allowed(value) := value.allowed if is_object(value)
`;
}

/** The platform's module as it stands where the tenant's decision is not in its package authz. */
export const decidedInstead = (text: string): string =>
  text.replaceAll('data.authz.', 'data.mandate.decided.');

/** Where a decision, or the mapping for it, is not there. */
export async function undecided({ decision, modules }: Decided, run: RunOpa): Promise<Diagnostic[]> {
  if (decision === undefined) return [];
  const path = partsOf(decision);
  const found: Diagnostic[] = [];
  let [isThere, isFunction, maps, mapping] = [false, false, false, ''];
  const failed = await eachTree(modules, run, (file, text, tree) => {
    const of = pathOf(packageOf(tree)).slice(1);
    if (isPrefix(path, of)) isThere = true;
    for (const { name, takes } of rulesOf(tree)) {
      if (of.length === 1 && of[0] === MAPPING && name[0] === 'asked') maps = true;
      const whole = [...of, ...name];
      if (!isPrefix(path, whole) && !isPrefix(whole, path)) continue;
      isThere = true;
      if (takes && whole.length <= path.length) isFunction = true;
    }
    if (of.length !== 1 || of[0] !== MAPPING) return;
    mapping = file;
    if (!isMapping(text))
      found.push(foundAt(file, text, 'package', `write "package ${MAPPING}" on a line of its own`));
  });
  if (failed) return failed.slice(0, MAX_DIAGNOSTICS);
  if (!isThere) found.push(ofManifest(`there is no rule and no package ${decision}`));
  else if (isFunction) found.push(ofManifest(`${decision} is a function`));
  if (mapping !== '' && !maps)
    found.push({
      file: mapping,
      line: 1,
      message: `the package ${MAPPING} defines no asked, so nothing is decided`,
    });
  return found;
}

const ofManifest = (message: string): Diagnostic => ({
  file: 'tenant.yaml',
  line: 0,
  message: `decision: ${message}`,
});

const isPrefix = (head: readonly string[], path: readonly string[]): boolean =>
  head.length <= path.length && head.every((part, at) => part === path[at]);

/** The names in `data.a["b-c"].d`. */
export function partsOf(reference: string): string[] {
  return [...reference.matchAll(/\.([A-Za-z_]\w*)|\["([^"]+)"\]/g)].map(
    ([, name, text]) => name ?? text ?? '',
  );
}

function* rulesOf(tree: Tree): Generator<{ readonly name: readonly string[]; readonly takes: boolean }> {
  for (const rule of Array.isArray(tree['rules']) ? (tree['rules'] as unknown[]) : []) {
    const { head } = rule as { head: { ref?: unknown; name?: string; args?: unknown } };
    const [first = head.name ?? '', ...rest] = pathOf(head.ref);
    yield { name: [first, ...rest], takes: head.args !== undefined };
  }
}
