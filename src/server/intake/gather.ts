import { ServiceError } from '../../errors.ts';

const FIRST_BYTES = 1_024;

/**
 * How many pieces something may come in: so many, and one more for each so many bytes. A byte a frame costs its sender
 * nothing and us a turn of the event loop each.
 */
const PIECES = { free: 32_768, bytesEach: 64 };

/** Where there is a bounded number of bytes for all that is on its way. */
export interface Room {
  /** Throws `resource_exhausted`. */
  need(bytes: number): void;
  giveBack(bytes: number): void;
}

/**
 * Bytes that come in pieces, copied into one place: a piece is a view of all that was read from its connection at once,
 * and a list of views would keep it. The place doubles, so that each byte is moved a constant number of times; it is
 * never as large as somebody merely claims.
 */
export class Gather {
  readonly #max: number;
  readonly #tooLarge: () => ServiceError;
  readonly #room: Room;
  #bytes: Uint8Array = NOTHING;
  #length = 0;
  #pieces = 0;

  constructor(max: number, tooLarge: () => ServiceError, room: Room) {
    this.#max = max;
    this.#tooLarge = tooLarge;
    this.#room = room;
  }

  get length(): number {
    return this.#length;
  }

  /** What is gathered so far, a view that the next piece may leave behind. */
  get bytes(): Uint8Array {
    return this.#bytes.subarray(0, this.#length);
  }

  /**
   * Throws `payload_too_large`, `invalid_request` for what comes in too many pieces, or `resource_exhausted` where there
   * is no room.
   */
  add(piece: Uint8Array): void {
    const length = this.#length + piece.length;
    if (length > this.#max) throw this.#tooLarge();
    this.#pieces += 1;
    if (this.#pieces > PIECES.free + length / PIECES.bytesEach)
      throw new ServiceError('invalid_request', 'the message comes in too many small pieces');
    if (length > this.#bytes.length) {
      const size = Math.min(this.#max, Math.max(FIRST_BYTES, this.#bytes.length * 2, length));
      this.#room.need(size - this.#bytes.length);
      const larger = Buffer.allocUnsafe(size);
      larger.set(this.bytes);
      this.#bytes = larger;
    }
    this.#bytes.set(piece, this.#length);
    this.#length = length;
  }

  /** Gives what was gathered away and begins anew. */
  take(): Uint8Array {
    const taken = this.bytes;
    this.#room.giveBack(this.#bytes.length);
    this.#bytes = NOTHING;
    this.#length = 0;
    this.#pieces = 0;
    return taken;
  }
}

const NOTHING = new Uint8Array();
