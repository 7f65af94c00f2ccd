import { isIPv6 } from 'node:net';
import { bytesOf, decodeUtf8 } from '../../values/utf8.ts';
import { type BuiltinContext, BuiltinError } from '../builtin.ts';

/**
 * Go's net/url, which OPA reads addresses by (url.Parse of Go 1.26). The runtime's own URL follows WHATWG, which mends
 * what Go refuses. Texts are bytes here, a character each.
 */
export interface GoUrl {
  readonly scheme: string;
  readonly opaque: string;
  readonly user: string;
  /** With the port. */
  readonly host: string;
  readonly hostname: string;
  readonly port: string;
  readonly path: string;
  /** As it was written, if escaping the path would write it otherwise. */
  readonly rawPath: string;
  readonly rawQuery: string;
  readonly fragment: string;
  /** As it was written. */
  readonly rawFragment: string;
}

/** Fuel units per character: it is looked at a dozen times. Measured, up to 80 ns. */
const unitsPerCharacter = 300;

type Part = 'host' | 'zone' | 'path' | 'user' | 'fragment';

/** Which bytes, beside letters, digits and `-_.~`, stand for themselves. */
const plain: Readonly<Record<Part, string>> = {
  host: '!$&\'()*+,;=:[]<>"',
  zone: '!$&\'()*+,;=:[]<>"',
  path: '$&+,/:;=@',
  user: '$&+,;=',
  fragment: '$&+,/:;=?@!()*',
};

const unreserved = /[A-Za-z0-9\-_.~]/;

const needsEscape = (byte: string, part: Part): boolean =>
  !unreserved.test(byte) && !plain[part].includes(byte);

const toBytes = (value: string): string => bytesOf(value).toString('latin1');
const toText = (bytes: string): string => decodeUtf8(Buffer.from(bytes, 'latin1'));

/** @throws BuiltinError for what Go does not parse */
export function parseUrl(value: string, context: BuiltinContext): GoUrl {
  context.spend(value.length * unitsPerCharacter);
  const [front = '', ...rest] = cut(toBytes(value), '#');
  const url = parseFront(front);
  const fragment = unescape(rest[0] ?? '', 'fragment');
  const { hostname, port } = splitPort(url.host);
  const texts = { ...url, hostname, port, fragment, rawFragment: rest[0] ?? '' };
  return Object.fromEntries(
    Object.entries(texts).map(([name, part]) => [name, toText(part)]),
  ) as unknown as GoUrl;
}

/** Go's EscapedPath. */
export function escapedPath({ path, rawPath }: GoUrl): string {
  if (rawPath !== '' && isValidEncoding(toBytes(rawPath))) return rawPath;
  if (path === '*') return path;
  return escape(toBytes(path), 'path');
}

/** Go's EscapedFragment. */
export function escapedFragment(url: GoUrl): string {
  return isValidEncoding(toBytes(url.rawFragment)) ? url.rawFragment : escapeFragment(url);
}

/** As a fragment is written that nobody wrote. */
export function escapeFragment({ fragment }: GoUrl): string {
  return escape(toBytes(fragment), 'fragment');
}

/** The host as an address has it. */
export function escapedHost({ host }: GoUrl): string {
  return escape(toBytes(host), 'host');
}

