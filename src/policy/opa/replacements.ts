import type { Diagnostic } from '../diagnostics.ts';
import { packageOf, pathOf, type Tree } from './trees.ts';

/** One `with` of an expression, as the parser has it. */
export interface Replacement {
  readonly target?: { readonly type?: unknown; readonly value?: unknown };
  readonly location?: unknown;
}

/** The replacements of one expression, and what its file is, for telling what they are of. */
interface Candidate {
  readonly file: string;
  readonly replacements: readonly Replacement[];
  readonly package: readonly string[];
  readonly imports: ReadonlyMap<string, readonly string[]>;
}

/** Replacements of one expression that the compiler mixes up. */
export interface Mixed {
  readonly file: string;
  readonly replacements: readonly Replacement[];
  /** The same, documents before functions: which says what the author means, and the compiler takes rightly. */
  readonly sorted: readonly Replacement[];
  /** The function that stands before a document, as it is written. */
  readonly misplaced: string;
}

/**
 * Where an expression replaces a function before a document (`with f as g with input as x`), OPA's compiler to
 * WebAssembly gives the value to another document (planWithRec of its planner counts documents alone, and looks them up
 * among all): what it compiles decides otherwise than its own evaluator. Trees of all modules are looked at first, for
 * what is a function is known only then.
 */
export class Replacements {
  readonly #functions = new Set<string>();
  readonly #rules = new Set<string>();
  readonly #candidates: Candidate[] = [];

  /** `isJudged`: false for a file that only says what is a function. */
  look(file: string, tree: Tree, isJudged = true): void {
    const path = pathOf(packageOf(tree));
    const { rules = [], imports = [] } = tree as {
      rules?: readonly { head?: { name?: unknown; ref?: unknown; args?: unknown } }[];
      imports?: readonly { path?: { value?: unknown }; alias?: string }[];
    };
    for (const { head } of rules) {
      const own = [...path, ...pathOf(head?.ref)];
      this.#rules.add(keyOf([...path, own[path.length] ?? String(head?.name)]));
      if (head?.args !== undefined) this.#functions.add(keyOf(own));
    }
    if (!isJudged) return;
    const aliases = new Map<string, readonly string[]>();
    for (const { path: imported, alias } of imports) {
      const parts = pathOf(imported?.value);
      aliases.set(alias ?? parts.at(-1) ?? '', parts);
    }
    for (const replacements of severalIn(rules))
      this.#candidates.push({ file, replacements, package: path, imports: aliases });
  }

  /** Whether there is anything to be judged. */
  get any(): boolean {
    return this.#candidates.length > 0;
  }

  *mixed(): Generator<Mixed> {
    for (const candidate of this.#candidates) {
      const { file, replacements } = candidate;
      const isFunction = (each: Replacement): boolean => this.#isFunction(each, candidate);
      const first = replacements.findIndex(isFunction);
      const [function_, behind] = [replacements[first], replacements.slice(first + 1)];
      if (!function_ || behind.every(isFunction)) continue;
      const documents = replacements.filter((each) => !isFunction(each));
      const sorted = [...documents, ...replacements.filter(isFunction)];
      yield { file, replacements, sorted, misplaced: writtenIn(function_).join('.') };
    }
  }

  /** What is neither input nor data, nor imported, nor a rule of the package, is a built-in. */
  #isFunction(replacement: Replacement, { package: path, imports }: Candidate): boolean {
    const written = writtenIn(replacement);
    const [head = '', ...rest] = written;
    if (head === 'input') return false;
    const imported = imports.get(head);
    const isOwn = this.#rules.has(keyOf([...path, head]));
    if (head === 'data') return this.#functions.has(keyOf(written));
    if (imported) return this.#functions.has(keyOf([...imported, ...rest]));
    return !isOwn || this.#functions.has(keyOf([...path, ...written]));
  }
}

/** The tree of `rego.parse_module` carries no places: the line is the first that says so. */
export function describeMixed({ file, misplaced }: Mixed, text: string): Diagnostic {
  const last = misplaced.split('.').at(-1) ?? misplaced;
  const line = text.split('\n').findIndex((each) => /\bwith\b/.test(each) && each.includes(last));
  const message = `with ${misplaced} stands before a with of input or data, which the compiler would mix up: functions come last`;
  return { file, line: line + 1, message };
}

const keyOf = (path: readonly string[]): string => JSON.stringify(path);

/** The parts of a target, which are all constant. */
function writtenIn({ target }: Replacement): string[] {
  return target?.type === 'var' ? [String(target.value)] : pathOf(target?.value);
}

/** Each list of replacements with more than one in it, however deep. */
function* severalIn(node: unknown): Generator<readonly Replacement[]> {
  if (typeof node !== 'object' || node === null) return;
  for (const [name, child] of Object.entries(node)) {
    if (name === 'location') continue;
    if (name === 'with' && Array.isArray(child) && child.length > 1) yield child as Replacement[];
    yield* severalIn(child);
  }
}
