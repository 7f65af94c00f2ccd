import { ServiceError } from '../../../errors.ts';
import { numberOf } from './numbers.ts';
import { parseValue } from './parse.ts';

/** A number that a double may not hold, or that JavaScript would write another way. May stand in a text as well. */
const mayDiffer = /\d[.eE]|\d{16}|-0/;

type Reviver = (name: string, value: unknown, context: { source?: string }) => unknown;
const parse = JSON.parse as (text: string, reviver?: Reviver) => unknown;

/**
 * JSON as a value that a ValueWriter writes, its numbers exact as in OPA; or, for the tests' sake, a Rego value with
 * sets and keys of any kind.
 * @throws ServiceError `invalid_request`
 */
export function parseExact(text: string): unknown {
  try {
    return parseExactJson(text);
  } catch (cause) {
    if (!(cause instanceof SyntaxError)) throw cause;
    try {
      return parseValue(text);
    } catch {
      throw new ServiceError('invalid_request', 'The input is not JSON.', { cause });
    }
  }
}

/** @throws SyntaxError */
export function parseExactJson(text: string): unknown {
  if (!mayDiffer.test(text)) return parse(text);
  return parse(text, (_, value, { source }) =>
    typeof value === 'number' && source !== undefined && String(value) !== source ? numberOf(source) : value,
  );
}
