import type { Atom, Comparison, Condition, Path, Value } from '../condition.ts';
import { atomHolds, compares, MISSING, rankOf } from '../evaluate.ts';
import { planUnsupported } from '../rego.ts';
import { checkFields, type Fields, locate, type NullMeaning } from './fields.ts';

/** A condition of SQL, true or false for each row and never NULL, and what its placeholders stand for, in order. */
export interface Sql {
  readonly text: string;
  readonly parameters: readonly (string | number)[];
}

export const kinds = ['null', 'boolean', 'number', 'text', 'array', 'object'] as const;
export type Kind = (typeof kinds)[number];

/** Some expression of SQL that has a value: what it may be, and how it is asked for. All is SQL that is never NULL. */
export interface Access {
  readonly kinds: readonly Kind[];
  readonly isOf: (kind: Kind) => string;
  /** Of a kind that was asked for. */
  readonly compared: (kind: Kind, op: '=' | '<' | '<=' | '>' | '>=', value: Value) => string;
  readonly text: (op: 'starts_with' | 'ends_with' | 'contains_text', value: string) => string;
  /** Whether nothing is there, and what that means. Undefined where null is a kind of its own. */
  readonly isNull: { readonly sql: string; readonly meaning: NullMeaning } | undefined;
  /** Its elements, as the rows of something that is named. Undefined of what has none. */
  readonly elements:
    | ((name: string) => { readonly from: string; readonly access: (below: Path) => Access })
    | undefined;
}

/** What is put in the place of values: the text of a placeholder. */
export type Placeholder = (value: Value) => string;

export interface Dialect {
  readonly placeholder: (number: number) => string;
  readonly parameter: (value: Value) => string | number;
  readonly column: (name: string, place: ReturnType<typeof locate>, put: Placeholder) => Access;
}

/** Throws `invalid_request` for attributes whose column is not given, `plan_unsupported` for what the dialect cannot say. */
export function renderSql(condition: Condition, fields: Fields, dialect: Dialect): Sql {
  checkFields(fields);
  // No name and no text of the language has a null character: what stands between two is the place of a value.
  const values: Value[] = [];
  const put: Placeholder = (value) => {
    if (typeof value === 'string' && value.includes('\0'))
      throw planUnsupported('text with a null character in it is not compared in SQL');
    const known = values.indexOf(value);
    return `\0${known < 0 ? values.push(value) - 1 : known}\0`;
  };
  const column = (path: Path): Access => {
    const place = locate(path, fields);
    return dialect.column(place.field.name, place, put);
  };
  const written = new Writer(column).write(condition, true, new Map());
  const parameters: (string | number)[] = [];
  const text = written.replace(/\0(\d+)\0/g, (_whole, at: string) => {
    parameters.push(dialect.parameter(values[Number(at)] as Value));
    return dialect.placeholder(parameters.length);
  });
  return { text, parameters };
}

type Elements = ReadonlyMap<string, (below: Path) => Access>;

class Writer {
  readonly #column: (path: Path) => Access;

  constructor(column: (path: Path) => Access) {
    this.#column = column;
  }

  /** `isWanted`: it selects; under an odd number of `not` it keeps out, and what is not sure holds. */
  write(condition: Condition, isWanted: boolean, elements: Elements): string {
    switch (condition.op) {
      case 'constant':
        return condition.value ? TRUE : FALSE;
      case 'and':
        return joined(
          condition.of.map((each) => this.write(each, isWanted, elements)),
          'AND',
          FALSE,
          TRUE,
        );
      case 'or':
        return joined(
          condition.of.map((each) => this.write(each, isWanted, elements)),
          'OR',
          TRUE,
          FALSE,
        );
      case 'not':
        return negated(this.write(condition.of, !isWanted, elements));
      case 'any': {
        const { element, of } = condition;
        const over = this.#access(condition.attribute, elements).elements?.(element);
        if (!over) return FALSE;
        const inner = this.write(of, isWanted, new Map([...elements, [element, over.access]]));
        return inner === FALSE ? FALSE : `EXISTS (SELECT 1 FROM ${over.from} WHERE ${inner})`;
      }
      default:
        return this.#atom(condition, isWanted, elements);
    }
  }

