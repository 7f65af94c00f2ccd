import { numberOf } from './numbers.ts';
import { RegoObject, RegoSet, type Value } from './values.ts';

/** What a path comes to, as in OPA's data API: a part is a name, and where there is none such, the integer that it may be. */
export function valueBelow(value: Value, path: readonly string[]): Value | undefined {
  let at: Value | undefined = value;
  for (const part of path) {
    if (at === undefined) return undefined;
    const named: Value | undefined = member(at, part);
    const integer = named === undefined ? integerIn(part) : undefined;
    at = integer === undefined ? named : member(at, integer);
  }
  return at;
}

/** Of 64 bits, as Go reads it. */
function integerIn(part: string): Value | undefined {
  if (!/^[+-]?\d{1,19}$/.test(part)) return undefined;
  const integer = BigInt(part);
  return integer === BigInt.asIntN(64, integer) ? numberOf(String(integer)) : undefined;
}

function member(value: Value, key: Value): Value | undefined {
  if (value instanceof RegoObject) return value.get(key);
  if (value instanceof RegoSet) return value.has(key) ? key : undefined;
  if (Array.isArray(value)) return typeof key === 'number' && key >= 0 ? (value as Value[])[key] : undefined;
  return undefined;
}
