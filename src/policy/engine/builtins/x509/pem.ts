/** A block of PEM (RFC 7468). */
export interface PemBlock {
  readonly type: string;
  readonly bytes: Buffer;
  /** What is behind it. */
  readonly rest: string;
}

const beginMark = '-----BEGIN ';
const endMark = '\n-----END ';
const dashes = '-----';

/**
 * The first block, as Go's pem.Decode finds it: what is before it does not count, nor does one that is malformed.
 * @param text bytes, a character each
 */
export function decodePem(text: string): PemBlock | undefined {
  let from = 0;
  for (;;) {
    const end = text.indexOf(endMark, from);
    if (end < 0) return undefined;
    const begin = text.lastIndexOf(beginMark, end - 1);
    const isAtStart =
      begin >= from && begin + beginMark.length <= end && (begin === from || text[begin - 1] === '\n');
    const block = isAtStart ? readBlock(text, begin + beginMark.length, end) : undefined;
    if (block) return block;
    from = end + endMark.length;
  }
}

interface Line {
  readonly text: string;
  /** Where the next one begins. */
  readonly next: number;
}

/** Without its end, and without blanks there. */
function lineAt(text: string, at: number): Line {
  const newline = text.indexOf('\n', at);
  const end = newline < 0 ? text.length : newline;
  return { text: text.slice(at, end).replace(/[ \t\r]+$/, ''), next: newline < 0 ? end : end + 1 };
}

function readBlock(text: string, start: number, end: number): PemBlock | undefined {
  const first = lineAt(text, start);
  if (!first.text.endsWith(dashes)) return undefined;
  const type = first.text.slice(0, -dashes.length);
  let at = first.next;
  let hasHeaders = false;
  for (;;) {
    if (at >= text.length) return undefined;
    const line = lineAt(text, at);
    if (!line.text.includes(':')) break;
    hasHeaders = true;
    at = line.next;
  }
  if (hasHeaders && end < at) return undefined;
  const trailer = text.slice(end + endMark.length);
  if (!trailer.startsWith(type + dashes)) return undefined;
  const behind = lineAt(text, end + endMark.length + type.length + dashes.length);
  if (behind.text !== '') return undefined;
  const data = end > at ? text.slice(at, end).replace(/[ \t\r\n]/g, '') : '';
  if (!isBase64(data)) return undefined;
  return { type, bytes: Buffer.from(data, 'base64'), rest: text.slice(behind.next) };
}

function isBase64(data: string): boolean {
  const padding = /={0,2}$/.exec(data)?.[0].length ?? 0;
  const digits = data.slice(0, data.length - padding);
  return data.length % 4 === 0 && !/[^A-Za-z0-9+/]/.test(digits);
}
