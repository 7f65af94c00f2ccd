import type { Atom, Comparison, Condition, Path, Value } from '../condition.ts';
import { atomHolds, compares, MISSING, rankOf } from '../evaluate.ts';
import type { NullMeaning } from './fields.ts';

/** How a form of filters puts conditions together. What is never and what is always are each one value. */
export interface Logic<T> {
  readonly always: T;
  readonly never: T;
  readonly all: (of: readonly T[]) => T;
  readonly some: (of: readonly T[]) => T;
  readonly not: (of: T) => T;
}

export const kinds = ['null', 'boolean', 'number', 'text', 'array', 'object'] as const;
export type Kind = (typeof kinds)[number];

/** Something that has a value: what it may be, and how it is asked for. What is asked holds or does not, and is never unknown. */
export interface Access<T> {
  readonly kinds: readonly Kind[];
  readonly isOf: (kind: Kind) => T;
  /** Of a kind that was asked for, unless `impliesKind`. */
  readonly compared: (kind: Kind, op: '=' | '<' | '<=' | '>' | '>=', value: Value) => T;
  readonly text: (op: 'starts_with' | 'ends_with' | 'contains_text', value: string) => T;
  /** What compares says by itself that the value is of the kind. */
  readonly impliesKind?: boolean;
  /** Whether nothing is there, and what that means. Undefined where null is a kind of its own. */
  readonly isNull:
    | {
        readonly is: T;
        readonly meaning: NullMeaning;
        /** A list without elements is not told from one that is not there. */
        readonly orEmpty?: boolean;
      }
    | undefined;
  /** Whether it is something that it was not said to be; such a value is never selected. Undefined where that fails, or cannot be. */
  readonly isOther?: T;
  /** Whether `of` holds of some element, which it knows by `name`. Undefined of what has none. */
  readonly elements: ((name: string, of: Condition, write: WriteElement<T>) => T) | undefined;
}

/** Writes a condition on an element, that is to be had so. */
export type WriteElement<T> = (of: Condition, access: (below: Path) => Access<T>) => T;

type Elements<T> = ReadonlyMap<string, (below: Path) => Access<T>>;

/** Writes a condition in some form of filters. */
export class Writer<T> {
  readonly #logic: Logic<T>;
  readonly #column: (path: Path) => Access<T>;

  constructor(logic: Logic<T>, column: (path: Path) => Access<T>) {
    this.#logic = logic;
    this.#column = column;
  }

  /** `isWanted`: it selects; under an odd number of `not` it keeps out, and what is not sure holds. */
  write(condition: Condition, isWanted = true, elements: Elements<T> = new Map()): T {
    const { always, never, all, some, not } = this.#logic;
    switch (condition.op) {
      case 'constant':
        return condition.value ? always : never;
      case 'and':
        return all(condition.of.map((each) => this.write(each, isWanted, elements)));
      case 'or':
        return some(condition.of.map((each) => this.write(each, isWanted, elements)));
      case 'not':
        return not(this.write(condition.of, !isWanted, elements));
      case 'any': {
        const { attribute, element, of } = condition;
        return this.#any(this.#access(attribute, elements), element, of, isWanted, elements);
      }
      default:
        return this.#atom(condition, isWanted, elements);
    }
  }

