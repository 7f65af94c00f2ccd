import type { DescService } from '@bufbuild/protobuf';
import { Code, ConnectError, type HandlerContext } from '@connectrpc/connect';
import { ServiceError } from '../errors.ts';
import type { ServerStream } from '../http2/server-stream.ts';
import { peerKey } from './connect/context.ts';
import { nameLibraryError, toConnectError } from './errors.ts';
import { MAX_MESSAGE_BYTES } from './grpc/frames.ts';
import { fail, type UnaryHandler } from './grpc/unary.ts';
import { Places } from './intake/places.ts';
import type { SharedTally } from './intake/tally.ts';
import type { Peer } from './peer.ts';

/** Places for those who are not known yet, or never are: what they send is held in bounds. */
const ANTEROOM = {
  total: 1_024,
  each: 256,
  full: 'too many requests of callers that are not known yet are under way',
};

/** And for calls of what is open to all, of which some last as long as their callers like. */
const OPEN_TO_ALL = { total: 1_024, each: 128, full: 'too many calls without a credential are under way' };

const MAX_STRANGERS_BYTES = 4_096;

/** Lets callers in before a byte of what they ask is read. */
export class Gate {
  /** For requests whose callers are still to be known. */
  readonly anteroom: Places;
  readonly #open = new Places(OPEN_TO_ALL);
  readonly #greet: (context: HandlerContext) => void | Promise<void>;

  /** `shared`: where threads give away the same places. */
  constructor(greet: (context: HandlerContext) => void | Promise<void>, shared?: SharedTally) {
    this.#greet = greet;
    this.anteroom = new Places(ANTEROOM, shared);
  }

  /** The most bytes of a message to a service. */
  maxBytes(service: DescService): number {
    return isOpenToAll(service) ? MAX_STRANGERS_BYTES : MAX_MESSAGE_BYTES;
  }

  /** For a call of a service through the Connect library. Throws or rejects with a ConnectError. */
  async enter(context: HandlerContext): Promise<void> {
    const { signal, method, values } = context;
    inTime(signal);
    try {
      const peer = values.get(peerKey);
      if (isOpenToAll(context.service)) {
        const place = this.#open.take(peer.address ?? '');
        signal.addEventListener('abort', () => place[Symbol.dispose](), { once: true });
      } else {
        const greeting = this.#greet(context);
        if (greeting) await this.#held(peer, greeting);
        inTime(signal);
        peer.welcome?.();
      }
    } catch (error) {
      throw toConnectError(error, method.toString());
    }
    // The library ends a call with its error before it sends it: what it found wrong itself passes no interceptor.
    signal.addEventListener('abort', () => nameLibraryError(signal.reason, method.toString()), {
      once: true,
    });
  }

  /** For a gRPC stream that is served without it: unread until it is found out whose it is. */
  wait(
    stream: ServerStream,
    peer: Peer,
    opened: Promise<UnaryHandler>,
    serve: (opened: UnaryHandler) => void,
  ): void {
    this.#held(peer, opened)
      .then((handle) => {
        if (stream.isClosed) stream.settle();
        else serve(handle);
      })
      .catch((error: unknown) => fail(stream, error));
  }

  async #held<T>(peer: Peer, greeting: Promise<T>): Promise<T> {
    // Where there is no place for it, nobody hears how it went.
    greeting.catch(() => undefined);
    using _place = this.anteroom.take(peer.address ?? '');
    return await greeting;
  }
}

/** Health and reflection are for everybody. */
const isOpenToAll = ({ typeName }: DescService): boolean => typeName.startsWith('grpc.');

/** Throws once a caller's deadline has passed, or the caller has gone: what it asked is not decided then. */
export function inTime(signal: AbortSignal): void {
  if (!signal.aborted) return;
  const isLate = signal.reason instanceof ConnectError && signal.reason.code === Code.DeadlineExceeded;
  throw toConnectError(
    isLate
      ? new ServiceError('deadline_exceeded', 'the caller waits no longer')
      : new ServiceError('cancelled', 'the caller is gone'),
    'connect',
  );
}
