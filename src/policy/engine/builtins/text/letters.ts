import { isAssignedLater } from '../../values/quote.ts';

/**
 * Letter case as Go has it: each character alone, and to one character. The runtime's own makes "SS" of "ß", and knows
 * the end of a word.
 */
export function toLower(value: string): string {
  return isAscii(value) ? value.toLowerCase() : mapped(value, lowerOf);
}

export function toUpper(value: string): string {
  return isAscii(value) ? value.toUpperCase() : mapped(value, upperOf);
}

function isAscii(value: string): boolean {
  return Buffer.byteLength(value) === value.length;
}

function mapped(value: string, change: (character: string) => string): string {
  return Array.from(value, (character) => {
    const changed = change(character);
    return isKnown(character) && isKnown(changed) ? changed : character;
  }).join('');
}

function isKnown(character: string): boolean {
  return !isAssignedLater(character.codePointAt(0) ?? 0);
}

function lowerOf(character: string): string {
  return character === 'İ' ? 'i' : single(character.toLowerCase(), character);
}

/** Greek letters with an iota below have a capital of one character, with the iota beside. */
const withIota = /[\u1f80-\u1f87\u1f90-\u1f97\u1fa0-\u1fa7]/;
const withIotaToo = /[\u1fb3\u1fc3\u1ff3]/;

function upperOf(character: string): string {
  const point = character.charCodeAt(0);
  if (withIota.test(character)) return String.fromCharCode(point + 8);
  if (withIotaToo.test(character)) return String.fromCharCode(point + 9);
  return single(character.toUpperCase(), character);
}

function single(changed: string, character: string): string {
  return Array.from(changed).length === 1 ? changed : character;
}
