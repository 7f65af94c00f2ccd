import { isIPv4, isIPv6 } from 'node:net';
import { loneByte } from '../../values/utf8.ts';

/** Whether Go's mail.ParseAddress takes it: RFC 5322, with a name before it or a comment behind. */
export function isEmail(text: string): boolean {
  if (loneByte.test(text) || !text.isWellFormed()) return false;
  const reader: Reader = { text, at: 0 };
  return readAddress(reader, true) === 1 && skipComments(reader) && reader.at === text.length;
}

interface Reader {
  readonly text: string;
  at: number;
}

/** How many addresses; undefined for what is none. */
function readAddress(reader: Reader, mayBeGroup: boolean): number | undefined {
  skipSpace(reader);
  if (reader.at === reader.text.length) return undefined;
  if (readSpec(reader)) {
    skipSpace(reader);
    return peek(reader) !== '(' || readNamingComment(reader) ? 1 : undefined;
  }
  if (peek(reader) !== '<' && !readPhrase(reader)) return undefined;
  skipSpace(reader);
  if (mayBeGroup && take(reader, ':')) return readGroup(reader);
  return take(reader, '<') && readSpec(reader) && take(reader, '>') ? 1 : undefined;
}

function readGroup(reader: Reader): number | undefined {
  skipSpace(reader);
  if (take(reader, ';')) return skipComments(reader) ? 0 : undefined;
  for (let count = 0; ; ) {
    skipSpace(reader);
    const found = readAddress(reader, false);
    if (found === undefined || !skipComments(reader)) return undefined;
    count += found;
    if (take(reader, ';')) return skipComments(reader) ? count : undefined;
    if (!take(reader, ',')) return undefined;
  }
}

/** `local@domain`; what is not one is not read. */
function readSpec(reader: Reader): boolean {
  const start = reader.at;
  skipSpace(reader);
  const isLocal = peek(reader) === '"' ? readQuoted(reader) !== '' : isDotAtom(readAtom(reader));
  if (isLocal && take(reader, '@')) {
    skipSpace(reader);
    if (peek(reader) === '[' ? readLiteral(reader) : isDotAtom(readAtom(reader))) return true;
  }
  reader.at = start;
  return false;
}

const isDotAtom = (atom: string): boolean => atom !== '' && !/^\.|\.\.|\.$/.test(atom);

function readPhrase(reader: Reader): boolean {
  for (let words = 0; ; words += 1) {
    if (words > 0 && !skipComments(reader)) return false;
    skipSpace(reader);
    if (reader.at === reader.text.length) return true;
    const before = reader.at;
    const word = peek(reader) === '"' ? readQuoted(reader) : readAtom(reader);
    if (word === undefined || (word === '' && reader.at === before) || isOfUnknownCharset(word))
      return words > 0;
  }
}

/** The empty text for none. The characters of an atom, and a dot (RFC 5322 section 3.2.3). */
function readAtom(reader: Reader): string {
  const start = reader.at;
  while (reader.at < reader.text.length && /(?![()<>[\]:;@\\,"])[!-~\x80-\uffff]/.test(peek(reader)))
    reader.at += 1;
  return reader.text.slice(start, reader.at);
}

/** What is in the quotes; undefined if there is no end, or a character that may not be there. */
function readQuoted(reader: Reader): string {
  let content = '';
  for (let at = reader.at + 1; at < reader.text.length; at += 1) {
    const mark = reader.text.charAt(at);
    if (mark === '"') {
      reader.at = at + 1;
      return content;
    }
    const escaped = mark === '\\' ? reader.text.charAt((at += 1)) : mark;
    if (!/[\t -~\x80-\uffff]/.test(escaped)) return '';
    content += escaped;
  }
  return '';
}

/** `[192.0.2.1]`. */
function readLiteral(reader: Reader): boolean {
  const end = reader.text.indexOf(']', reader.at);
  const address = reader.text.slice(reader.at + 1, Math.max(end, reader.at + 1));
  reader.at = end + 1;
  return end >= 0 && (isIPv4(address) || (isIPv6(address) && !address.includes('%')));
}

function readNamingComment(reader: Reader): boolean {
  const start = reader.at;
  if (!readComment(reader)) return false;
  return !reader.text
    .slice(start + 1, reader.at - 1)
    .split(/[ \t]+/)
    .some(isOfUnknownCharset);
}

/** An encoded word of another character set than those that Go knows (RFC 2047). */
const isOfUnknownCharset = (word: string): boolean => {
  const [, charset] = /^=\?([^?]+)\?[bBqQ]\?[^?]*\?=$/.exec(word) ?? [];
  return charset !== undefined && !/^(?:utf-8|iso-8859-1|us-ascii)$/i.test(charset);
};

function readComment(reader: Reader): boolean {
  let depth = 0;
  do {
    const mark = peek(reader);
    if (mark === '') return false;
    if (mark === '\\' && reader.at + 1 < reader.text.length) reader.at += 1;
    else if (mark === '(') depth += 1;
    else if (mark === ')') depth -= 1;
    reader.at += 1;
  } while (depth > 0);
  return true;
}

function skipComments(reader: Reader): boolean {
  skipSpace(reader);
  while (peek(reader) === '(') {
    if (!readComment(reader)) return false;
    skipSpace(reader);
  }
  return true;
}

function skipSpace(reader: Reader): void {
  while (peek(reader) === ' ' || peek(reader) === '\t') reader.at += 1;
}

const peek = (reader: Reader): string => reader.text.charAt(reader.at);

function take(reader: Reader, mark: string): boolean {
  if (peek(reader) !== mark) return false;
  reader.at += 1;
  return true;
}
