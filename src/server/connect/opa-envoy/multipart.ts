import { Unreadable } from './escaped.ts';

const MAX_PARTS = 1_000;

export interface Part {
  readonly name: string;
  readonly contentType: string;
  readonly text: string;
}

const WHAT = 'the multipart body';
const BOUNDARY = /;[ \t]*boundary=(?:"([^"\\\r\n]{1,70})"|([^\s;",]{1,70}))[ \t]*(?:;|$)/i;

/** Of a content type; undefined where it names none. */
export function boundaryIn(contentType: string): string | undefined {
  if (!/boundary/i.test(contentType)) return undefined;
  const [, quoted, bare] = BOUNDARY.exec(contentType) ?? [];
  const boundary = quoted ?? bare;
  if (boundary === undefined) throw new Unreadable('the boundary of the multipart body cannot be read');
  return boundary;
}

/**
 * The parts of a form (RFC 7578) that have a name, as Go's reader has them. What two readers may see differently is
 * refused: transfer encodings, folded headers, two names, and a boundary that only begins like one.
 */
export function partsIn(text: string, boundary: string): Part[] {
  const mark = `--${boundary}`;
  const first = text.startsWith(mark) ? 0 : text.indexOf(`\n${mark}`) + 1;
  if (first === 0 && !text.startsWith(mark)) throw new Unreadable(`${WHAT} has no boundary`);
  const isCrLf = /^[ \t]*\r\n/.test(text.slice(first + mark.length, first + mark.length + 256));
  const line = isCrLf ? '\r\n' : '\n';
  const pieces = `${line}${text.slice(first)}`.split(`${line}${mark}`, MAX_PARTS + 2);
  if (pieces.length > MAX_PARTS + 1) throw new Unreadable(`${WHAT} has more than ${MAX_PARTS} parts`);
  const parts: Part[] = [];
  for (const [at, piece] of pieces.slice(1).entries()) {
    // Without a part before it Go takes the last boundary in its strict form alone.
    const isFirst = at === 0;
    if (isFirst && (piece.startsWith('--\r\n') || (piece === '--' && pieces.length === 2))) return parts;
    if (!isFirst && /^--[ \t]*(?:\r?\n|$)/.test(piece)) return parts;
    const opened = /^[ \t]*(\r?\n)/.exec(piece);
    if (!opened || opened[1] !== line) throw new Unreadable(`${WHAT} has a boundary that is none`);
    const part = partIn(piece.slice(opened[0].length), line);
    if (part) parts.push(part);
  }
  throw new Unreadable(`${WHAT} breaks off`);
}

function partIn(text: string, line: string): Part | undefined {
  const end = text.startsWith(line) ? 0 : text.indexOf(line + line);
  if (end < 0) throw new Unreadable(`${WHAT} has a part without an end of its header`);
  const headers = headersIn(text.slice(0, end), line);
  const content = text.slice(end + (end === 0 ? line.length : 2 * line.length));
  if (headers.has('content-transfer-encoding')) throw new Unreadable(`${WHAT} has a part that is encoded`);
  const name = nameIn(headers.get('content-disposition') ?? '');
  if (name === '') return undefined;
  return { name, contentType: headers.get('content-type') ?? '', text: content };
}

function headersIn(text: string, line: string): ReadonlyMap<string, string> {
  const headers = new Map<string, string>();
  for (const each of text === '' ? [] : text.split(line)) {
    const [, name = '', value = ''] = /^([!#$%&'*+.^_`|~\w-]+):[ \t]*([^\r\n]*)$/.exec(each) ?? [];
    const key = name.toLowerCase();
    if (key === '' || headers.has(key)) throw new Unreadable(`${WHAT} has a header that cannot be read`);
    headers.set(key, value.trimEnd());
  }
  return headers;
}

const PARAMETER = /;[ \t]*([\w.*-]+)=(?:"((?:[^"\\]|\\["\\])*)"|([^\s;"\\]+))[ \t]*/y;

function nameIn(disposition: string): string {
  if (disposition === '') return '';
  const [kind = ''] = /^[\w-]+[ \t]*/.exec(disposition) ?? [];
  if (kind.trim().toLowerCase() !== 'form-data') return '';
  let name: string | undefined;
  PARAMETER.lastIndex = kind.length;
  for (let at = kind.length; at < disposition.length; at = PARAMETER.lastIndex) {
    const [, key = '', quoted, bare = ''] = PARAMETER.exec(disposition) ?? [];
    const isAgain = key.toLowerCase() === 'name' && name !== undefined;
    if (key === '' || isAgain || /^name\*/i.test(key))
      throw new Unreadable(`${WHAT} has a part whose name cannot be read`);
    if (key.toLowerCase() === 'name') name = quoted?.replace(/\\(["\\])/g, '$1') ?? bare;
  }
  return name ?? '';
}
