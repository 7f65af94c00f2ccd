/**
 * What a terminal would act on instead of showing it: control characters (C0, DEL, C1), line and paragraph separators,
 * what turns the direction of text, halves of surrogate pairs. All of it can stand in what a request once said.
 */
const UNSEEN = /[\p{Cc}\p{Zl}\p{Zp}\p{Cs}\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]/gu;

const short = (code: number): string => code.toString(16).padStart(2, '0');
const long = (code: number): string => code.toString(16).padStart(4, '0');

function escaped(character: string): string {
  const code = character.charCodeAt(0);
  return code < 0x100 ? `\\x${short(code)}` : `\\u${long(code)}`;
}

/** On one line, whatever it held. */
export const visible = (text: string): string => text.replace(UNSEEN, escaped);

/** With its line breaks and tabs, for text of our own making that quotes others. */
export const visibleLines = (text: string): string =>
  text.replace(UNSEEN, (character) =>
    character === '\n' || character === '\t' ? character : escaped(character),
  );

/** JSON text: the same characters as JSON escapes, so that it is still the same JSON. */
export const visibleJson = (json: string): string =>
  json.replace(UNSEEN, (character) => (character === '\n' ? '\n' : `\\u${long(character.charCodeAt(0))}`));
