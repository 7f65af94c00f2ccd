import { ServiceError } from '../../errors.ts';
import { sha256 } from '../bundle.ts';
import { isTest, type PolicySources, type SourceFile } from '../sources.ts';

/** A module begins with its package, behind comments at most. */
const PACKAGE = /^(?:\s|#[^\n]*\n)*package[ \t]+([^\s#;]+)/;

/** As it is written: `authz.documents`. Empty where it cannot be told. */
export const packageIn = (text: string): string => PACKAGE.exec(text)?.[1] ?? '';

const isWithin = (name: string, only: string): boolean => name === only || name.startsWith(`${only}.`);

/** Packages that are not the same in both, in order. */
export function differingPackages(one: PolicySources, other: PolicySources): string[] {
  const [ours, theirs] = [packagesOf(one), packagesOf(other)];
  const names = new Set([...ours.keys(), ...theirs.keys()]);
  return [...names].filter((name) => ours.get(name) !== theirs.get(name)).sort();
}

/** Of each package what its modules say, whatever files they stand in. */
function packagesOf({ modules }: PolicySources): Map<string, string> {
  const byName = Map.groupBy(modules.values(), packageIn);
  return new Map([...byName].map(([name, texts]) => [name, texts.map(sha256).sort().join(' ')]));
}

/**
 * The base, with a package, and those below it, as the candidate has them; data and entry points are the base's. Without
 * tests: each was tested by its own. Throws `invalid_request` where neither has such a package.
 */
export function withPackage(base: PolicySources, candidate: PolicySources, only: string): PolicySources {
  const isOf = (path: string, { modules }: PolicySources): boolean =>
    isWithin(packageIn(modules.get(path) ?? ''), only);
  const taken = candidate.files.filter(({ path }) => isOf(path, candidate));
  const left = base.files.filter(({ path }) => !isTest(path) && !isOf(path, base));
  if (taken.length === 0 && left.length === base.files.filter(({ path }) => !isTest(path)).length)
    throw new ServiceError('invalid_request', `neither revision has a package ${only}`);
  const paths = new Set(left.map(({ path }) => path));
  // A file's name is for people alone.
  const renamed = taken.map(({ path, bytes }): SourceFile => {
    let name = path;
    while (paths.has(name)) name = `candidate/${name}`;
    paths.add(name);
    return { path: name, bytes };
  });
  const files = [...left, ...renamed].sort((a, b) => (a.path < b.path ? -1 : 1));
  const modules = new Map(
    files
      .filter(({ path }) => path.endsWith('.rego'))
      .map(({ path, bytes }) => [path, Buffer.from(bytes).toString('utf8')]),
  );
  return { ...base, files, modules, tests: new Map(), tables: new Map() };
}
