import { Decimal, isArray, isNumber, numberText, RegoObject, type Value } from '../../values/values.ts';
import { type BuiltinContext, BuiltinError } from '../builtin.ts';
import { marshalJson } from '../data/json.ts';

/** JSON whose numbers are floats, so that 1 and 1.00 are one (gojsonschema's marshalWithoutNumber). */
export function canonicalJson(value: Value, context: BuiltinContext): string {
  return marshalJson(withFloats(value), context);
}

function withFloats(value: Value): Value {
  if (isNumber(value)) {
    const float = Number(numberText(value));
    // OPA itself fails there.
    if (!Number.isFinite(float)) throw new BuiltinError('a number is too large');
    return new Decimal(Object.is(float, -0) ? '-0' : String(float));
  }
  if (isArray(value)) return value.map(withFloats);
  if (value instanceof RegoObject)
    return new RegoObject(value.entries().map(([key, inner]) => [key, withFloats(inner)] as const));
  return value;
}
