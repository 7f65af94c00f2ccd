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
 * For PostgreSQL 12 and later, encoded in UTF-8: columns of text, of numbers but not `real`, of booleans, and of `jsonb`.
 * Placeholders are `$1` and so on; a parameter is text or a number.
 */
export const renderPostgres = (condition: Condition, fields: Fields): Sql =>
  renderSql(condition, fields, postgres);

const postgres: Dialect = {
  placeholder: (number) => `$${number}`,
  parameter: (value) => (typeof value === 'boolean' ? String(value) : (value as string | number)),
  quoted: (name) => quoted(name),
  scalar: scalarAccess,
  json: inJson,
};

const quoted = (name: string): string => `"${name.replaceAll('"', '""')}"`;

const CASTS: Partial<Record<Kind, string>> = { text: 'text', number: 'numeric', boolean: 'boolean' };

/** As PostgreSQL counts characters. */
const pointsIn = (text: string): number => Array.from(text).length;

/** In the order of the bytes of UTF-8. */
const textOps = (value: string, put: Placeholder) => (op: string, text: string) => {
  const of = `(${value} COLLATE "C")`;
  if (op === 'starts_with') return `left(${of}, ${pointsIn(text)}) = ${put(text)}::text COLLATE "C"`;
  if (op === 'ends_with') return `right(${of}, ${pointsIn(text)}) = ${put(text)}::text COLLATE "C"`;
  return `strpos(${of}, ${put(text)}::text) > 0`;
};

const comparedAs = (value: string, kind: Kind, op: string, put: string): string =>
  `${value} ${op} ${put}::${CASTS[kind]}${kind === 'text' ? ' COLLATE "C"' : ''}`;

/** Of another type than was said the statement fails. */
function scalarAccess(
  column: string,
  { type, null: meaning = 'either' }: Field,
  put: Placeholder,
): SqlAccess {
  const own = type as Kind;
  return {
    kinds: [own],
    isOf: (kind) => (kind === own ? `${column} IS NOT NULL` : FALSE),
    compared: (kind, op, value) => comparedAs(column, kind, op, put(value)),
    text: textOps(column, put),
    isNull: { is: `${column} IS NULL`, meaning },
    elements: undefined,
  };
}

const JSON_TYPES: Readonly<Record<Kind, string>> = {
  null: 'null',
  boolean: 'boolean',
  number: 'number',
  text: 'string',
  array: 'array',
  object: 'object',
};

/** `json`: SQL of type jsonb, or NULL. What is cast is looked at first: the order of AND is not given. */
function inJson(json: string, below: Path, put: Placeholder): SqlAccess {
  const at = below.length === 0 ? json : `(${json} #> ${pathText(below)})`;
  const type = `coalesce(jsonb_typeof(${at}), '')`;
  const text = `(${at} #>> '{}')`;
  const cast = (kind: Kind, sql: string): string =>
    `CASE WHEN ${type} = '${JSON_TYPES[kind]}' THEN ${sql} ELSE false END`;
  return {
    kinds,
    isOf: (kind) => `${type} = '${JSON_TYPES[kind]}'`,
    compared: (kind, op, value) =>
      cast(kind, comparedAs(kind === 'text' ? text : `${text}::${CASTS[kind]}`, kind, op, put(value))),
    text: (op, value) => cast('text', textOps(text, put)(op, value)),
    isNull: undefined,
    elements: someRow(
      (name) =>
        `jsonb_path_query(CASE WHEN ${type} IN ('array', 'object') THEN ${at} END, CASE WHEN ${type} = 'object' THEN 'strict $.*'::jsonpath ELSE 'strict $[*]'::jsonpath END) AS ${name}(value)`,
      (name, inner) => inJson(`${name}.value`, inner, put),
    ),
  };
}

/** A path as a literal. A name that is a number would be a place in an array. */
function pathText(below: Path): string {
  if (below.some((name) => /^[+-]?\d+$|[\0\\"]/.test(name) || name.trim() !== name))
    throw planUnsupported('a name that is a number, or has a quote in it, has no path in PostgreSQL');
  return `'{${below.map((name) => `"${name.replaceAll("'", "''")}"`).join(',')}}'`;
}
