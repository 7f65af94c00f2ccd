import { compareValues, isArray, isNumber, numberText, RegoSet, type Value } from './values.ts';

/**
 * JSON text as OPA's data API has it: numbers exact, sets as arrays in order, keys that are no text as the JSON of
 * them, members in the order of their names.
 */
export function toJson(value: Value): string {
  if (typeof value === 'string') return JSON.stringify(value.toWellFormed());
  if (value === null || typeof value === 'boolean') return String(value);
  if (isNumber(value)) return numberText(value);
  if (isArray(value)) return `[${value.map(toJson).join(',')}]`;
  if (value instanceof RegoSet) return `[${value.sorted().map(toJson).join(',')}]`;
  // Of two keys with one text, such as [1] and {1}, the later counts.
  const members = new Map(value.sorted().map(([key, inner]) => [keyText(key), toJson(inner)]));
  const named = Array.from(members).sort(([a], [b]) => compareValues(a, b));
  return `{${named.map(([key, inner]) => `${JSON.stringify(key.toWellFormed())}:${inner}`).join(',')}}`;
}

const keyText = (key: Value): string => (typeof key === 'string' ? key : toJson(key));
