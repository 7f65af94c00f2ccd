import { partsOf } from '../../values/decimals.ts';
import type { RegoNumber } from '../../values/values.ts';
import { numberText } from '../../values/values.ts';
import { BuiltinError } from '../builtin.ts';
import { formats } from '../numbers/floats.ts';

/** What OPA's library for JSON Schema says (gojsonschema's default locale), word by word. */

/** A schema that is none. */
export class SchemaError extends BuiltinError {}

export const invalidType = (expected: string, given: string): SchemaError =>
  new SchemaError(`Invalid type. Expected: ${expected}, given: ${given}`);
export const mustBeOfA = (name: string, kind: string): SchemaError =>
  new SchemaError(`${name} must be of a ${kind}`);
export const mustBeOfAn = (name: string, kind: string): SchemaError =>
  new SchemaError(`${name} must be of an ${kind}`);
export const mustBeOfType = (name: string, kind: string): SchemaError =>
  new SchemaError(`${name} must be of type ${kind}`);
export const cannotBeGreater = (name: string, other: string): SchemaError =>
  new SchemaError(`${name} cannot be greater than ${other}`);
export const mustBeUnique = (name: string): SchemaError => new SchemaError(`${name} items must be unique`);

/** What is wrong with a document. */
export interface Mistake {
  readonly type: string;
  readonly field: string;
  readonly description: string;
}

/** A big.Float as fmt prints it. */
export function printBig(value: RegoNumber): string {
  const { negative, digits, exponent } = partsOf(numberText(value));
  return (negative ? '-' : '') + formats.g({ digits, point: digits.length + exponent }, undefined);
}
