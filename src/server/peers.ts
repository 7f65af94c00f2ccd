import type { Http2Session, ServerHttp2Session } from 'node:http2';
import type { TLSSocket } from 'node:tls';
import type { NodeRequest } from './http/exchange.ts';
import { welcome } from './listener.ts';
import { type Peer, peerOn, type Socket } from './peer.ts';

/** A connection's peer never changes, so it is worked out once: by its socket, or by its session. */
const peers = new WeakMap<object, Peer>();
const NOBODY: Peer = { loopback: false, spiffeId: undefined };

export function peerOfRequest(request: NodeRequest): Peer {
  // Of HTTP/2 the connection's, not one for each stream.
  if ('stream' in request) return peerOfSession(request.stream.session);
  const socket = request.socket as TLSSocket;
  return peers.get(socket) ?? keep(socket, peerOn(socket));
}

export function peerOfSession(session: Http2Session | undefined): Peer {
  if (!session) return NOBODY;
  return (
    peers.get(session) ??
    keep(
      session,
      peerOn(session.socket as Socket, () => welcome(session as ServerHttp2Session)),
    )
  );
}

function keep(connection: object, peer: Peer): Peer {
  peers.set(connection, peer);
  return peer;
}
