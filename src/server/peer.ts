import { hash } from 'node:crypto';
import type { TLSSocket } from 'node:tls';
import { ServiceError } from '../errors.ts';
import type { Presented } from '../tenancy/callers.ts';
import { dnsName } from '../tenancy/registry/credentials.ts';
import { subjectName } from '../tenancy/registry/subject-name.ts';
import { subjectOf } from './subject.ts';

/** The connection a request came over. */
export interface Peer {
  /** From this machine, over TCP or the Unix socket. */
  readonly loopback: boolean;
  /** Whom a verified client certificate names: a SPIFFE id, a host as `dnsName` writes it, or a subject as `subjectName` does. */
  readonly certified: string | undefined;
  /** Thumbprint of that certificate (RFC 8705 section 3.1): SHA-256 of its DER, base64url. */
  readonly x5tS256?: string | undefined;
  /** By what connections and what strangers send are counted. */
  readonly address?: string;
  /** Where it was taken; undefined over the Unix socket, which has no name that a page could borrow. */
  readonly port?: number | undefined;
  /** Called when somebody on it is known: what only strangers are kept from is theirs from then on. */
  readonly welcome?: () => void;
}

/** Set on connections over the Unix socket by the listener that takes them. */
export const OVER_SOCKET_FILE = Symbol('over the socket file');

export type Socket = Pick<
  TLSSocket,
  'authorized' | 'getPeerCertificate' | 'getPeerX509Certificate' | 'localPort' | 'remoteAddress'
> & {
  readonly [OVER_SOCKET_FILE]?: true;
};

/**
 * Who is at the other end of a socket. `widen` gives a connection the room of somebody who is known, once. One that is
 * over has no address any more: it is nobody's then, and not this machine's.
 */
export function peerOn(socket: Socket, widen?: () => void): Peer {
  const isFile = socket[OVER_SOCKET_FILE] === true;
  const { remoteAddress = '', localPort } = socket;
  let isWelcome = false;
  const welcome = (): void => {
    if (!isWelcome) widen?.();
    isWelcome = true;
  };
  return {
    loopback: isFile || isLoopback(remoteAddress),
    certified: isFile ? undefined : certifiedBy(socket),
    x5tS256: isFile ? undefined : thumbprintOf(socket),
    address: isFile ? 'socket file' : countedAs(remoteAddress),
    port: isFile ? undefined : localPort,
    ...(widen && { welcome }),
  };
}

const isLoopback = (address: string): boolean =>
  address === '::1' || address.startsWith('127.') || address.startsWith('::ffff:127.');

/** Of IPv6 the network: whoever has one address of it has all 2^64. */
export function countedAs(address: string): string {
  if (address.startsWith('::ffff:')) return address.slice(7);
  if (!address.includes(':')) return address;
  const [head = '', tail] = (address.split('%')[0] ?? '').split('::');
  const groups = head.split(':').filter((group) => group !== '');
  // What stands for the zeros may reach into the first four groups.
  const after = tail === undefined ? [] : tail.split(':').filter((group) => group !== '');
  const zeros = tail === undefined ? 0 : 8 - groups.length - after.length;
  return [...groups, ...Array<string>(zeros).fill('0'), ...after].slice(0, 4).join(':');
}

/**
 * Whom a certificate that the TLS layer has verified names: by its one URI, of the scheme spiffe (X.509-SVID section 2), or
 * without any URI by its one DNS name, or without any alternative name by its subject. One that could be read in two ways
 * names nobody.
 */
function certifiedBy(socket: Socket): string | undefined {
  if (!socket.authorized) return undefined;
  const text = socket.getPeerCertificate().subjectaltname;
  if (text === undefined) return certifiedSubject(socket);
  // Node escapes what could pass for another name, and quotes it: nobody here is named so.
  if (text === '' || text.includes('"')) return undefined;
  const names = text.split(', ');
  const [uri, ...otherUris] = ofKind(names, 'URI:');
  if (uri !== undefined) return otherUris.length === 0 && uri.startsWith('spiffe://') ? uri : undefined;
  const [host, ...otherHosts] = ofKind(names, 'DNS:');
  return host !== undefined && otherHosts.length === 0 ? dnsName(host) : undefined;
}

function certifiedSubject(socket: Socket): string | undefined {
  const certificate = socket.getPeerX509Certificate();
  const subject = certificate && subjectOf(certificate.raw);
  return subject && subjectName(subject);
}

const ofKind = (names: readonly string[], kind: string): string[] =>
  names.filter((name) => name.startsWith(kind)).map((name) => name.slice(kind.length));

/** Of a certificate that the TLS layer has verified, and whose key the peer has shown to hold. */
function thumbprintOf(socket: Socket): string | undefined {
  const certificate = socket.authorized ? socket.getPeerX509Certificate() : undefined;
  return certificate && hash('sha256', certificate.raw, 'base64url');
}

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
  const { address } = peer;
  if (authorization === undefined) {
    if (peer.certified !== undefined) return { kind: 'certificate', name: peer.certified, address };
    return { kind: 'none', loopback: peer.loopback, address };
  }
  const [scheme = '', value = ''] = authorization.split(' ', 2);
  if (scheme.toLowerCase() === 'bearer' && value !== '') return { kind: 'secret', secret: value, address };
  if (scheme.toLowerCase() === 'basic') return { ...basic(value), address };
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
