import type { Condition, Path } from '../condition.ts';
import { planUnsupported } from '../rego.ts';
import type { Field, Fields } from './fields.ts';
import {
  type Dialect,
  FALSE,
  type Placeholder,
  renderSql,
  type Sql,
  type SqlAccess,
  someRow,
} from './sql.ts';
import { type Kind, kinds } from './writer.ts';

/**
 * For SQLite 3.38 and later. A column of text or numbers is taken by what each row holds in it; a boolean is an integer, and
 * json is text. Placeholders are `?`.
 */
export const renderSqlite = (condition: Condition, fields: Fields): Sql =>
  renderSql(condition, fields, sqlite);

const sqlite: Dialect = {
  placeholder: () => '?',
  parameter: (value) => (typeof value === 'boolean' ? Number(value) : (value as string | number)),
  quoted: (name) => quoted(name),
  scalar: scalarAccess,
  json: inJson,
};

/** A name in double quotes that is no column's would be taken for text. */
const quoted = (name: string): string => `\`${name.replaceAll('`', '``')}\``;

const bytes = (text: string): number => Buffer.byteLength(text);

/** By the bytes of UTF-8, as the database is to be encoded, whatever stands in the text. */
const textOps = (value: string, put: Placeholder) => (op: string, text: string) => {
  const blob = `CAST(${value} AS BLOB)`;
  const part = {
    starts_with: () => `substr(${blob}, 1, ${bytes(text)})`,
    ends_with: () => `substr(${blob}, -${bytes(text)})`,
  }[op];
  return part
    ? `ifnull(${part()} = CAST(${put(text)} AS BLOB), 0)`
    : `ifnull(instr(${blob}, CAST(${put(text)} AS BLOB)) > 0, 0)`;
};

function scalarAccess(
  column: string,
  { type, null: meaning = 'either' }: Field,
  put: Placeholder,
): SqlAccess {
  const stored: Partial<Record<Kind, string>> = {
    [type === 'boolean' ? 'boolean' : 'number']: `typeof(${column}) IN ('integer', 'real')`,
    text: `typeof(${column}) = 'text'`,
  };
  return {
    kinds: Object.keys(stored) as Kind[],
    isOf: (kind) => stored[kind] ?? FALSE,
    compared: (kind, op, value) =>
      kind === 'text' ? `${column} ${op} ${put(value)} COLLATE BINARY` : `${column} ${op} ${put(value)}`,
    text: textOps(column, put),
    isNull: { is: `${column} IS NULL`, meaning },
    elements: undefined,
  };
}

const JSON_TYPES: Readonly<Record<Kind, readonly string[]>> = {
  null: ['null'],
  boolean: ['true', 'false'],
  number: ['integer', 'real'],
  text: ['text'],
  array: ['array'],
  object: ['object'],
};

/** `json`: SQL of text that is JSON, or NULL. */
function inJson(json: string, below: Path, put: Placeholder): SqlAccess {
  const path = pathText(below);
  const typed = typedAccess(`ifnull(json_type(${json}, ${path}), '')`, `json_extract(${json}, ${path})`, put);
  // A scalar would be gone over as well, as its own element.
  const within = `CASE WHEN ${typed.isOf('array')} OR ${typed.isOf('object')} THEN ${json} END`;
  return {
    ...typed,
    elements: someRow(
      (name) => `json_each(${within}, ${path}) AS ${name}`,
      (name, inner) => elementAccess(name, inner, put),
    ),
  };
}

function elementAccess(name: string, below: Path, put: Placeholder): SqlAccess {
  // What is no JSON in itself, such as text, has no members.
  const json = `CASE WHEN ${name}.type IN ('array', 'object') THEN ${name}.value END`;
  const within = inJson(json, below, put);
  const itself = below.length === 0 ? typedAccess(`${name}.type`, `${name}.value`, put) : within;
  return { ...within, ...itself };
}

/** By an expression for the type of JSON, which is never NULL, and one for the value. */
function typedAccess(type: string, value: string, put: Placeholder): Omit<SqlAccess, 'elements'> {
  return {
    kinds,
    isOf: (kind) => `${type} IN (${JSON_TYPES[kind].map((name) => `'${name}'`).join(', ')})`,
    compared: (kind, op, wanted) =>
      kind === 'boolean' ? `${type} = '${String(wanted)}'` : `ifnull(${value} ${op} ${put(wanted)}, 0)`,
    text: textOps(value, put),
    isNull: undefined,
  };
}

/** A path of SQLite's, as a literal of SQL: names are quoted in it, and it knows no way to write a quote. */
function pathText(below: Path): string {
  if (below.some((name) => /["\\\0]/.test(name)))
    throw planUnsupported('a name with a quote or a backslash in it has no path in SQLite');
  return `'$${below.map((name) => `."${name.replaceAll("'", "''")}"`).join('')}'`;
}
