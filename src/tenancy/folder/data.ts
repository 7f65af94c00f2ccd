import { readYaml, YamlInvalid } from './yaml.ts';

/** A data document: its name, relative to the tenant's folder, and its text. */
export type DataDocument = readonly [name: string, text: string];

/** JSON texts, or what is wrong and where; `line` counts from 1, 0 where unknown. */
export type Composed =
  | {
      readonly data: string;
      /** Of that, what lies where the tenant's packages are, and may stand where a rule does. */
      readonly beside: string;
      /** Of the paths that were asked about, those at which the documents have something. */
      readonly there: readonly string[];
    }
  | { readonly file: string; readonly line: number; readonly problem: string };

/** What whoever has the documents composed wants to know of them. */
export interface AskedOfData {
  /** Of which it is told whether something is there, such as `users/alice`. */
  readonly paths: readonly string[];
  /** Whether the tenant's packages may be anywhere. */
  readonly isAnywhere: boolean;
}

export const NOTHING_ASKED: AskedOfData = { paths: [], isAnywhere: false };

/** Numbers by their text, which the types of the language do not have yet. */
const { rawJSON, isRawJSON } = JSON as unknown as {
  rawJSON: (text: string) => unknown;
  isRawJSON: (value: unknown) => boolean;
};

class DataInvalid extends Error {
  readonly line: number;

  constructor(problem: string, line = 0) {
    super(problem);
    this.line = line;
  }
}

/** Where a tenant's packages are. */
const TENANT_ROOTS = ['authz', 'delegation', 'audit', 'approval'];

/** What aliases in a data.yaml may stand for, for each value there is. */
const MAX_ALIAS_COUNT = 100;

/**
 * The value of `data`: each document at the place that its folder names, as in OPA's bundles (`users/data.json` is
 * `data.users`), and the platform's own under `mandate`. Numbers stay as they are written.
 */
export function composeDocuments(
  documents: readonly DataDocument[],
  platform: unknown,
  asked: AskedOfData = NOTHING_ASKED,
): Composed {
  const root: Members = members();
  for (const [file, text] of documents) {
    try {
      place(root, file.split('/').slice(0, -1), file.endsWith('.json') ? readJson(text) : readYamlData(text));
      if ('mandate' in root) throw new DataInvalid("data.mandate is the platform's");
    } catch (error) {
      const line = error instanceof YamlInvalid || error instanceof DataInvalid ? error.line : 0;
      return {
        file,
        line,
        problem: error instanceof RangeError ? 'it is too deep' : (error as Error).message,
      };
    }
  }
  const there = asked.paths.filter((path) => isThere(root, path.split('/')));
  const roots = asked.isAnywhere ? Object.keys(root) : TENANT_ROOTS.filter((name) => name in root);
  const beside = Object.fromEntries(roots.map((name) => [name, root[name]]));
  root['mandate'] = platform;
  return { data: JSON.stringify(root), beside: JSON.stringify(beside), there };
}

type Members = Record<string, unknown>;

/** Without a prototype, so that `__proto__` is a name like any other. */
const members = (): Members => Object.create(null) as Members;

const isObject = (value: unknown): value is Members =>
  typeof value === 'object' && value !== null && !Array.isArray(value) && !isRawJSON(value);

/** Elements of arrays have no names. */
function isThere(root: Members, path: readonly string[]): boolean {
  let at: unknown = root;
  for (const name of path) {
    if (!isObject(at) || !Object.hasOwn(at, name)) return false;
    at = at[name];
  }
  return true;
}

function place(root: Members, folders: readonly string[], value: unknown): void {
  let at = root;
  for (const [depth, name] of folders.entries()) {
    const isLast = depth === folders.length - 1;
    if (isLast && !(name in at)) {
      at[name] = value;
      return;
    }
    const inner = name in at ? at[name] : (at[name] = members());
    if (!isObject(inner))
      throw new DataInvalid(`data.${folders.slice(0, depth + 1).join('.')} is defined twice`);
    // What a document gave has a prototype; what is written to has none.
    at = at[name] = Object.assign(members(), inner);
  }
  if (!isObject(value))
    throw new DataInvalid(
      folders.length === 0 ? 'it is not an object' : `data.${folders.join('.')} is defined twice`,
    );
  merge(at, value, folders);
}

function merge(into: Members, from: Members, path: readonly string[]): void {
  for (const name of Object.keys(from)) {
    const [known, value] = [into[name], from[name]];
    if (!(name in into)) into[name] = value;
    else if (isObject(known) && isObject(value)) {
      const copy = Object.assign(members(), known);
      into[name] = copy;
      merge(copy, value, [...path, name]);
    } else throw new DataInvalid(`data.${[...path, name].join('.')} is defined twice`);
  }
}

/** Numbers as they are written: a double has room for no more than sixteen digits. */
export function readJson(text: string): unknown {
  return JSON.parse(text, (_name, value: unknown, context?: { source?: string }) => {
    if (typeof value === 'number' && context?.source !== undefined) return rawJSON(context.source);
    // OPA takes half a surrogate for what is no character too.
    return typeof value === 'string' ? value.toWellFormed() : value;
  });
}

function readYamlData(text: string): unknown {
  return toJson(readYaml(text, { maxAliasCount: MAX_ALIAS_COUNT, exact: true }));
}

function toJson(value: unknown): unknown {
  if (typeof value === 'bigint') return rawJSON(String(value));
  if (typeof value === 'number' && !Number.isFinite(value))
    throw new DataInvalid('a number that JSON does not have');
  if (Array.isArray(value)) return value.map(toJson);
  if (!isObject(value)) return value;
  const made = members();
  for (const name of Object.keys(value)) made[name] = toJson(value[name]);
  return made;
}
