import type { Diagnostic } from '../diagnostics.ts';
import { diagnosticsOf } from '../diagnostics.ts';
import type { RunOpa } from './child.ts';

/** The syntax tree of a module, as `rego.parse_module` answers it. */
export type Tree = Readonly<Record<string, unknown>>;

const PARSE_ALL = '{name: module | some name, text in input; module := rego.parse_module(name, text)}';
/** A syntax tree is some fifty times its text, in the compiler's memory and in this one's: so many bytes at a time. */
const BATCH_BYTES = 128 * 1024;

/**
 * Has the compiler parse each module: many at once, and those of a batch that it fails at one by one from the files
 * that are laid out, as `rego.parse_module` does not take all that the compiler takes (a literal "\ufeff", for one).
 * Answers its diagnostics where it could not.
 */
export async function eachTree(
  modules: ReadonlyMap<string, string>,
  run: RunOpa,
  look: (file: string, text: string, tree: Tree) => void,
): Promise<Diagnostic[] | undefined> {
  for (const batch of batches(modules)) {
    const trees = (await together(batch, run)) ?? {};
    for (const [file, text] of Object.entries(batch)) {
      const tree = Object.hasOwn(trees, file) ? trees[file] : await alone(file, run);
      if (Array.isArray(tree)) return tree;
      try {
        look(file, text, tree as Tree);
      } catch (error) {
        // The compiler goes deeper than a walk of its tree can.
        if (!(error instanceof RangeError)) throw error;
        return [{ file, line: 0, message: 'it is nested too deeply to be looked at' }];
      }
    }
  }
  return undefined;
}

async function together(
  batch: Readonly<Record<string, string>>,
  run: RunOpa,
): Promise<Record<string, Tree> | undefined> {
  const query = ['eval', '--stdin-input', '--strict-builtin-errors', '-f', 'json', PARSE_ALL];
  const { code, stdout } = await run(query, JSON.stringify(batch));
  if (code !== 0) return undefined;
  const parsed = JSON.parse(stdout) as { result: { expressions: { value: Record<string, Tree> }[] }[] };
  return parsed.result[0]?.expressions[0]?.value;
}

async function alone(file: string, run: RunOpa): Promise<Tree | Diagnostic[]> {
  const { code, stdout, stderr } = await run(['parse', '--format', 'json', `tenant/${file}`]);
  return code === 0 ? (JSON.parse(stdout) as Tree) : diagnosticsOf(stdout.trim() ? stdout : stderr);
}

function* batches(modules: ReadonlyMap<string, string>): Generator<Record<string, string>> {
  let batch: [string, string][] = [];
  let bytes = 0;
  for (const [name, text] of modules) {
    if (batch.length > 0 && bytes + text.length > BATCH_BYTES) {
      yield Object.fromEntries(batch);
      [batch, bytes] = [[], 0];
    }
    batch.push([name, text]);
    bytes += text.length;
  }
  if (batch.length > 0) yield Object.fromEntries(batch);
}

export const packageOf = (tree: Tree): unknown => (tree as { package?: { path?: unknown } }).package?.path;

export const isData = (part: unknown): boolean => {
  const { type, value } = (part ?? {}) as { type?: unknown; value?: unknown };
  return type === 'var' && value === 'data';
};

/** The constant parts at the head of a reference. */
export function pathOf(ref: unknown): string[] {
  const parts: string[] = [];
  if (!Array.isArray(ref)) return parts;
  for (const [index, part] of ref.entries()) {
    const { type, value } = part as { type?: unknown; value?: unknown };
    if (typeof value !== 'string' || (index > 0 && type !== 'string')) break;
    parts.push(value);
  }
  return parts;
}

/** The tree of `rego.parse_module` carries no places, so the line is found by what it says. */
export function foundAt(file: string, text: string, needle: string, message: string): Diagnostic {
  const bare = needle.split('.').at(-1) ?? needle;
  const line = text.split('\n').findIndex((each) => !each.trimStart().startsWith('#') && each.includes(bare));
  return { file, line: line + 1, message };
}
