import { channel } from 'node:diagnostics_channel';
import type { Socket } from 'node:net';
import type { Limits } from '../../http2/bounds/limits.ts';
import type { End } from '../../http2/connection.ts';
import type { ServerStream } from '../../http2/server-stream.ts';

/** Published for every HTTP/2 connection that was ended for a fault of its peer: {code, reason, address}. */
export const transportChannel = channel('mandate:transport');

/** What speaks HTTP/2 on the sockets that the listener accepts. */
export interface Transport extends Disposable {
  take(socket: Socket): void;
  /** Takes no more requests: the first notice, with room for what is on its way, or the last one. */
  goAway(isLast: boolean): void;
  /** The same for about half of the connections that are in use. */
  shed?(noticeMs: number): void;
}

export interface TransportOptions {
  /** For a connection of which nobody is known yet. */
  readonly limits: Limits;
  readonly patience: { readonly unusedMs: number; readonly idleMs: number };
  /** A new connection: what serves its requests. `widen` gives it the room of somebody who is known. */
  readonly accept: (
    connection: { widen(limits: Limits): void },
    socket: Socket,
  ) => (stream: ServerStream) => void;
  readonly tooLong: (stream: ServerStream) => void;
  readonly onEnd: (end: End, socket: Socket) => void;
}
