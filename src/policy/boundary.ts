import type { Diagnostic } from './diagnostics.ts';
import { diagnosticsOf } from './diagnostics.ts';
import type { PolicySources } from './sources.ts';

type Run = (
  args: readonly string[],
  input: string,
) => Promise<{ code: number; stdout: string; stderr: string }>;

const PARSE_ALL = '{name: module | some name, text in input; module := rego.parse_module(name, text)}';
const TENANT_ROOTS: ReadonlySet<string> = new Set(['authz', 'delegation']);

/**
 * Where a tenant's modules leave their own packages: they declare only `authz` and `delegation` (and below), and of
 * the platform they read only `data.mandate.lib`. OPA itself parses; what is looked at is its syntax tree, so no
 * spelling of a reference gets past (`data["mandate"]`, `import`, `with`). A reference into `data` that is not
 * spelled out (`data`, `data[x]`) could reach anything and is refused too.
 */
export async function crossings(sources: PolicySources, run: Run): Promise<Diagnostic[]> {
  const modules = Object.fromEntries(sources.modules);
  if (sources.modules.size === 0) return [];
  const { code, stdout, stderr } = await run(
    ['eval', '--stdin-input', '--strict-builtin-errors', '-f', 'json', PARSE_ALL],
    JSON.stringify(modules),
  );
  if (code !== 0) return diagnosticsOf(stdout.trim() ? stdout : stderr);
  const parsed = JSON.parse(stdout) as { result: { expressions: { value: Record<string, unknown> }[] }[] };
  const found: Diagnostic[] = [];
  for (const [file, module] of Object.entries(parsed.result[0]?.expressions[0]?.value ?? {})) {
    const text = sources.modules.get(file) ?? '';
    const path = pathOf((module as { package?: { path?: unknown } }).package?.path);
    if (!TENANT_ROOTS.has(path[1] ?? ''))
      found.push(
        at(file, text, 'package', `a tenant's package is authz or delegation, or below one of them`),
      );
    for (const crossed of walk(module, true))
      found.push(at(file, text, crossed.length > 0 ? crossed : 'data', describeCrossing(crossed)));
  }
  return found;
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

const isData = (part: unknown): boolean => {
  const { type, value } = (part ?? {}) as { type?: unknown; value?: unknown };
  return type === 'var' && value === 'data';
};

/** The constant parts at the head of a reference. */
function pathOf(ref: unknown): string[] {
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
function at(file: string, text: string, needle: string, message: string): Diagnostic {
  const bare = needle.split('.').at(-1) ?? needle;
  const line = text.split('\n').findIndex((each) => !each.trimStart().startsWith('#') && each.includes(bare));
  return { file, line: line + 1, message };
}
