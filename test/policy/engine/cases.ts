import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'yaml';
import type { PolicyInput } from '../../../src/input.ts';
import { parseJson } from '../../../src/policy/engine/values/parse.ts';
import {
  compareValues,
  equalValues,
  isArray,
  RegoObject,
  type Value,
} from '../../../src/policy/engine/values/values.ts';

/** OPA's own conformance cases (v1/test/cases/testdata of its Go module). */
export interface Case {
  readonly note: string;
  /** The path of the entry point: `test/p` for the query `data.test.p = x`. */
  readonly entrypoint: string;
  readonly modules: readonly string[];
  readonly data?: Readonly<Record<string, unknown>>;
  readonly input?: unknown;
  /** The input as a Rego term. */
  readonly input_term?: string;
  readonly want_result?: readonly { readonly x: unknown }[];
  readonly want_defined?: boolean;
  readonly want_error_code?: string;
  readonly want_error?: string;
  readonly sort_bindings?: boolean;
  /** The error is one of a built-in, which leaves the result undefined here. */
  readonly strict_error?: boolean;
  readonly env?: unknown;
}

type WrittenCase = Omit<Case, 'entrypoint'> & { readonly query: string };

/** Where the pinned compiler's module is, or why it cannot be found. */
export function locateCases(): { folder: string } | { reason: string } {
  try {
    const module = execFileSync('go', ['list', '-m', '-f', '{{.Dir}}', 'github.com/open-policy-agent/opa'], {
      cwd: 'tools/opa',
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    }).trim();
    const folder = join(module, 'v1/test/cases/testdata/v1');
    return module !== '' && readdirSync(folder).length > 0
      ? { folder }
      : { reason: 'the module is not downloaded' };
  } catch {
    return { reason: 'go, or the module of tools/opa, is not there' };
  }
}

/** Cases whose query reads one rule, which is what an entry point is; and how many others there are. */
export function loadCases(folder: string): { cases: Case[]; others: number } {
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((file) =>
    file.endsWith('.yaml'),
  );
  const written = files.flatMap((file) => {
    const content = parse(readFileSync(join(folder, file), 'utf8'), { maxAliasCount: -1 }) as {
      cases?: WrittenCase[];
    } | null;
    return content?.cases ?? [];
  });
  const cases = written.flatMap((each): Case[] => {
    const rule = /^data\.([\w.]+) = x$/.exec(each.query.trim())?.[1];
    return rule === undefined
      ? []
      : [{ ...each, modules: each.modules ?? [], entrypoint: rule.replaceAll('.', '/') }];
  });
  return { cases, others: written.length - cases.length };
}

/** The same case with all it declares and reads under another name, so that many can be compiled at once. */
export function moveUnder(name: string, original: Case): Case {
  return {
    ...original,
    entrypoint: `${name}/${original.entrypoint}`,
    modules: original.modules.map((module) =>
      module.replace(/^\s*package\s+/m, `package ${name}.`).replace(/\bdata(?=[.[])/g, `data.${name}`),
    ),
    data: { [name]: original.data ?? {} },
  };
}

/** The input as text, and as a value if it is one of JSON. Trailing commas are Rego's and not the module's parser's. */
export function inputsOf({ input, input_term: term }: Case): readonly (string | PolicyInput)[] {
  if (term !== undefined) return [term.replace(/,(\s*[}\]])/g, '$1')];
  if (input === undefined) return [''];
  const json = JSON.stringify(input);
  return [json, { json, value: input }];
}

/**
 * Whether a result is the wanted one. JSON shows a set as an array in the module's order where OPA's cases show it
 * sorted, so an array that is wanted sorted may come in any order; all others are compared as they are.
 */
export function agrees(result: unknown, wanted: unknown, anyOrder: boolean): boolean {
  if (result === undefined || wanted === undefined) return result === wanted;
  return matches(toValue(result), toValue(wanted), anyOrder);
}

function toValue(json: unknown): Value {
  return parseJson(JSON.stringify(json));
}

function matches(result: Value, wanted: Value, anyOrder: boolean): boolean {
  if (isArray(result) && isArray(wanted)) {
    if (result.length !== wanted.length) return false;
    const inOrder = (a: readonly Value[], b: readonly Value[]) =>
      a.every((element, index) => matches(element, b[index] ?? null, anyOrder));
    const sorted = wanted.toSorted(compareValues);
    return (
      inOrder(result, wanted) ||
      ((anyOrder || inOrder(sorted, wanted)) && inOrder(result.toSorted(compareValues), sorted))
    );
  }
  if (result instanceof RegoObject && wanted instanceof RegoObject) {
    if (result.size !== wanted.size) return false;
    return [...wanted.entries()].every(([key, value]) => {
      const other = result.get(key);
      return other !== undefined && matches(other, value, anyOrder);
    });
  }
  return equalValues(result, wanted);
}
