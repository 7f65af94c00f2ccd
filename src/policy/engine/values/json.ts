import { compareValues, isNumber, numberText, RegoObject, RegoSet, type Value } from './values.ts';

type Spend = (units: number) => void;

/** Fuel units of an element, of a member, which is sorted twice, and of a character of a text. Measured. */
const unitsPerElement = 60;
const unitsPerMember = 400;
const unitsPerCharacter = 4;

/**
 * JSON text as OPA's data API has it: numbers exact, sets as arrays in order, keys that are no text as the JSON of
 * them, members in the order of their names.
 */
export function toJson(value: Value, spend: Spend = () => {}): string {
  if (typeof value === 'string') return quoted(value, spend);
  if (value === null || typeof value === 'boolean') return String(value);
  if (isNumber(value)) return numberText(value);
  if (value instanceof RegoObject) return objectToJson(value, spend);
  const elements = value instanceof RegoSet ? value.sorted() : value;
  spend(elements.length * unitsPerElement);
  return `[${elements.map((element) => toJson(element, spend)).join(',')}]`;
}

function objectToJson(object: RegoObject, spend: Spend): string {
  spend(object.size * unitsPerMember);
  // Of two keys with one text, such as [1] and {1}, the later counts.
  const members = new Map(object.sorted().map(([key, inner]) => [keyText(key, spend), toJson(inner, spend)]));
  const named = Array.from(members).sort(([a], [b]) => compareValues(a, b));
  return `{${named.map(([key, inner]) => `${JSON.stringify(key.toWellFormed())}:${inner}`).join(',')}}`;
}

function quoted(text: string, spend: Spend): string {
  spend(text.length * unitsPerCharacter);
  return JSON.stringify(text.toWellFormed());
}

const keyText = (key: Value, spend: Spend): string => (typeof key === 'string' ? key : toJson(key, spend));
