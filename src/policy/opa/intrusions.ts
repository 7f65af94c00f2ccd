import { type Diagnostic, MAX_DIAGNOSTICS } from '../diagnostics.ts';
import type { PolicySources } from '../sources.ts';
import type { RunOpa } from './child.ts';
import { eachTree, foundAt, isData, packageOf, pathOf, type Tree } from './trees.ts';

/**
 * Where tests would test something else than what decides. A test file declares no package of the platform's and adds
 * to no rule that decides, and what decides reads nothing that a test file alone defines: else a test could pass by
 * what no decision ever sees.
 */
export async function intrusions(
  { modules, tests, data }: Pick<PolicySources, 'modules' | 'tests' | 'data'>,
  run: RunOpa,
): Promise<Diagnostic[]> {
  if (tests.size === 0) return [];
  const found: Diagnostic[] = [];
  const deciding = new Map<string, Named>();
  const reads: { file: string; text: string; path: Path }[] = [];
  const tested: Named[] = [];
  const failed =
    (await eachTree(modules, run, (file, text, tree) => {
      for (const path of rulesOf(tree)) deciding.set(path.join('.'), { file, text, path });
      for (const path of readsOf(tree)) reads.push({ file, text, path });
    })) ??
    (await eachTree(tests, run, (file, text, tree) => {
      if (pathOf(packageOf(tree))[1] === 'mandate')
        found.push(foundAt(file, text, 'package', "a test's package is not one of the platform's"));
      for (const path of rulesOf(tree)) tested.push({ file, text, path });
    }));
  if (failed) return failed;
  const decides = [...deciding.values()];
  for (const { file, text, path } of tested) {
    if (found.length >= MAX_DIAGNOSTICS) break;
    const other = decides.find((each) => overlap(each.path, path));
    const name = path.join('.');
    if (other)
      found.push(
        foundAt(
          file,
          text,
          name,
          `${name} is a rule of ${other.file}; a test file adds to no rule that decides`,
        ),
      );
  }
  const roots = new Set(Object.keys(JSON.parse(data) as object));
  for (const { file, text, path } of reads) {
    if (found.length >= MAX_DIAGNOSTICS) break;
    if (roots.has(path[1] ?? '') || decides.some((each) => overlap(each.path, path))) continue;
    const other = tested.find((each) => overlap(each.path, path));
    const name = path.join('.');
    if (other)
      found.push(foundAt(file, text, name, `${name} is defined by ${other.file} alone, which is a test`));
  }
  return unique(found);
}

type Path = readonly string[];

interface Named {
  readonly file: string;
  readonly text: string;
  readonly path: Path;
}

/** Whether one is the other, or holds it. */
const overlap = (one: Path, other: Path): boolean =>
  one.every((part, at) => at >= other.length || part === other[at]);

/** Package and name of each rule; what a reference in its head says beyond the name is part of that rule. */
function rulesOf(tree: Tree): Path[] {
  const rules = (tree as { rules?: readonly { head?: { name?: unknown; ref?: unknown } }[] }).rules ?? [];
  const prefix = pathOf(packageOf(tree));
  return rules.map(({ head }) => [...prefix, pathOf(head?.ref)[0] ?? String(head?.name)]);
}

/** Every reference into `data`, as far as it is constant. */
function* readsOf(node: unknown): Generator<Path> {
  if (typeof node !== 'object' || node === null) return;
  const { type, value } = node as { type?: unknown; value?: unknown };
  if (type === 'ref' && Array.isArray(value) && isData(value[0]) && value.length > 1) yield pathOf(value);
  for (const [name, child] of Object.entries(node)) if (name !== 'package') yield* readsOf(child);
}

const unique = (found: readonly Diagnostic[]): Diagnostic[] => [
  ...new Map(found.map((each) => [JSON.stringify(each), each])).values(),
];
