/** Go's readings of addresses and forms, which policies for OPA's plugin were written against. */

/** It is not what it has to be; the message says so to whoever asks. */
export class Unreadable extends Error {}

/** Names and values in one query or form. */
const MAX_PAIRS = 10_000;

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Bytes that are no UTF-8 are refused: what a policy would be shown in their place is not what was sent. */
export function textOf(bytes: Uint8Array, what: string): string {
  try {
    return utf8.decode(bytes);
  } catch {
    throw new Unreadable(`${what} is not UTF-8`);
  }
}

/** `url.PathUnescape`, and with `plus` `url.QueryUnescape`. */
export function unescaped(text: string, what: string, plus = false): string {
  const given = plus ? text.replaceAll('+', ' ') : text;
  if (!given.includes('%')) return given;
  if (/%(?![0-9a-fA-F]{2})/.test(given)) throw new Unreadable(`${what} holds a % that escapes nothing`);
  try {
    return decodeURIComponent(given);
  } catch {
    throw new Unreadable(`${what} is not UTF-8`);
  }
}

/** `url.ParseQuery`: each name with its values in their order. Names are anybody's, `__proto__` too. */
export function pairsIn(text: string, what: string): Record<string, string[]> {
  const pairs = Object.create(null) as Record<string, string[]>;
  const parts = text.split('&', MAX_PAIRS + 1);
  if (parts.length > MAX_PAIRS) throw new Unreadable(`${what} has more than ${MAX_PAIRS} values`);
  for (const part of parts) {
    if (part === '') continue;
    // What some servers take for a separator, and others do not.
    if (part.includes(';')) throw new Unreadable(`${what} holds a semicolon`);
    const mark = part.indexOf('=');
    const name = unescaped(mark < 0 ? part : part.slice(0, mark), what, true);
    const value = mark < 0 ? '' : unescaped(part.slice(mark + 1), what, true);
    (pairs[name] ??= []).push(value);
  }
  return pairs;
}
