/**
 * The subject of a client certificate as a name (RFC 8705 section 2.1.2, `tls_client_auth_subject_dn`). Compared exactly:
 * the same attributes in the same order, letter by letter. RFC 5280 section 7.1 lets names be equal that are written
 * otherwise; who is let in by one has it written as it is issued.
 */

/** An attribute's keyword as RFC 4514 section 3 has it, and its value. One to a relative name: those of several are not taken. */
export type Attribute = readonly [type: string, value: string];

/** By their object identifiers. What is not here has no text of its own, and names nobody. */
export const attributeTypes: Readonly<Record<string, string>> = {
  '2.5.4.3': 'CN',
  '2.5.4.6': 'C',
  '2.5.4.7': 'L',
  '2.5.4.8': 'ST',
  '2.5.4.9': 'STREET',
  '2.5.4.10': 'O',
  '2.5.4.11': 'OU',
  '0.9.2342.19200300.100.1.25': 'DC',
  '0.9.2342.19200300.100.1.1': 'UID',
};
const keywords = new Set(Object.values(attributeTypes));

export const MAX_SUBJECT = 1_024;
const MAX_ATTRIBUTES = 32;

/** By which its holder is found when it is presented. */
export const subjectName = (attributes: readonly Attribute[]): string =>
  `subject:${JSON.stringify(attributes)}`;

/** Whether a value could be in a name: text that shows. */
export const isValue = (value: string): boolean =>
  value !== '' &&
  value.length <= MAX_SUBJECT &&
  value.isWellFormed() &&
  !/\p{Cc}|\p{Cf}|\p{Zl}|\p{Zp}/u.test(value);

/**
 * Reads a name as RFC 4514 section 3 writes one, the most specific attribute first: `CN=deploy,OU=Agents,O=Acme,C=DE`.
 * Undefined for what is none, for one of several attributes in one place (`+`), and for values in hexadecimal (`#`).
 */
export function parseSubject(text: string): readonly Attribute[] | undefined {
  if (text === '' || text.length > MAX_SUBJECT) return undefined;
  const attributes: Attribute[] = [];
  let at = 0;
  while (at < text.length) {
    const keyword = /^([A-Za-z]+)=/.exec(text.slice(at, at + 16))?.[1];
    if (keyword === undefined || !keywords.has(keyword.toUpperCase())) return undefined;
    const read = valueAt(text, at + keyword.length + 1);
    if (!read || !isValue(read.value) || attributes.length === MAX_ATTRIBUTES) return undefined;
    attributes.push([keyword.toUpperCase(), read.value]);
    if (read.end === text.length) return attributes;
    at = read.end + 1;
  }
  // It ended with a comma.
  return undefined;
}

/** Up to the next comma. What has a meaning of its own is escaped: by a backslash, or as a byte of UTF-8 in hexadecimal. */
function valueAt(text: string, from: number): { value: string; end: number } | undefined {
  const bytes: number[] = [];
  let at = from;
  for (; at < text.length && text[at] !== ','; at += 1) {
    const char = String.fromCodePoint(text.codePointAt(at) ?? 0);
    if (char === '\\') {
      const hex = /^[0-9A-Fa-f]{2}/.exec(text.slice(at + 1, at + 3))?.[0];
      const escaped = hex === undefined ? /^[ "#+,;<=>\\]/.exec(text.slice(at + 1))?.[0] : undefined;
      if (hex === undefined && escaped === undefined) return undefined;
      bytes.push(hex === undefined ? (escaped?.charCodeAt(0) ?? 0) : Number.parseInt(hex, 16));
      at += hex === undefined ? 1 : 2;
    } else if ('"+;<>\0'.includes(char) || isBareEnd(text, from, at)) return undefined;
    else {
      bytes.push(...Buffer.from(char));
      at += char.length - 1;
    }
  }
  const value = Buffer.from(bytes).toString('utf8');
  // What is no UTF-8 would be read as what it is not.
  return Buffer.from(value).equals(Buffer.from(bytes)) ? { value, end: at } : undefined;
}

/** A space at either end, or a number sign at the beginning, that is not escaped. */
function isBareEnd(text: string, from: number, at: number): boolean {
  const isLast = at + 1 === text.length || text[at + 1] === ',';
  return (text[at] === ' ' && (at === from || isLast)) || (text[at] === '#' && at === from);
}
