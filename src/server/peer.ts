import { ServiceError } from '../errors.ts';
import type { Presented } from '../tenancy/callers.ts';

/** The connection a request came over. */
export interface Peer {
  /** From this machine, over TCP or the Unix socket. */
  readonly loopback: boolean;
  /** The SPIFFE id of a verified client certificate. */
  readonly spiffeId: string | undefined;
}

export const isLoopback = (address: string | undefined): boolean =>
  address === undefined ||
  address === '::1' ||
  address.startsWith('127.') ||
  address.startsWith('::ffff:127.');

/**
 * The credential of a caller: `Authorization: Bearer <credential>`, `Basic <client id:secret>` (RFC 6749 section
 * 2.3.1), else its certificate, else none. Throws `unauthenticated` for a header it cannot read: a credential that was
 * meant is not ignored.
 */
export function presentedBy(authorization: string | undefined, peer: Peer): Presented {
  const before = latest.get(peer);
  if (before && before.authorization === authorization) return before.presented;
  const presented = read(authorization, peer);
  latest.set(peer, { authorization, presented });
  return presented;
}

/** A connection nearly always presents the same; what was read of it, and found out by it, is kept while it lasts. */
const latest = new WeakMap<Peer, { authorization: string | undefined; presented: Presented }>();

function read(authorization: string | undefined, peer: Peer): Presented {
  if (authorization === undefined) {
    if (peer.spiffeId !== undefined) return { kind: 'certificate', spiffeId: peer.spiffeId };
    return { kind: 'none', loopback: peer.loopback };
  }
  const [scheme = '', value = ''] = authorization.split(' ', 2);
  if (scheme.toLowerCase() === 'bearer' && value !== '') return { kind: 'secret', secret: value };
  if (scheme.toLowerCase() === 'basic') return basic(value);
  throw new ServiceError('unauthenticated', 'the authorization header is neither Bearer nor Basic');
}

function basic(value: string): Presented {
  const text = Buffer.from(value, 'base64').toString('utf8');
  const colon = text.indexOf(':');
  try {
    if (colon > 0)
      return {
        kind: 'secret',
        clientId: formDecode(text.slice(0, colon)),
        secret: formDecode(text.slice(colon + 1)),
      };
  } catch {
    // Falls through: not form-encoded.
  }
  throw new ServiceError('unauthenticated', 'the Basic credential is not client_id:secret');
}

const formDecode = (text: string): string => decodeURIComponent(text.replaceAll('+', ' '));