  #access([root = '', ...below]: Path, elements: Elements): Access {
    return elements.get(root)?.(below) ?? this.#column([root, ...below]);
  }

  #atom(atom: Atom, isWanted: boolean, elements: Elements): string {
    const access = this.#access(atom.attribute, elements);
    const held = access.kinds.map((kind) => ofKind(atom, kind, access));
    const { isNull } = access;
    if (isNull && holdsOfNull(atom, isNull.meaning, isWanted)) held.push(isNull.sql);
    return joined(held, 'OR', TRUE, FALSE);
  }
}

/** Of a row that has no value. */
function holdsOfNull(atom: Atom, meaning: NullMeaning, isWanted: boolean): boolean {
  const [absent, given] = [atomHolds(atom, MISSING), atomHolds(atom, null)];
  if (meaning === 'absent') return absent;
  if (meaning === 'null') return given;
  return isWanted ? absent && given : absent || given;
}

/** What the atom comes to where the value is of a kind. */
function ofKind(atom: Atom, kind: Kind, access: Access): string {
  switch (atom.op) {
    case 'exists':
      return access.isOf(kind);
    case 'in':
      return joined(
        [...new Set(atom.values)].map((value) => comparison('eq', kind, value, access)),
        'OR',
        TRUE,
        FALSE,
      );
    case 'contains':
      return containing(atom.value, kind, access);
    case 'starts_with':
    case 'ends_with':
    case 'contains_text':
      if (kind !== 'text') return FALSE;
      return atom.value === ''
        ? access.isOf('text')
        : both(access.isOf('text'), access.text(atom.op, atom.value));
    default:
      return comparison(atom.op, kind, atom.value, access);
  }
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

function comparison(op: Comparison, kind: Kind, value: Value, access: Access): string {
  const is = access.isOf(kind);
  // Of another type its order says all, and so it does of null.
  if (rankOf(value) !== rankOf(EXAMPLES[kind]) || kind === 'null')
    return compares(op, EXAMPLES[kind], value) ? is : FALSE;
  if (op === 'ne') return both(is, negated(access.compared(kind, '=', value)));
  if (kind === 'boolean') {
    const sides = [false, true].filter((each) => compares(op, each, value));
    return both(
      is,
      joined(
        sides.map((each) => access.compared(kind, '=', each)),
        'OR',
        TRUE,
        FALSE,
      ),
    );
  }
  return both(is, access.compared(kind, SIGNS[op], value));
}

function containing(value: Value, kind: Kind, access: Access): string {
  if ((kind !== 'array' && kind !== 'object') || !access.elements) return FALSE;
  // Both kinds are gone over at once.
  if (kind === 'object' && access.kinds.includes('array')) return FALSE;
  const { from, access: inner } = access.elements('element');
  const element = inner([]);
  const held = element.kinds.map((each) => comparison('eq', each, value, element));
  return `EXISTS (SELECT 1 FROM ${from} WHERE ${joined(held, 'OR', TRUE, FALSE)})`;
}

export const TRUE = '1 = 1';
export const FALSE = '1 = 0';

const both = (one: string, other: string): string => joined([one, other], 'AND', FALSE, TRUE);

const negated = (text: string): string => (text === TRUE ? FALSE : text === FALSE ? TRUE : `NOT (${text})`);

function joined(texts: readonly string[], word: 'AND' | 'OR', absorbing: string, neutral: string): string {
  if (texts.includes(absorbing)) return absorbing;
  const left = [...new Set(texts)].filter((each) => each !== neutral);
  if (left.length === 0) return neutral;
  return left.length === 1 ? (left[0] as string) : `(${left.join(` ${word} `)})`;
}
