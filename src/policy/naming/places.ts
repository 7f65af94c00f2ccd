import { pathOf } from '../opa/trees.ts';
import type { Head, Syntax, Term } from '../testing/syntax.ts';
import type { Kind } from './declared.ts';

/** A reference as a path from `input` or `data`; what is not constant in it is undefined. */
export type Path = readonly (string | undefined)[];

/** What stands at a place of the input, or of the platform's library. */
const PLACES: readonly (readonly [RegExp, Kind])[] = [
  [/^input(?:\.request)?\.action\.name$/, 'action'],
  [/^input(?:\.request)?\.resource\.type$/, 'type'],
  [/^input\.grant\.scope(?:\.\*)?$/, 'scope'],
];

const OF_PRINCIPALS: readonly (readonly [RegExp, Kind])[] = [
  [/^roles(?:\.\*)?$/, 'role'],
  [/^groups(?:\.\*)?$/, 'group'],
  [/^id$/, 'principal'],
  [/^class$/, 'class'],
];

const PRINCIPAL =
  /^(?:input(?:\.request)?\.(?:subject|actors\.\*)|input\.approver|data\.mandate\.lib\.acting)\./;

/** Of which kind the names are that stand there; undefined where anything may. */
export function kindAt(path: Path): Kind | undefined {
  const text = path.map((each) => (each === undefined || /^\d+$/.test(each) ? '*' : each)).join('.');
  const principal = PRINCIPAL.exec(text)?.[0];
  const [table, rest] =
    principal === undefined ? [PLACES, text] : [OF_PRINCIPALS, text.slice(principal.length)];
  return table.find(([pattern]) => pattern.test(rest))?.[1];
}

/** Which kind each argument of a function is a name of, by the function's path. */
export type Takers = Map<string, (Kind | undefined)[]>;

/** The platform's own (`policies/platform/lib.rego`). */
export const platformTakers = (): Takers =>
  new Map([
    ['data.mandate.lib.has_role', ['role']],
    ['data.mandate.lib.in_group', ['group']],
  ]);

/** The names of a module: what a reference that begins with one of them means. */
export class Names {
  readonly package: readonly string[];
  readonly #imports = new Map<string, Path>();
  readonly #rules: ReadonlySet<string>;

  constructor({ package: { path }, imports = [], rules = [] }: Syntax, siblings: ReadonlySet<string>) {
    this.package = pathOf(path);
    for (const { path: imported, alias } of imports) {
      const whole = pathOf(imported.value);
      const name = alias ?? whole.at(-1);
      if (name !== undefined && whole.length > 1) this.#imports.set(name, whole);
    }
    this.#rules = new Set([...siblings, ...rules.map(({ head }) => nameOf(head))]);
  }

  /** Undefined where it begins with a variable of a rule's own. */
  path(ref: readonly Term[]): Path | undefined {
    const [head, ...rest] = ref;
    const begun = head?.type === 'var' ? this.#beginning(String(head.value)) : undefined;
    return begun && [...begun, ...rest.map(constantIn)];
  }

  #beginning(name: string): Path | undefined {
    if (name === 'input' || name === 'data') return [name];
    const imported = this.#imports.get(name);
    if (imported) return imported;
    return this.#rules.has(name) ? [...this.package, name] : undefined;
  }
}

export const constantIn = ({ type, value }: Term): string | undefined =>
  type === 'string' || type === 'number' ? String(value) : undefined;

/** What a rule is called within its package. */
export const nameOf = ({ name, ref }: Head): string => pathOf(ref)[0] ?? String(name);
