import type { Peer } from '../peer.ts';

/** What a request calls the server that it asks, and the page that it comes from. */
export interface Names {
  readonly authority: string | undefined;
  readonly host: string | undefined;
  readonly origin: string | undefined;
}

/**
 * Whether a request names this server by a name that is its own, and comes from no page of another origin. Asked
 * wherever an address stands for a credential: the browser of somebody on this machine sends from its address too, what
 * any page tells it to, and a page that lets its name point here (DNS rebinding) may read the answer. `base` is what the
 * outside calls the data plane.
 */
export function isNamedRightly({ authority, host, origin }: Names, peer: Peer, base: string): boolean {
  // The Unix socket is no address that a browser could ask.
  if (peer.loopback && peer.port === undefined) return true;
  const own = URL.parse(base)?.host;
  const called = [authority, host].filter((name) => name !== undefined);
  // By whatever port: a name that points here by its owner's will is none of these, and ports are forwarded.
  if (!called.every((name) => name.toLowerCase() === own || LOCAL.test(name))) return false;
  if (origin === undefined) return true;
  // A page of ours is one that was asked for by the name that it asks by, or by a name and the port of this plane.
  const page = URL.parse(origin)?.host ?? '';
  return page === own || called.includes(page) || LOCAL.exec(page)?.[1] === `:${peer.port}`;
}

const LOCAL = /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])(|:\d{1,5})$/i;
