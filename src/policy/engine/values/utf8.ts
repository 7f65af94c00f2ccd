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

function decodeBytewise(bytes: Uint8Array): string {
  const parts: string[] = [];
  for (let at = 0; at < bytes.length; ) {
    const length = lengthAt(bytes, at);
    parts.push(
      length === 0
        ? String.fromCharCode(0xdc00 + (bytes[at] ?? 0))
        : decoder.decode(bytes.subarray(at, at + length)),
    );
    at += length || 1;
  }
  return parts.join('');
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
  const parts = text
    .split(loneByte)
    .map((part, index) => (index % 2 === 0 ? Buffer.from(part) : Buffer.of(part.charCodeAt(0) - 0xdc00)));
  return Buffer.concat(parts);
}

/** One byte that is no UTF-8; a text is split at them with them between the parts. */
export const loneByte = /((?<![\ud800-\udbff])[\udc80-\udcff])/;
