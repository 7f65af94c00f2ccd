import { bounds } from './bounds.ts';

/** A term of OPA's syntax tree, as its JSON has it. */
export interface Term {
  readonly type: string;
  readonly value?: unknown;
}

export interface Node {
  readonly index?: number;
  readonly generated?: boolean;
  /** A term, the operator and operands of a call, or what `every` and `some` are made of. */
  readonly terms?: unknown;
}

const isTerm = (value: unknown): value is Term =>
  typeof value === 'object' && value !== null && typeof (value as Term).type === 'string';

/** The operator and operands of a call. */
export const callIn = (terms: unknown): { name: string; args: readonly Term[] } | undefined => {
  if (!Array.isArray(terms)) return undefined;
  const [operator, ...args] = terms as Term[];
  return operator?.type === 'ref' ? { name: written(operator, asIs), args } : undefined;
};

type Naming = (variable: string) => string;
const asIs: Naming = (variable) => variable;

/** As an author would write it; `name` tells what a variable stands for. */
export function written(term: Term, name: Naming, depth = 0): string {
  if (depth > bounds.depth) return '…';
  const each = (other: unknown): string => (isTerm(other) ? written(other, name, depth + 1) : '…');
  const all = (value: unknown): string => (value as unknown[]).slice(0, bounds.values).map(each).join(', ');
  switch (term.type) {
    case 'var':
      return name(String(term.value));
    case 'ref':
      return reference(term.value as readonly Term[], each);
    case 'array':
      return `[${all(term.value)}]`;
    case 'set':
      return `{${all(term.value)}}`;
    case 'object':
      return `{${(term.value as unknown[][])
        .slice(0, bounds.values)
        .map((pair) => pair.map(each).join(': '))
        .join(', ')}}`;
    case 'call': {
      const [operator, ...args] = term.value as Term[];
      return `${each(operator)}(${args.map(each).join(', ')})`;
    }
    case 'null':
      return 'null';
    case 'string':
    case 'number':
    case 'boolean':
      return typeof term.value === 'string' ? JSON.stringify(term.value) : String(term.value);
    default:
      return '…';
  }
}

function reference([head, ...parts]: readonly Term[], each: (term: unknown) => string): string {
  const tail = parts.map((part) =>
    part.type === 'string' && /^[A-Za-z_]\w*$/.test(String(part.value))
      ? `.${String(part.value)}`
      : `[${each(part)}]`,
  );
  return `${each(head)}${tail.join('')}`;
}

/** The terms of an expression, the operator of a call left out, and those within them that have values of their own. */
export function* termsIn(node: Node): Generator<Term> {
  const { terms } = node;
  if (Array.isArray(terms)) for (const each of terms.slice(1)) yield* withinTerm(each);
  else if (isTerm(terms)) yield* withinTerm(terms);
  else if (typeof terms === 'object' && terms !== null)
    for (const each of Object.values(terms)) if (isTerm(each)) yield* withinTerm(each);
}

function* withinTerm(term: unknown, depth = 0): Generator<Term> {
  if (!isTerm(term) || depth > bounds.depth) return;
  if (term.type === 'var') yield term;
  else if (term.type === 'ref') {
    yield term;
    for (const part of (term.value as unknown[]).slice(1)) yield* withinTerm(part, depth + 1);
  } else if (Array.isArray(term.value))
    for (const each of (term.value as unknown[]).flat().slice(0, 1_000)) yield* withinTerm(each, depth + 1);
}

/** What stands for a value that could not be told. */
export const UNTOLD = Symbol('untold');

/** The value of a term in which all is known; sets as arrays, as JSON has them. `of` answers what a variable or a reference is. */
export function valueOf(term: unknown, of: (term: Term) => unknown, depth = 0): unknown {
  if (!isTerm(term) || depth > 64) return UNTOLD;
  const each = (other: unknown): unknown => valueOf(other, of, depth + 1);
  switch (term.type) {
    case 'null':
      return null;
    case 'string':
    case 'number':
    case 'boolean':
      return term.value;
    case 'array':
    case 'set':
      return untoldIn((term.value as unknown[]).map(each));
    case 'object': {
      const pairs = (term.value as [unknown, unknown][]).map(
        ([key, value]) => [each(key), each(value)] as const,
      );
      if (pairs.some(([key, value]) => key === UNTOLD || value === UNTOLD)) return UNTOLD;
      return Object.fromEntries(
        pairs.map(([key, value]) => [typeof key === 'string' ? key : JSON.stringify(key), value]),
      );
    }
    case 'var':
    case 'ref':
      return of(term);
    default:
      return UNTOLD;
  }
}

const untoldIn = (values: unknown[]): unknown => (values.includes(UNTOLD) ? UNTOLD : values);
