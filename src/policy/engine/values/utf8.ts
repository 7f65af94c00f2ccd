const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/**
 * Text from bytes, and back. OPA's strings are bytes, and what is decoded from base64 need be no UTF-8: each byte that
 * is in no character becomes half a surrogate pair, U+DC80 to U+DCFF, which no text has otherwise. So two such strings
 * are equal if their bytes are. Shown, each is U+FFFD, as where OPA prints them (`toWellFormed`).
 */
export function decodeUtf8(bytes: Uint8Array): string {
  try {
    return decoder.decode(bytes);
  } catch {
    return decodeBytewise(bytes);
  }
}

/** In one pass: a call for each character, or a part for each byte, takes thirty times as long. */
function decodeBytewise(bytes: Uint8Array): string {
  const units = new Uint16Array(bytes.length);
  let count = 0;
  for (let at = 0; at < bytes.length; ) {
    const length = lengthAt(bytes, at);
    const point = length === 0 ? loneUnit + (bytes[at] ?? 0) : pointAt(bytes, at, length);
    if (point > 0xffff) units[count++] = 0xd7c0 + (point >>> 10);
    units[count++] = point > 0xffff ? 0xdc00 | (point & 0x3ff) : point;
    at += length || 1;
  }
  return Buffer.from(units.buffer, 0, count * 2).toString('utf16le');
}

/** What a byte that is in no character is added to. */
const loneUnit = 0xdc00;

/** Of the bits of the first byte of a character of so many bytes, those of the code point. */
const firstBits = [0, 0x7f, 0x1f, 0x0f, 0x07];

function pointAt(bytes: Uint8Array, at: number, length: number): number {
  let point = (bytes[at] ?? 0) & (firstBits[length] ?? 0);
  for (let next = at + 1; next < at + length; next += 1) point = (point << 6) | ((bytes[next] ?? 0) & 0x3f);
  return point;
}

/** The bytes of the character there, 0 if there is none. The second byte's range leaves out surrogates and overlong forms. */
function lengthAt(bytes: Uint8Array, at: number): number {
  const first = bytes[at] ?? 0;
  if (first < 0x80) return 1;
  const length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  if (first < 0xc2 || first > 0xf4 || at + length > bytes.length) return 0;
  const second = bytes[at + 1] ?? 0;
  const lowest = first === 0xe0 ? 0xa0 : first === 0xf0 ? 0x90 : 0x80;
  const highest = first === 0xed ? 0x9f : first === 0xf4 ? 0x8f : 0xbf;
  if (second < lowest || second > highest) return 0;
  for (let next = at + 2; next < at + length; next += 1) if (((bytes[next] ?? 0) & 0xc0) !== 0x80) return 0;
  return length;
}

/** The bytes of a text. Any other half of a surrogate pair is U+FFFD. */
export function bytesOf(text: string): Buffer {
  if (text.isWellFormed()) return Buffer.from(text);
  const bytes = Buffer.allocUnsafe(text.length * 3);
  let size = 0;
  for (let at = 0; at < text.length; at += 1) {
    const point = text.codePointAt(at) ?? 0;
    if (point > 0xffff) at += 1;
    size = writePoint(bytes, size, point);
  }
  return bytes.subarray(0, size);
}

/** Where the next begins. */
function writePoint(bytes: Uint8Array, at: number, point: number): number {
  const isByte = point >= loneUnit + 0x80 && point <= loneUnit + 0xff;
  if (point < 0x80 || isByte) {
    bytes[at] = isByte ? point - loneUnit : point;
    return at + 1;
  }
  const known = point >= 0xd800 && point <= 0xdfff ? 0xfffd : point;
  const length = known < 0x800 ? 2 : known < 0x10000 ? 3 : 4;
  for (let last = length - 1, rest = known; last >= 0; last -= 1, rest >>>= 6)
    bytes[at + last] = last > 0 ? 0x80 | (rest & 0x3f) : ((0xff00 >>> length) & 0xff) | rest;
  return at + length;
}

/** One byte that is no UTF-8; a text is split at them with them between the parts. */
export const loneByte = /((?<![\ud800-\udbff])[\udc80-\udcff])/;
