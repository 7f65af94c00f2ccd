import type { Path } from '../condition.ts';
import { planUnsupported } from '../rego.ts';
import type { Mongo } from './mongodb.ts';
import { type Access, type Kind, kinds } from './writer.ts';

/** An aggregation expression. */
export type Expression = unknown;

/** By name alone: of an array, or of text, there are no members. Nothing, where it is not there. */
export const atPath = (root: string, path: Path): Expression =>
  path.reduce<Expression>(
    (value, name) => ({
      $cond: [
        { $eq: [{ $type: value }, 'object'] },
        { $getField: { field: { $literal: name }, input: value } },
        '$$REMOVE',
      ],
    }),
    root,
  );

export const typeOf = (value: Expression): Expression => ({ $type: value });

export const arrayOnTheWay = (holder: Path): Expression => ({
  $eq: [typeOf(atPath('$$ROOT', holder)), 'array'],
});

const TYPES: Readonly<Record<Kind, readonly string[]>> = {
  null: ['null'],
  boolean: ['bool'],
  number: ['int', 'long', 'double', 'decimal'],
  text: ['string'],
  array: ['array'],
  object: ['object'],
};
/** What JSON has not, such as a date: never selected, for whatever it may be to who reads it. */
const ALL = [...Object.values(TYPES).flat(), 'missing', 'undefined'];

const OPERATORS = { '=': '$eq', '<': '$lt', '<=': '$lte', '>': '$gt', '>=': '$gte' } as const;

let depth = 0;

/** A value that may be whatever JSON can be. `made`: what an expression is, of the whole or of an element. */
export function inExpression(value: Expression, made: (expression: Expression) => Mongo): Access<Mongo> {
  const type = typeOf(value);
  const isOf = (kind: Kind): Expression => ({ $in: [type, TYPES[kind]] });
  return {
    kinds,
    isOf: (kind) => made(isOf(kind)),
    compared: (_kind, op, wanted) => made({ [OPERATORS[op]]: [value, { $literal: wanted }] }),
    // What is no text would be an error here, whatever stands beside it.
    text: (op, text) =>
      made({
        $cond: [
          isOf('text'),
          { $regexMatch: { input: value, regex: { $literal: patternOf(op, text) } } },
          false,
        ],
      }),
    isNull: undefined,
    isOther: made({ $not: [{ $in: [type, ALL] }] }),
    elements: (_name, of, write) => {
      depth += 1;
      try {
        const name = `e${depth}`;
        const ofElement = (expression: Expression): Mongo => ({ filter: undefined, expression });
        const inner = write(of, (below) => inExpression(atPath(`$$${name}`, below), ofElement));
        const members = { $map: { input: { $objectToArray: value }, as: 'm', in: '$$m.v' } };
        const input = {
          $cond: [{ $isArray: [value] }, value, { $cond: [{ $eq: [type, 'object'] }, members, []] }],
        };
        return made({ $anyElementTrue: [{ $map: { input, as: name, in: inner.expression } }] });
      } finally {
        depth -= 1;
      }
    },
  };
}

/** A pattern that PCRE and JavaScript read alike. `$` would also stand before a line's end. */
export function patternOf(op: 'starts_with' | 'ends_with' | 'contains_text', text: string): string {
  if (text.includes('\0'))
    throw planUnsupported('text with a null character in it has no pattern in MongoDB');
  const literal = text.replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&');
  return op === 'starts_with' ? `^${literal}` : op === 'ends_with' ? `${literal}(?![\\s\\S])` : literal;
}
