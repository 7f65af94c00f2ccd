import { ServiceError } from '../../errors.ts';
import { Gather, type Room } from '../intake/gather.ts';

/** gRPC's length-prefixed message: one flag byte, four bytes of length, big-endian, then the message. */
export const PREFIX_BYTES = 5;

/** The most bytes of one message, either way. */
export const MAX_MESSAGE_BYTES = 4 * 1024 * 1024;

export const tooLarge = (maxBytes = MAX_MESSAGE_BYTES): ServiceError =>
  new ServiceError('payload_too_large', `a message is at most ${maxBytes} bytes`);

/** The one message of a unary request. Throws `invalid_request` for anything but exactly one whole frame. */
export function onlyMessage(body: Uint8Array): Uint8Array {
  if (body.length < PREFIX_BYTES) throw new ServiceError('invalid_request', 'the request holds no message');
  if (body[0] !== 0)
    throw new ServiceError('unimplemented', 'the message is compressed with an unknown encoding');
  if (lengthAt(body, 1) !== body.length - PREFIX_BYTES)
    throw new ServiceError('invalid_request', 'the length of the message is not the one it claims');
  return body.subarray(PREFIX_BYTES);
}

export const lengthAt = (bytes: Uint8Array, at: number): number =>
  ((bytes[at] ?? 0) * 0x1000000 +
    ((bytes[at + 1] ?? 0) << 16) +
    ((bytes[at + 2] ?? 0) << 8) +
    (bytes[at + 3] ?? 0)) >>>
  0;

/** Cuts a stream of bytes into messages. Throws `payload_too_large`, or `unimplemented` for a compressed message. */
export class FrameReader {
  /** The beginning of a message whose end has not come. */
  readonly #begun: Gather;

  constructor(room: Room) {
    this.#begun = new Gather(PREFIX_BYTES + MAX_MESSAGE_BYTES, tooLarge, room);
  }

  /** The messages that this chunk completes, as views of it where it holds them whole. */
  *push(chunk: Uint8Array): Generator<Uint8Array> {
    let bytes = chunk;
    while (this.#begun.length > 0 && bytes.length > 0) {
      const count = Math.min(bytes.length, this.#missing());
      this.#begun.add(bytes.subarray(0, count));
      bytes = bytes.subarray(count);
      if (this.#missing() === 0) yield this.#begun.take().subarray(PREFIX_BYTES);
    }
    while (bytes.length >= PREFIX_BYTES) {
      const length = lengthIn(bytes);
      if (bytes.length < PREFIX_BYTES + length) break;
      yield bytes.subarray(PREFIX_BYTES, PREFIX_BYTES + length);
      bytes = bytes.subarray(PREFIX_BYTES + length);
    }
    if (bytes.length === 0) return;
    this.#begun.add(bytes);
    this.#missing();
  }

  /** How many bytes are missing to the end of the prefix, or then of the message. */
  #missing(): number {
    const { length, bytes } = this.#begun;
    return (length < PREFIX_BYTES ? PREFIX_BYTES : PREFIX_BYTES + lengthIn(bytes)) - length;
  }

  /** Forgets what has come of a message. */
  drop(): void {
    this.#begun.take();
  }

  /** True between messages: where a stream may end. */
  get whole(): boolean {
    return this.#begun.length === 0;
  }
}

function lengthIn(bytes: Uint8Array): number {
  if (bytes[0] !== 0)
    throw new ServiceError('unimplemented', 'a message is compressed with an unknown encoding');
  const length = lengthAt(bytes, 1);
  if (length > MAX_MESSAGE_BYTES) throw tooLarge();
  return length;
}
