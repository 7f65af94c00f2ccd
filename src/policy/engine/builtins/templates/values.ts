import { parseJson } from '../../values/parse.ts';
import {
  compareText,
  isArray,
  isNumber,
  numberText,
  RegoObject,
  toDisplay,
  type Value,
} from '../../values/values.ts';
import { type BuiltinContext, BuiltinError } from '../builtin.ts';

/** A number of the data: a text to Go, of a type of its own. */
export class JsonNumber {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }
}

/** Undefined is no value at all, null a nil that is there. Integers are bigint, floats number. */
export type GoValue =
  | undefined
  | null
  | boolean
  | string
  | bigint
  | number
  | JsonNumber
  | readonly GoValue[]
  | ReadonlyMap<string, GoValue>;

const unitsPerValue = 200;
const unitsPerCharacter = 60;

/** What OPA's evaluator prints is read as JSON: sets, other keys than texts, and some escapes are none. */
export function dataOf(value: RegoObject, context: BuiltinContext): GoValue {
  const written = toDisplay(value);
  context.spend(written.length * unitsPerCharacter);
  try {
    return fromRego(
      parseJson(written, (units) => context.spend(units)),
      context,
    );
  } catch (error) {
    if (error instanceof SyntaxError) throw new BuiltinError('no JSON', { cause: error });
    throw error;
  }
}

/** JSON has no other keys than texts. */
function fromRego(value: Value, context: BuiltinContext): GoValue {
  context.spend(unitsPerValue);
  if (isNumber(value)) return new JsonNumber(numberText(value));
  if (isArray(value)) return value.map((each) => fromRego(each, context));
  if (value instanceof RegoObject)
    return new Map(value.sorted().map(([key, each]) => [key as string, fromRego(each, context)]));
  return value as null | boolean | string;
}

export const isList = (value: GoValue): value is readonly GoValue[] => Array.isArray(value);
export const isMap = (value: GoValue): value is ReadonlyMap<string, GoValue> => value instanceof Map;

/** Not the zero of its type. */
export function isTrue(value: GoValue): boolean {
  if (value instanceof JsonNumber) return value.text !== '';
  if (isList(value)) return value.length > 0;
  if (isMap(value)) return value.size > 0;
  return Boolean(value);
}

/** As fmt prints it by `%v`, nil as `<nil>`. Paid for as it goes: what is shared is written again each time. */
export function print(value: GoValue, context: BuiltinContext, float: (value: number) => string): string {
  const inner = (each: GoValue): string => print(each, context, float);
  context.spend(unitsPerValue + (typeof value === 'string' ? value.length * 4 : 0));
  if (value === undefined || value === null) return '<nil>';
  if (typeof value === 'number') return float(value);
  if (value instanceof JsonNumber) return value.text;
  if (isList(value)) return `[${value.map(inner).join(' ')}]`;
  if (isMap(value)) {
    const entries = [...value].sort(([a], [b]) => compareText(a, b));
    return `map[${entries.map(([key, each]) => `${key}:${inner(each)}`).join(' ')}]`;
  }
  return String(value);
}
