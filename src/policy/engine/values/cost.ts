import { unitsOfDigits } from './parse.ts';
import { isArray, isNumber, numberText, RegoObject, RegoSet, type Value } from './values.ts';

/** Fuel units of a value that is written into a module's memory, of a member or key, and of a character. */
const unitsPerValue = 40;
const unitsPerKey = 60;
const unitsPerCharacter = 2;

/** Pays for a value to be written, as it goes: what is shared in it is written again each time, without end. */
export function payFor(value: Value, spend: (units: number) => void): void {
  if (typeof value === 'string') return spend(unitsPerValue + value.length * unitsPerCharacter);
  if (isNumber(value) && typeof value !== 'number') {
    const { length } = numberText(value);
    return spend(unitsPerValue + length * unitsPerCharacter + unitsOfDigits(length));
  }
  spend(unitsPerValue);
  if (isArray(value)) for (const element of value) payFor(element, spend);
  else if (value instanceof RegoSet)
    for (const member of value.members()) {
      spend(unitsPerKey);
      payFor(member, spend);
    }
  else if (value instanceof RegoObject)
    for (const [key, inner] of value.entries()) {
      spend(unitsPerKey);
      payFor(key, spend);
      payFor(inner, spend);
    }
}
