import type { Condition, Path, Value } from '../condition.ts';
import { planUnsupported } from '../rego.ts';
import { checkFields, type Field, type Fields, locate } from './fields.ts';
import { type Access, type Logic, Writer } from './writer.ts';

/** A condition of SQL, true or false for each row and never NULL, and what its placeholders stand for, in order. */
export interface Sql {
  readonly text: string;
  readonly parameters: readonly (string | number)[];
}

/** What is put in the place of values: the text of a placeholder. */
export type Placeholder = (value: Value) => string;

/** An expression of SQL that has a value. */
export type SqlAccess = Access<string>;

/** What differs between databases. `column` and `json` are expressions of SQL. */
export interface Dialect {
  readonly placeholder: (number: number) => string;
  readonly parameter: (value: Value) => string | number;
  readonly quoted: (name: string) => string;
  readonly scalar: (column: string, field: Field, put: Placeholder) => SqlAccess;
  /** JSON, or NULL. */
  readonly json: (column: string, below: Path, put: Placeholder) => SqlAccess;
}

/** A column, by the type that it was said to have. */
function accessTo(
  { quoted, scalar, json }: Dialect,
  { field, below }: ReturnType<typeof locate>,
  put: Placeholder,
): SqlAccess {
  const { name, type, null: meaning = 'either' } = field;
  const column = quoted(name);
  if (type !== 'json' && type !== 'texts' && type !== 'numbers') return scalar(column, field, put);
  const isNull = below.length === 0 ? { is: `${column} IS NULL`, meaning } : undefined;
  return { ...json(column, below, put), isNull };
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
  const column = (path: Path): SqlAccess => accessTo(dialect, locate(path, fields), put);
  const written = new Writer(logic, column).write(condition);
  const parameters: (string | number)[] = [];
  const text = written.replace(/\0(\d+)\0/g, (_whole, at: string) => {
    parameters.push(dialect.parameter(values[Number(at)] as Value));
    return dialect.placeholder(parameters.length);
  });
  return { text, parameters };
}

const joined = (texts: readonly string[], word: 'AND' | 'OR', absorbing: string, neutral: string): string => {
  if (texts.includes(absorbing)) return absorbing;
  const left = [...new Set(texts)].filter((each) => each !== neutral);
  if (left.length === 0) return neutral;
  return left.length === 1 ? (left[0] as string) : `(${left.join(` ${word} `)})`;
};

const TRUE = '1 = 1';
export const FALSE = '1 = 0';

const logic: Logic<string> = {
  always: TRUE,
  never: FALSE,
  all: (of) => joined(of, 'AND', FALSE, TRUE),
  some: (of) => joined(of, 'OR', TRUE, FALSE),
  not: (text) => (text === TRUE ? FALSE : text === FALSE ? TRUE : `NOT (${text})`),
};

/** Some element of what a statement goes over as rows, each named. */
export const someRow =
  (from: (name: string) => string, access: (name: string, below: Path) => SqlAccess): SqlAccess['elements'] =>
  (name, of, write) => {
    const inner = write(of, (below) => access(name, below));
    return inner === FALSE ? FALSE : `EXISTS (SELECT 1 FROM ${from(name)} WHERE ${inner})`;
  };
