import { bytesOf, decodeUtf8 } from '../../values/utf8.ts';
import { BuiltinError } from '../builtin.ts';

const simple: Readonly<Record<string, number>> = {
  a: 7,
  b: 8,
  f: 12,
  n: 10,
  r: 13,
  t: 9,
  v: 11,
  '\\': 92,
  '"': 34,
  "'": 39,
};

/** Go's strconv.Unquote, of a literal in quotes. @throws BuiltinError for an escape that is none */
export function unquote(literal: string): string {
  const [mark, inner] = [literal.charAt(0), literal.slice(1, -1)];
  if (mark === '`') return inner.replaceAll('\r', '');
  const parts: Buffer[] = [];
  for (let at = 0; at < inner.length; ) {
    const end = inner.indexOf('\\', at);
    parts.push(bytesOf(inner.slice(at, end < 0 ? undefined : end)));
    if (end < 0) break;
    const { bytes, length } = escapeAt(inner.slice(end, end + 10), mark);
    parts.push(bytes);
    at = end + length;
  }
  return decodeUtf8(Buffer.concat(parts));
}

function escapeAt(text: string, mark: string): { bytes: Buffer; length: number } {
  const other = mark === '"' ? "'" : '"';
  const [byteEscape, digits] = /^\\(?:x([0-9a-fA-F]{2})|[0-3][0-7]{2})/.exec(text) ?? [];
  if (byteEscape !== undefined) {
    const byte = digits === undefined ? Number.parseInt(byteEscape.slice(1), 8) : Number.parseInt(digits, 16);
    return { bytes: Buffer.of(byte), length: byteEscape.length };
  }
  const [pointEscape, short, long] = /^\\(?:u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8}))/.exec(text) ?? [];
  if (pointEscape !== undefined) {
    const point = Number.parseInt(short ?? long ?? '', 16);
    if (point > 0x10ffff || (point >= 0xd800 && point <= 0xdfff)) throw new BuiltinError('invalid syntax');
    return { bytes: Buffer.from(String.fromCodePoint(point)), length: pointEscape.length };
  }
  const letter = text.charAt(1);
  const byte = letter === other ? undefined : Object.hasOwn(simple, letter) ? simple[letter] : undefined;
  if (byte === undefined) throw new BuiltinError('invalid syntax');
  return { bytes: Buffer.of(byte), length: 2 };
}

/** A character constant: its code point. */
export function characterOf(literal: string): bigint {
  const text = literal.charAt(1) === '\\' ? unquoteCharacter(literal) : literal.slice(1, -1);
  const points = Array.from(text);
  if (points.length !== 1 || text === "'") throw new BuiltinError('malformed character constant');
  return BigInt(text.codePointAt(0) ?? 0);
}

function unquoteCharacter(literal: string): string {
  const byte = /^'\\(?:x([0-9a-fA-F]{2})|([0-3][0-7]{2}))'$/.exec(literal);
  // A byte is the code point of that number.
  if (byte)
    return String.fromCharCode(
      byte[1] === undefined ? Number.parseInt(byte[2] ?? '', 8) : Number.parseInt(byte[1], 16),
    );
  return unquote(literal);
}

const integer =
  /^[+-]?(?:0[xX](?:_?[0-9a-fA-F])+|0[bB](?:_?[01])+|0[oO](?:_?[0-7])+|0(?:_?[0-7])*|[1-9](?:_?\d)*)$/;
const float = /^[+-]?(?:\d(?:_?\d)*\.?(?:\d(?:_?\d)*)?|\.\d(?:_?\d)*)(?:[eE][+-]?\d(?:_?\d)*)?$/;
const hexadecimalFloat = /^([+-]?)0[xX]_?([0-9a-fA-F_]*)\.?([0-9a-fA-F_]*)[pP]([+-]?\d+)$/;

/** An integer, or a float where it is written as one. Complex numbers are none here. */
export function numberOfLiteral(text: string): bigint | number {
  if (integer.test(text)) {
    const value = integerOf(text.replaceAll('_', ''));
    if (value >= 1n << 63n || value < -(1n << 63n)) throw new BuiltinError('integer overflow');
    return value;
  }
  const hexadecimal = hexadecimalFloat.exec(text);
  if (hexadecimal) {
    const [, sign, whole = '', fraction = '', exponent = '0'] = hexadecimal;
    const digits = (whole + fraction).replaceAll('_', '');
    if (digits === '' || digits.length > 13) throw new BuiltinError('bad number syntax');
    const value =
      Number.parseInt(digits, 16) * 2 ** (Number(exponent) - 4 * fraction.replaceAll('_', '').length);
    return sign === '-' ? -value : value;
  }
  // An underscore only stands where a prefix says the base.
  if (!float.test(text) || text.includes('_') || !/[.eE]/.test(text))
    throw new BuiltinError('bad number syntax');
  const value = Number(text);
  if (!Number.isFinite(value)) throw new BuiltinError('illegal number syntax');
  return value;
}

function integerOf(text: string): bigint {
  const sign = text.startsWith('-') ? -1n : 1n;
  const digits = text.replace(/^[+-]/, '');
  // A leading zero is octal.
  return sign * BigInt(/^0[0-7]+$/.test(digits) ? `0o${digits.slice(1)}` : digits);
}
