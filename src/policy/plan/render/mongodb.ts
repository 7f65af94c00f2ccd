import type { Condition, Path } from '../condition.ts';
import { planUnsupported } from '../rego.ts';
import { checkFields, type Field, type Fields, locate } from './fields.ts';
import {
  arrayOnTheWay,
  atPath,
  type Expression,
  inExpression,
  patternOf,
  typeOf,
} from './mongodb-expressions.ts';
import { type Access, type Kind, type Logic, logicOf, Writer } from './writer.ts';

/** A filter document, such as `find` takes. */
export type MongoFilter = Readonly<Record<string, unknown>>;

/** The same condition as a filter, which indexes serve, and as an aggregation expression, which says all. */
export interface Mongo {
  /** Undefined of what is about an element, which no filter of the whole is about. */
  readonly filter: MongoFilter | undefined;
  readonly expression: Expression;
}

/**
 * For MongoDB 5.0 and later, with the collation that compares bytes. Fields of text, numbers and booleans become query
 * operators; what is `json` (or a list) becomes `$expr`, as query operators go into arrays by themselves. A value of
 * another type than was said is not selected, neither for what it is nor for what it is not.
 */
export function renderMongodb(condition: Condition, fields: Fields): MongoFilter {
  checkFields(fields);
  for (const { name } of fields.values())
    if (name.split('.').some((part) => part === '' || part.startsWith('$')))
      throw planUnsupported(`${name.slice(0, 256)} is no path of fields in MongoDB`);
  const column = (path: Path): Access<Mongo> => {
    const { field, below } = locate(path, fields);
    const parts = field.name.split('.');
    if (field.type === 'text' || field.type === 'number' || field.type === 'boolean')
      return scalarAccess(parts, field);
    const { null: meaning = 'either' } = field;
    const isNull =
      below.length === 0
        ? { is: asFilter({ $in: [typeOf(atPath('$$ROOT', parts)), ['missing', 'undefined']] }), meaning }
        : undefined;
    return { ...inExpression(atPath('$$ROOT', [...parts, ...below]), asFilter), isNull };
  };
  return new Writer(mongo, column).write(condition).filter ?? NOTHING;
}

/** Of the whole. */
const asFilter = (expression: Expression): Mongo => ({ filter: { $expr: expression }, expression });

const NOTHING: MongoFilter = { $nor: [{}] };

const filtersOf = (of: readonly Mongo[]): readonly MongoFilter[] | undefined => {
  const filters = of.map(({ filter }) => filter);
  return filters.every((each) => each !== undefined) ? filters : undefined;
};

const put = (of: readonly Mongo[], query: string, operator: string): Mongo => {
  const filters = filtersOf(of);
  return {
    filter: filters && { [query]: filters },
    expression: { [operator]: of.map(({ expression }) => expression) },
  };
};

const mongo: Logic<Mongo> = logicOf<Mongo>(
  { always: { filter: {}, expression: true }, never: { filter: NOTHING, expression: false } },
  {
    all: (of) => put(of, '$and', '$and'),
    some: (of) => put(of, '$or', '$or'),
    not: (of) => put([of], '$nor', '$not'),
  },
);

const TYPES: Partial<Record<Kind, string>> = { text: 'string', number: 'number', boolean: 'bool' };
const OPERATORS = { '=': '$eq', '<': '$lt', '<=': '$lte', '>': '$gt', '>=': '$gte' } as const;

/** Query operators look into arrays, at the field and on the way to it, so each says that there is none. */
function scalarAccess(
  parts: readonly string[],
  { name, type, null: meaning = 'either' }: Field,
): Access<Mongo> {
  const own = type as Kind;
  const within = inExpression(atPath('$$ROOT', parts), asFilter);
  const holders = parts.slice(0, -1).map((_part, at) => parts.slice(0, at + 1));
  const noArray = holders.map((holder) => ({ [holder.join('.')]: { $not: { $type: 'array' } } }));
  const asked = (how: MongoFilter, expression: Expression): Mongo => {
    const own = { [name]: { ...how, $not: { $type: 'array' } } };
    const guards = holders.map((holder) => ({ $not: [arrayOnTheWay(holder)] }));
    return {
      filter: noArray.length === 0 ? own : { $and: [own, ...noArray] },
      expression: guards.length === 0 ? expression : { $and: [...guards, expression] },
    };
  };
  const value = atPath('$$ROOT', parts);
  const isOf = (kind: Kind): Mongo =>
    kind === own ? asked({ $type: TYPES[own] }, within.isOf(own).expression) : mongo.never;
  const isNull = asked({ $eq: null }, { $in: [typeOf(value), ['missing', 'undefined', 'null']] });
  return {
    kinds: [own],
    isOf,
    compared: (kind, op, wanted) =>
      asked(
        { [OPERATORS[op]]: wanted },
        mongo.all([isOf(kind), within.compared(kind, op, wanted)]).expression,
      ),
    text: (op, text) =>
      asked({ $regex: patternOf(op, text) }, mongo.all([isOf('text'), within.text(op, text)]).expression),
    impliesKind: true,
    isNull: { is: isNull, meaning },
    isOther: mongo.not(mongo.some([isOf(own), isNull])),
    elements: undefined,
  };
}
