import { diagnosticsOf, policyInvalid } from '../diagnostics.ts';
import type { RunOpa } from '../opa/child.ts';

/** Where something is written: row and column count from 1, columns in characters, text is base64. */
export interface Location {
  readonly file: string;
  readonly row: number;
  readonly col: number;
  readonly text?: string;
}

export interface Term {
  readonly type: string;
  readonly value: unknown;
  readonly location?: Location;
}

export interface Expression {
  readonly index: number;
  readonly terms: unknown;
  /** True for the `true` of a rule without a body. */
  readonly generated?: boolean;
  readonly location?: Location;
}

export interface Head {
  readonly name?: string;
  readonly ref: readonly Term[];
  readonly args?: readonly Term[];
  readonly key?: Term;
  readonly value?: Term;
  readonly location?: Location;
}

export interface Rule {
  readonly default?: boolean;
  readonly head: Head;
  readonly body: readonly Expression[];
  readonly else?: Rule;
  readonly location?: Location;
}

/** A module as OPA's own parser reads it, with places. */
export interface Syntax {
  readonly package: { readonly path: readonly Term[] };
  readonly imports?: readonly { readonly path: Term; readonly alias?: string }[];
  readonly rules?: readonly Rule[];
}

/** How many parsers run at once: each is a process. */
const PARSING = 4;

/** By file, relative to where the compiler runs. Throws `policy_invalid` for one that does not parse. */
export async function parseAll(files: readonly string[], run: RunOpa): Promise<ReadonlyMap<string, Syntax>> {
  const parsed = new Map<string, Syntax>();
  for (let at = 0; at < files.length; at += PARSING)
    await Promise.all(
      files.slice(at, at + PARSING).map(async (file) => parsed.set(file, await parse(file, run))),
    );
  return parsed;
}

const PARSE = ['parse', '--format', 'json', '--json-include', 'locations,-comments'];

async function parse(file: string, run: RunOpa): Promise<Syntax> {
  const { code, stdout, stderr } = await run([...PARSE, file]);
  if (code !== 0) throw policyInvalid(diagnosticsOf(stdout.trim() ? stdout : stderr));
  return JSON.parse(stdout) as Syntax;
}

/** The text as a tree without places, for comparing. */
export function withoutPlaces(node: unknown): unknown {
  if (Array.isArray(node)) return node.map(withoutPlaces);
  if (typeof node !== 'object' || node === null) return node;
  return Object.fromEntries(
    Object.entries(node)
      .filter(([name]) => name !== 'location')
      .map(([name, child]) => [name, withoutPlaces(child)]),
  );
}
