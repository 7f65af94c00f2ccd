import type { Fields } from './fields.ts';

/** The control data of a request (RFC 9113 section 8.3.1). */
export interface RequestLine {
  readonly method: string;
  readonly scheme: string;
  readonly authority: string | undefined;
  readonly path: string;
  /** What the body is to come to, if its sender said so. */
  readonly contentLength: number | undefined;
}

/** RFC 9113 section 8.2.2: of a connection, and HTTP/2 has its own. */
const CONNECTION_SPECIFIC = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'transfer-encoding',
  'upgrade',
]);

/** Undefined for what is malformed (RFC 9113 section 8.1.1), which nobody is to make sense of. */
export function readRequestLine(fields: Fields): RequestLine | undefined {
  if (!fields.isSound) return undefined;
  const { list } = fields;
  let method: string | undefined;
  let scheme: string | undefined;
  let authority: string | undefined;
  let path: string | undefined;
  let host: string | undefined;
  let contentLength: number | undefined;
  let at = 0;
  // Section 8.3: each once, before all others, and none but these.
  for (; at < list.length && (list[at] as string).charCodeAt(0) === COLON; at += 2) {
    const value = list[at + 1] as string;
    switch (list[at]) {
      case ':method':
        if (method !== undefined) return undefined;
        method = value;
        break;
      case ':scheme':
        if (scheme !== undefined) return undefined;
        scheme = value;
        break;
      case ':authority':
        if (authority !== undefined) return undefined;
        authority = value;
        break;
      case ':path':
        if (path !== undefined) return undefined;
        path = value;
        break;
      default:
        return undefined;
    }
  }
  for (; at < list.length; at += 2) {
    const name = list[at] as string;
    const value = list[at + 1] as string;
    if (name.charCodeAt(0) === COLON || CONNECTION_SPECIFIC.has(name)) return undefined;
    if (name === 'te') {
      if (value.toLowerCase() !== 'trailers') return undefined;
    } else if (name === 'host') {
      if (host !== undefined) return undefined;
      host = value;
    } else if (name === 'content-length') {
      if (contentLength !== undefined || !/^\d{1,15}$/.test(value)) return undefined;
      contentLength = Number(value);
    }
  }
  if (method !== 'POST' && (method === undefined || !METHOD.test(method) || method === 'CONNECT'))
    return undefined;
  if (scheme === undefined || !SCHEME.test(scheme) || path === undefined) return undefined;
  // Section 8.3.1: a path is never empty; `*` is for OPTIONS alone.
  if (!PATH.test(path) && !(path === '*' && method === 'OPTIONS')) return undefined;
  if (authority !== undefined && !AUTHORITY.test(authority)) return undefined;
  // Two names for the one that is asked: whoever routes by one and checks the other is deceived.
  if (authority !== undefined && host !== undefined && authority.toLowerCase() !== host.toLowerCase())
    return undefined;
  return { method, scheme, authority, path, contentLength };
}

/** Section 8.1: a trailer section has no pseudo-header fields. */
export function areTrailers(fields: Fields): boolean {
  if (!fields.isSound) return false;
  for (let at = 0; at < fields.list.length; at += 2) {
    const name = fields.list[at] as string;
    if (name.charCodeAt(0) === COLON || CONNECTION_SPECIFIC.has(name)) return false;
  }
  return true;
}

/** RFC 9110 section 9.1: a token. CONNECT asks for a tunnel (section 8.5): there are none. */
const METHOD = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
/** RFC 3986 section 3.1. */
const SCHEME = /^[A-Za-z][A-Za-z0-9+.-]*$/;
/** RFC 3986 section 3.2, without anybody's name: section 8.3.1 has none there. */
const AUTHORITY = /^[A-Za-z0-9._~!$&'()*+,;=:%[\]-]*$/;
/** RFC 3986: an address has no blank, and nothing beyond ASCII. */
const PATH = /^\/[\x21-\x7e]*$/;
const COLON = 0x3a;
