import type { IncomingHttpHeaders } from 'node:http';
import type { Peer } from '../peer.ts';

/**
 * Whether a request names this server by a name that is its own, and comes from no page of another origin. Asked
 * wherever an address stands for a credential: the browser of somebody on this machine sends from its address too, what
 * any page tells it to, and a page that lets its name point here (DNS rebinding) may read the answer. `base` is what the
 * outside calls the data plane.
 */
export function isNamedRightly(
  headers: IncomingHttpHeaders & { readonly ':authority'?: string | undefined },
  peer: Peer,
  base: string,
): boolean {
  // The Unix socket is no address that a browser could ask.
  if (peer.loopback && peer.port === undefined) return true;
  const own = URL.parse(base)?.host;
  const isOwn = (authority: string): boolean => {
    const name = authority.toLowerCase();
    const port = LOCAL.exec(name)?.[1];
    // Browsers always name a port that is not their scheme's.
    return name === own || port === '' || (port !== undefined && Number(port.slice(1)) === peer.port);
  };
  const page = headers.origin === undefined ? undefined : (URL.parse(headers.origin)?.host ?? '');
  return [headers[':authority'], headers.host, page].every((name) => name === undefined || isOwn(name));
}

const LOCAL = /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])(|:\d{1,5})$/;
