import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'yaml';
import type { PolicyInput } from '../../../../src/input.ts';
import { parseJson } from '../../../../src/policy/engine/values/parse.ts';
import {
  compareValues,
  equalValues,
  isArray,
  RegoObject,
  type Value,
} from '../../../../src/policy/engine/values/values.ts';

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
  readonly want_result?: readonly Readonly<Record<string, unknown>>[];
  readonly want_defined?: boolean;
  readonly want_error_code?: string;
  readonly want_error?: string;
  readonly sort_bindings?: boolean;
  /** The error is one of a built-in, which leaves the result undefined here. */
  readonly strict_error?: boolean;
  /** Whether the modules are Rego of before 1.0. */
  readonly isOld: boolean;
  /** Whether the entry point answers the bindings of a query that is more than the value of a rule. */
  readonly isWrapped: boolean;
}

type WrittenCase = Omit<Case, 'entrypoint' | 'isOld' | 'isWrapped'> & { readonly query: string };

/** Where the pinned compiler's module is, or why it cannot be found. */
export function locateCases(): { folder: string } | { reason: string } {
  try {
    const module = execFileSync('go', ['list', '-m', '-f', '{{.Dir}}', 'github.com/open-policy-agent/opa'], {
      cwd: 'tools/opa',
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    }).trim();
    const folder = join(module, 'v1/test/cases/testdata');
    return module !== '' && readdirSync(folder).length > 0
      ? { folder }
      : { reason: 'the module is not downloaded' };
  } catch {
    return { reason: 'go, or the module of tools/opa, is not there' };
  }
}

/** The cases in Rego 1 and in Rego of before. */
export function loadCases(folder: string): Case[] {
  return ['v0', 'v1'].flatMap((dialect) => {
    const files = readdirSync(join(folder, dialect), { recursive: true, encoding: 'utf8' }).filter((file) =>
      file.endsWith('.yaml'),
    );
    return files.flatMap((file) => {
      const text = readFileSync(join(folder, dialect, file), 'utf8');
      const content = parse(text, { maxAliasCount: -1, intAsBigInt: true }) as {
        cases?: WrittenCase[];
      } | null;
      return (content?.cases ?? []).map((written) => caseOf(written, dialect === 'v0'));
    });
  });
}

/** A query that reads one rule has it as its entry point; any other is wrapped in a rule that gathers its bindings. */
function caseOf(written: WrittenCase, isOld: boolean): Case {
  const modules = written.modules ?? [];
  const query = withoutRoot(written.query.trim(), modules, written.data);
  const note = `${isOld ? 'v0 ' : ''}${written.note}`;
  const rule = /^data\.([\w.]+) = x$/.exec(query)?.[1];
  if (rule !== undefined)
    return { ...written, note, modules, isOld, isWrapped: false, entrypoint: rule.replaceAll('.', '/') };
  const names = Object.keys(written.want_result?.[0] ?? {});
  const bindings = names.map((name) => `"${name}": ${name}`).join(', ');
  const wrapper = `package wrapper\n\nbindings := [{${bindings}} | ${query}]\n`;
  return {
    ...written,
    note,
    modules: [...modules, wrapper],
    isOld,
    isWrapped: true,
    entrypoint: 'wrapper/bindings',
  };
}

/** All of data is what is below each of its names: a rule that read it whole would read itself. */
function withoutRoot(query: string, modules: readonly string[], data: Case['data']): string {
  if (query !== 'data = x') return query;
  const packages = modules.map((module) => /^\s*package\s+(\w+)/m.exec(module)?.[1] ?? '');
  const names = [...new Set([...packages, ...Object.keys(data ?? {})])];
  return `x = {${names.map((name) => `"${name}": data.${name}`).join(', ')}}`;
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
  const json = jsonOf(input);
  return [json, { json, value: JSON.parse(json) as unknown }];
}

/** Whether a result, as JSON text, is the wanted one, arrays in order unless the case leaves it open. */
export function agrees(result: string | undefined, wanted: unknown, anyOrder: boolean): boolean {
  if (result === undefined || wanted === undefined) return result === wanted;
  return matches(parseJson(result), toValue(wanted), anyOrder);
}

function toValue(json: unknown): Value {
  return parseJson(jsonOf(json));
}

/** JSON text with integers as they were written. */
export function jsonOf(value: unknown): string {
  const { rawJSON } = JSON as unknown as { rawJSON: (text: string) => unknown };
  return JSON.stringify(value, (_, inner: unknown) =>
    typeof inner === 'bigint' ? rawJSON(String(inner)) : inner,
  );
}

function matches(result: Value, wanted: Value, anyOrder: boolean): boolean {
  if (isArray(result) && isArray(wanted)) {
    if (result.length !== wanted.length) return false;
    const inOrder = (a: readonly Value[], b: readonly Value[]) =>
      a.every((element, index) => matches(element, b[index] ?? null, anyOrder));
    if (inOrder(result, wanted)) return true;
    return anyOrder && inOrder(result.toSorted(compareValues), wanted.toSorted(compareValues));
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