const isValidEncoding = (bytes: string): boolean => /^[!$&'()*+,;=:@[\]%/\w\-.~]*$/.test(bytes);

function parseFront(front: string): Omit<GoUrl, 'hostname' | 'port' | 'fragment' | 'rawFragment'> {
  if (/[^ -~\x80-\uffff]/.test(front)) throw new BuiltinError('invalid control character in URL');
  const empty = { scheme: '', opaque: '', user: '', host: '', path: '', rawPath: '', rawQuery: '' };
  if (front === '*') return { ...empty, path: '*' };
  const found = /^([A-Za-z][A-Za-z0-9+.-]*):/.exec(front);
  if (front.startsWith(':')) throw new BuiltinError('missing protocol scheme');
  const scheme = (found?.[1] ?? '').toLowerCase();
  const [rest = '', rawQuery = ''] = cut(front.slice(found?.[0].length ?? 0), '?');
  if (!rest.startsWith('/')) {
    if (scheme !== '') return { ...empty, scheme, opaque: rest, rawQuery };
    if ((rest.split('/', 1)[0] ?? '').includes(':'))
      throw new BuiltinError('first path segment in URL cannot contain colon');
  }
  let [authority, written] = ['', rest];
  if (rest.startsWith('//') && (scheme !== '' || !rest.startsWith('///'))) {
    const end = rest.indexOf('/', 2);
    authority = rest.slice(2, end < 0 ? undefined : end);
    written = end < 0 ? '' : rest.slice(end);
  }
  const { user, host } = parseAuthority(scheme, authority);
  const path = unescape(written, 'path');
  const rawPath = escape(path, 'path') === written ? '' : written;
  return { scheme, opaque: '', user, host, path, rawPath, rawQuery };
}

/** As in Go, the front of what has none is all of it. */
function cut(value: string, mark: string): string[] {
  const at = value.indexOf(mark);
  return at < 0 ? [value] : [value.slice(0, at), value.slice(at + 1)];
}

function parseAuthority(scheme: string, authority: string): { user: string; host: string } {
  const at = authority.lastIndexOf('@');
  const host = parseHost(scheme, authority.slice(at + 1));
  const user = at < 0 ? '' : authority.slice(0, at);
  if (!/^[A-Za-z0-9\-._:~!$&'()*+,;=%@]*$/.test(user)) throw new BuiltinError('invalid userinfo');
  const written = cut(user, ':').map((part) => escape(unescape(part, 'user'), 'user'));
  return { user: written.join(':'), host };
}

function parseHost(scheme: string, host: string): string {
  const open = host.lastIndexOf('[');
  if (open > 0) throw new BuiltinError('invalid IP-literal');
  if (open === 0) return parseLiteral(host);
  const [first, last] = [host.indexOf(':'), host.lastIndexOf(':')];
  // Several colons are let pass but for HTTP, as there are lists of hosts.
  const at = first !== last && !/^https?$/.test(scheme) ? last : first;
  if (at >= 0 && !isPort(host.slice(at))) throw new BuiltinError('invalid port after host');
  return unescape(host, 'host');
}

/** RFC 3986 and RFC 6874: `[fe80::1%25en0]:80`. */
function parseLiteral(host: string): string {
  const close = host.lastIndexOf(']');
  if (close < 0) throw new BuiltinError("missing ']' in host");
  const port = host.slice(close + 1);
  if (!isPort(port)) throw new BuiltinError('invalid port after host');
  const name = host.slice(1, close);
  const zoneAt = name.indexOf('%25');
  const address = unescape(zoneAt < 0 ? name : name.slice(0, zoneAt), 'host');
  const literal = address + (zoneAt < 0 ? '' : unescape(name.slice(zoneAt), 'zone'));
  const [ip = '', zone] = cut(literal, '%');
  if (!isIPv6(ip) || zone === '') throw new BuiltinError('invalid host');
  return `[${literal}]${port}`;
}

const isPort = (text: string): boolean => /^(?::[0-9]*)?$/.test(text);

function splitPort(host: string): { hostname: string; port: string } {
  const at = host.lastIndexOf(':');
  const [name, port] =
    at >= 0 && isPort(host.slice(at)) ? [host.slice(0, at), host.slice(at + 1)] : [host, ''];
  const isLiteral = name.startsWith('[') && name.endsWith(']');
  return { hostname: isLiteral ? name.slice(1, -1) : name, port };
}

function unescape(value: string, part: Part): string {
  if (/%(?![0-9a-fA-F]{2})/.test(value)) throw new BuiltinError('invalid URL escape');
  if (part === 'host' || part === 'zone') checkHost(value, part);
  return value.replace(/%(..)/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
}

/** A host may escape only what is no ASCII; a zone what it could write as well, and a space. */
function checkHost(value: string, part: Part): void {
  for (const [found, hex] of value.matchAll(/%(..)|[^]/g)) {
    if (hex === undefined) {
      if (found < '\x80' && needsEscape(found, part))
        throw new BuiltinError('invalid character in host name');
      continue;
    }
    const byte = String.fromCharCode(Number.parseInt(hex, 16));
    if (found === '%25') continue;
    const isRefused = part === 'host' ? byte < '\x80' : byte !== ' ' && needsEscape(byte, 'host');
    if (isRefused) throw new BuiltinError('invalid URL escape');
  }
}

function escape(bytes: string, part: Part): string {
  return bytes.replace(/[^]/g, (byte) =>
    needsEscape(byte, part) ? `%${byte.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')}` : byte,
  );
}
