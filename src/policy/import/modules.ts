import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { diagnosticsOf } from '../diagnostics.ts';
import { isDenied, refusals } from '../engine/capabilities.ts';
import { confined, type RunOpa } from '../opa/child.ts';
import { packageOf, pathOf, type Tree } from '../opa/trees.ts';
import { isTest } from '../sources.ts';
import { inFolder } from './folder.ts';
import type { Refusal } from './reading.ts';

/** A module of what is imported, as OPA's parser reads it. */
export interface Module {
  readonly file: string;
  readonly text: string;
  /** Without `data`. */
  readonly package: readonly string[];
  /** Names of rules that are no functions; those of tests among them. */
  readonly rules: readonly string[];
  /** Members of the input that it names. */
  readonly reads: readonly string[];
  /** Built-ins that no decision has. */
  readonly denied: readonly string[];
}

/** How many parsers run at once: each is a process. */
const PARSING = 4;
const HINT = 'it is Rego of before OPA 1.0; --v0 has OPA rewrite it';

/** Parses each by itself; those of before OPA 1.0 are rewritten by OPA's own formatter where that is wanted. */
export async function readModules(
  texts: ReadonlyMap<string, string>,
  { opa, isV0 }: { readonly opa: string; readonly isV0: boolean },
): Promise<{ readonly modules: readonly Module[]; readonly refused: readonly Refusal[] }> {
  const modules: Module[] = [];
  const refused: Refusal[] = [];
  await inFolder((folder) =>
    confined(opa, folder, async (run) => {
      const left = [...texts.entries()].entries();
      const next = async (): Promise<void> => {
        for (const [at, [file, text]] of left) {
          const name = `${at}.rego`;
          await mkdir(folder, { recursive: true });
          await writeFile(path.join(folder, name), text);
          const read = await readOne(run, { folder, name, file, text, isV0 });
          if ('why' in read) refused.push(read);
          else modules.push(read);
        }
      };
      await Promise.all(Array.from({ length: PARSING }, next));
    }),
  );
  const byFile = (a: { file: string }, b: { file: string }): number => (a.file < b.file ? -1 : 1);
  return { modules: modules.sort(byFile), refused: refused.sort(byFile) };
}

interface Given {
  readonly folder: string;
  readonly name: string;
  readonly file: string;
  readonly text: string;
  readonly isV0: boolean;
}

async function readOne(run: RunOpa, given: Given): Promise<Module | Refusal> {
  const { folder, name, file, isV0 } = given;
  const parse = async (...options: string[]) => {
    const { code, stdout, stderr } = await run(['parse', '--format', 'json', ...options, name]);
    return code === 0 ? { tree: JSON.parse(stdout) as Tree } : { said: stdout.trim() ? stdout : stderr };
  };
  let { text } = given;
  let parsed = await parse();
  if (parsed.tree === undefined && isV0) {
    const { code, stdout, stderr } = await run(['fmt', '--v0-v1', name]);
    if (code !== 0) parsed = { said: stderr };
    else {
      text = stdout;
      await writeFile(path.join(folder, name), text);
      parsed = await parse();
    }
  }
  if (parsed.tree !== undefined) return moduleOf(file, text, parsed.tree);
  const isOlder = !isV0 && (await parse('--v0-compatible')).tree !== undefined;
  const [first] = diagnosticsOf(parsed.said ?? '');
  const why = `${first?.line ?? 0}: ${first?.message ?? 'it does not parse'}`;
  return { file, why: isOlder ? HINT : why };
}

function moduleOf(file: string, text: string, tree: Tree): Module {
  const rules = Array.isArray(tree['rules']) ? (tree['rules'] as { head: Head }[]) : [];
  const [reads, denied] = [new Set<string>(), new Set<string>()];
  for (const ref of refsIn(tree)) {
    const [head = '', ...rest] = pathOf(ref);
    if (head === 'input' && rest[0] !== undefined) reads.add(rest[0]);
    const name = [head, ...rest].join('.');
    if (isDenied(name)) denied.add(name);
  }
  return {
    file,
    text,
    package: pathOf(packageOf(tree)).slice(1),
    rules: rules.flatMap(({ head }) => (head.args ? [] : [pathOf(head.ref)[0] ?? head.name ?? ''])),
    reads: [...reads].sort(),
    denied: isTest(file) ? [] : [...denied].sort(),
  };
}

interface Head {
  readonly name?: string;
  readonly ref?: unknown;
  readonly args?: unknown;
}

function* refsIn(node: unknown): Generator<unknown[]> {
  if (Array.isArray(node)) for (const each of node) yield* refsIn(each);
  else if (typeof node === 'object' && node !== null) {
    const { type, value } = node as { type?: unknown; value?: unknown };
    if (type === 'ref' && Array.isArray(value)) yield value;
    for (const each of Object.values(node)) yield* refsIn(each);
  }
}

export const whyDenied = (names: readonly string[]): string =>
  names.map((name) => `it calls ${name}, which is not there: ${refusals[name]}`).join('; ');
