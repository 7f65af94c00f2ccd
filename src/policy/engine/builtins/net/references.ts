import type { BuiltinContext } from '../builtin.ts';
import { escapedFragment, escapedHost, escapedPath, escapeFragment, type GoUrl, parseUrl } from './urls.ts';

/** A reference to a document or to a part of one (RFC 3986), as Go's net/url reads, resolves and writes it. */
export class Reference {
  /** Fuel units to read one, whatever its length: measured, 4 µs with the texts that are made of it. */
  static readonly #units = 15_000;
  readonly url: GoUrl;
  readonly #original: string;

  private constructor(url: GoUrl, original: string) {
    this.url = url;
    this.#original = original;
  }

  /** @throws BuiltinError for what Go does not parse */
  static parse(text: string, context: BuiltinContext): Reference {
    context.spend(Reference.#units);
    return new Reference(parseUrl(text, context), text);
  }

  /** Whether it says of which host, and by which scheme. */
  get isFull(): boolean {
    return this.url.scheme !== '' && this.url.host !== '';
  }

  get text(): string {
    return this.withoutFragment + (this.url.fragment === '' ? '' : `#${escapedFragment(this.url)}`);
  }

  get withoutFragment(): string {
    const { scheme, opaque, host, user, rawQuery } = this.url;
    const query = rawQuery !== '' || this.hasEmptyQuery ? `?${rawQuery}` : '';
    const front = scheme === '' ? '' : `${scheme}:`;
    if (opaque !== '') return front + opaque + query;
    let path = escapedPath(this.url);
    let authority = '';
    const isHostless = this.omitsHost && host === '' && user === '';
    if ((scheme !== '' || host !== '' || user !== '') && !isHostless && host + path + user !== '')
      authority = `//${user === '' ? '' : `${user}@`}${escapedHost(this.url)}`;
    if (path !== '' && !path.startsWith('/') && host !== '') path = `/${path}`;
    // What has a colon in its first segment would be taken for a scheme.
    if (front + authority === '' && (path.split('/', 1)[0] ?? '').includes(':')) path = `./${path}`;
    return front + authority + path + query;
  }

  /** The child as seen from here (RFC 3986 section 5.2, Go's ResolveReference); the fragment is the child's. */
  resolve(child: Reference, context: BuiltinContext): Reference {
    return Reference.parse(this.#resolved(child), context);
  }

  #resolved(child: Reference): string {
    const { url } = child;
    const fragment = url.fragment === '' ? '' : `#${escapedFragment(url)}`;
    const query = url.rawQuery !== '' || child.hasEmptyQuery ? `?${url.rawQuery}` : '';
    const scheme = url.scheme || this.url.scheme;
    const front = scheme === '' ? '' : `${scheme}:`;
    const authorityOf = ({ url: each }: Reference): string =>
      each.host === '' && each.user === ''
        ? ''
        : `//${each.user === '' ? '' : `${each.user}@`}${escapedHost(each)}`;
    const rooted = (path: string, authority: string): string =>
      authority !== '' && path !== '' && !path.startsWith('/') ? `/${path}` : path;
    if (url.opaque !== '') return front + url.opaque + query + fragment;
    if (url.scheme !== '' || url.host !== '' || url.user !== '') {
      const authority = authorityOf(child);
      return front + authority + rooted(withoutDots(escapedPath(url)), authority) + query + fragment;
    }
    const inherits = url.path === '' && query === '';
    const kept = inherits && this.url.rawQuery !== '' ? `?${this.url.rawQuery}` : query;
    if (url.path === '' && this.url.opaque !== '') return front + this.url.opaque + kept + fragment;
    const authority = authorityOf(this);
    const path = withoutDots(joined(escapedPath(this.url), escapedPath(url)));
    return front + authority + rooted(path, authority) + kept + fragment;
  }

  /** Whether there is somebody before the host, be it an empty name. */
  get hasUser(): boolean {
    return /^(?:[A-Za-z][A-Za-z0-9+.-]*:)?\/\/[^/?#]*@/.test(this.#original);
  }

  /** As it was written, where escaping it would write it otherwise. */
  get rawFragment(): string {
    return escapeFragment(this.url) === this.url.rawFragment ? '' : this.url.rawFragment;
  }

  /** A question mark and nothing behind. */
  get hasEmptyQuery(): boolean {
    const front = this.#original.split('#', 1)[0] ?? '';
    return front.endsWith('?') && front.indexOf('?') === front.length - 1;
  }

  /** A path behind the scheme. */
  get omitsHost(): boolean {
    return /^[A-Za-z][A-Za-z0-9+.-]*:\/(?!\/)/.test(this.#original);
  }
}

function joined(base: string, path: string): string {
  if (path === '') return base;
  return path.startsWith('/') ? path : base.slice(0, base.lastIndexOf('/') + 1) + path;
}

/** Go's resolvePath: `.` and `..` are gone, and a path begins with a slash. */
function withoutDots(path: string): string {
  if (path === '') return '';
  const kept: string[] = [];
  const segments = path.split('/');
  if (segments[0] === '') segments.shift();
  for (const segment of segments) {
    if (segment === '..') kept.pop();
    else if (segment !== '.') kept.push(segment);
  }
  const last = segments.at(-1);
  return `/${kept.join('/')}${kept.length > 0 && (last === '.' || last === '..') ? '/' : ''}`;
}