  #any(access: Access<T>, element: string, of: Condition, isWanted: boolean, elements: Elements<T>): T {
    const found = access.elements?.(element, of, (inner, accessTo) =>
      this.write(inner, isWanted, new Map([...elements, [element, accessTo]])),
    );
    return this.#orOther(found ?? this.#logic.never, access, isWanted);
  }

  #access([root = '', ...below]: Path, elements: Elements<T>): Access<T> {
    return elements.get(root)?.(below) ?? this.#column([root, ...below]);
  }

  #atom(atom: Atom, isWanted: boolean, elements: Elements<T>): T {
    const access = this.#access(atom.attribute, elements);
    const held = access.kinds.map((kind) => this.#ofKind(atom, kind, access, isWanted, elements));
    const { isNull } = access;
    if (isNull && holdsOfNull(atom, isNull, isWanted)) held.push(isNull.is);
    return this.#orOther(this.#logic.some(held), access, isWanted);
  }

  #orOther(held: T, { isOther }: Access<T>, isWanted: boolean): T {
    return isOther === undefined || isWanted ? held : this.#logic.some([held, isOther]);
  }

  /** What the atom comes to where the value is of a kind. */
  #ofKind(atom: Atom, kind: Kind, access: Access<T>, isWanted: boolean, elements: Elements<T>): T {
    const { never, some } = this.#logic;
    switch (atom.op) {
      case 'exists':
        return access.isOf(kind);
      case 'in':
        return some([...new Set(atom.values)].map((value) => this.#comparison('eq', kind, value, access)));
      case 'contains': {
        if ((kind !== 'array' && kind !== 'object') || !access.elements) return never;
        // Both kinds are gone over at once.
        if (kind === 'object' && access.kinds.includes('array')) return never;
        const of: Condition = { op: 'eq', attribute: ['element'], value: atom.value };
        return this.#any({ ...access, isOther: undefined } as Access<T>, 'element', of, isWanted, elements);
      }
      case 'starts_with':
      case 'ends_with':
      case 'contains_text':
        if (kind !== 'text') return never;
        return atom.value === ''
          ? access.isOf('text')
          : this.#both(access, 'text', access.text(atom.op, atom.value));
      default:
        return this.#comparison(atom.op, kind, atom.value, access);
    }
  }

  #comparison(op: Comparison, kind: Kind, value: Value, access: Access<T>): T {
    const { never, not, some, all } = this.#logic;
    // Of another type its order says all, and so it does of null.
    if (rankOf(value) !== rankOf(EXAMPLES[kind]) || kind === 'null')
      return compares(op, EXAMPLES[kind], value) ? access.isOf(kind) : never;
    if (op === 'ne') return all([access.isOf(kind), not(access.compared(kind, '=', value))]);
    if (kind === 'boolean') {
      const sides = [false, true].filter((each) => compares(op, each, value));
      return this.#both(access, kind, some(sides.map((each) => access.compared(kind, '=', each))));
    }
    return this.#both(access, kind, access.compared(kind, SIGNS[op], value));
  }

  #both(access: Access<T>, kind: Kind, held: T): T {
    return access.impliesKind ? held : this.#logic.all([access.isOf(kind), held]);
  }
}

/** Of a row that has no value. */
function holdsOfNull(
  atom: Atom,
  { meaning, orEmpty = false }: NonNullable<Access<unknown>['isNull']>,
  isWanted: boolean,
): boolean {
  // It was not said what it would mean.
  if (meaning === 'never') return !isWanted;
  const values = meaning === 'either' ? [MISSING, null] : [meaning === 'absent' ? MISSING : null];
  const held = [...values, ...(orEmpty ? [[]] : [])].map((value) => atomHolds(atom, value));
  return isWanted ? held.every((each) => each) : held.some((each) => each);
}

const SIGNS = { eq: '=', lt: '<', le: '<=', gt: '>', ge: '>=' } as const;

const EXAMPLES: Readonly<Record<Kind, unknown>> = {
  null: null,
  boolean: true,
  number: 0,
  text: '',
  array: [],
  object: {},
};

/** Puts together values that are objects, by what makes an object of several. */
export function logicOf<T>(
  { always, never }: Pick<Logic<T>, 'always' | 'never'>,
  made: {
    readonly all: (of: readonly T[]) => T;
    readonly some: (of: readonly T[]) => T;
    readonly not: (of: T) => T;
  },
): Logic<T> {
  const joined = (of: readonly T[], absorbing: T, neutral: T, make: (of: readonly T[]) => T): T => {
    if (of.includes(absorbing)) return absorbing;
    const kept = new Map(of.filter((each) => each !== neutral).map((each) => [JSON.stringify(each), each]));
    const left = [...kept.values()];
    return left.length === 0 ? neutral : left.length === 1 ? (left[0] as T) : make(left);
  };
  return {
    always,
    never,
    all: (of) => joined(of, never, always, made.all),
    some: (of) => joined(of, always, never, made.some),
    not: (of) => (of === always ? never : of === never ? always : made.not(of)),
  };
}
