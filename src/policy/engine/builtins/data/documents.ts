import { parseJson } from '../../values/parse.ts';
import { isArray, isNumber, numberText, RegoObject, RegoSet, type Value } from '../../values/values.ts';
import {
  any,
  array,
  type BuiltinContext,
  BuiltinError,
  type BuiltinTable,
  object,
  text,
} from '../builtin.ts';
import { isInRange } from '../numbers/literals.ts';
import { marshalJson } from './json.ts';
import { type Path, parsePath } from './paths.ts';

/** Fuel units per character of JSON: it is read twice. */
const unitsPerCharacter = 40;
/** Fuel units of a step of a path, and of a value that is looked for in what the paths select. */
const unitsPerStep = 1_500;
const unitsPerValue = 1_000;
/** Go's encoding/json refuses what is nested deeper. */
const deepestJson = 10_000;

export const documentBuiltins: BuiltinTable = {
  'json.marshal': ([value], context) => marshalJson(any(value), context),
  'json.unmarshal': ([value], context) => unmarshalJson(text(value), context),
  'json.is_valid': ([value], context) => typeof value === 'string' && isJson(value, context),
  'json.filter': ([source, paths], context) => filter(object(source), selection(paths, context), context),
  'json.remove': ([source, paths], context) => remove(object(source), selection(paths, context), context),
};

/** @throws BuiltinError for what is not JSON, is nested too deeply, or has a number beyond OPA's largest exponent */
export function unmarshalJson(value: string, context: BuiltinContext): Value {
  context.spend(value.length * unitsPerCharacter);
  let parsed: Value;
  try {
    parsed = parseJson(value, (units) => context.spend(units));
  } catch (cause) {
    if (!(cause instanceof SyntaxError)) throw cause;
    throw new BuiltinError('not JSON', { cause });
  }
  if (/\d[eE]/.test(value)) checkNumbers(parsed);
  return parsed;
}

function checkNumbers(value: Value): void {
  if (isNumber(value)) {
    if (!isInRange(numberText(value))) throw new BuiltinError('the exponent of a number is too large');
  } else if (isArray(value)) value.forEach(checkNumbers);
  else if (value instanceof RegoObject) for (const [, inner] of value.entries()) checkNumbers(inner);
}

function isJson(value: string, context: BuiltinContext): boolean {
  context.spend(value.length * unitsPerCharacter);
  try {
    JSON.parse(value);
  } catch {
    return false;
  }
  return value.length <= deepestJson || depthOf(value) <= deepestJson;
}

/** Of well-formed JSON. */
function depthOf(json: string): number {
  let [depth, deepest] = [0, 0];
  for (let at = 0; at < json.length; at += 1) {
    const unit = json[at];
    if (unit === '"') {
      at += 1;
      while (json[at] !== '"') at += json[at] === '\\' ? 2 : 1;
    } else if (unit === '[' || unit === '{') deepest = Math.max(deepest, ++depth);
    else if (unit === ']' || unit === '}') depth -= 1;
  }
  return deepest;
}

/** What the paths select, as an object in objects; null stands for all that is there. */
function selection(paths: Value | undefined, context: BuiltinContext): RegoObject {
  const root = new RegoObject();
  for (const path of (paths instanceof RegoSet ? paths.sorted() : array(paths)).map(parsePath)) {
    context.spend(path.length * unitsPerStep);
    select(root, path);
  }
  return root;
}

function select(root: RegoObject, path: Path): void {
  let node = root;
  for (const [index, key] of path.entries()) {
    if (index === path.length - 1) {
      node.set(key, null);
      return;
    }
    let next = node.get(key);
    if (next === null) return;
    if (!(next instanceof RegoObject)) {
      next = new RegoObject();
      node.set(key, next);
    }
    node = next;
  }
}

function filter(value: Value, selected: RegoObject, context: BuiltinContext): Value {
  context.spend(unitsPerValue);
  const inner = (each: Value, at: Value): Value | undefined => {
    const below = selected.get(at);
    return below instanceof RegoObject
      ? filter(each, below, context)
      : below === undefined
        ? undefined
        : each;
  };
  if (isArray(value)) return defined(value.map((element, index) => inner(element, String(index))));
  if (value instanceof RegoSet)
    return new RegoSet(defined(value.sorted().map((member) => inner(member, member))));
  if (!(value instanceof RegoObject)) return value;
  // The keys are written as they are in the larger one.
  const keys = (value.size < selected.size ? selected : value).sorted().map(([key]) => key);
  context.spend(keys.length * unitsPerValue);
  const filtered = new RegoObject();
  for (const key of keys) {
    const found = value.get(key);
    const kept = found === undefined ? undefined : inner(found, key);
    if (kept !== undefined) filtered.set(key, kept);
  }
  return filtered;
}

function defined(values: readonly (Value | undefined)[]): Value[] {
  return values.filter((value) => value !== undefined);
}

function remove(value: Value, selected: RegoObject, context: BuiltinContext): Value {
  context.spend(unitsPerValue);
  const inner = (each: Value, at: Value): Value | undefined => {
    context.spend(unitsPerValue);
    const below = selected.get(at);
    return below instanceof RegoObject
      ? remove(each, below, context)
      : below === undefined
        ? each
        : undefined;
  };
  if (isArray(value)) return defined(value.map((element, index) => inner(element, String(index))));
  if (value instanceof RegoSet)
    return new RegoSet(defined(value.sorted().map((member) => inner(member, member))));
  if (!(value instanceof RegoObject)) return value;
  const kept = new RegoObject();
  for (const [key, each] of value.entries()) {
    const rest = inner(each, key);
    if (rest !== undefined) kept.set(key, rest);
  }
  return kept;
}
