import type { Socket } from 'node:net';
import type { Holding } from './bounds/holding.ts';
import { FIRST_WINDOW, MAX_WINDOW } from './wire/frames.ts';
import type { Output } from './wire/output.ts';

/** What of a stream goes on as soon as it may. */
export interface Sender {
  /** It is within its turn: what it may send at once is not used up. */
  readonly hasTurn: boolean;
  /** Sends what waits, as far as it may. */
  pump(): void;
}

export interface SendingParts {
  readonly socket: Socket;
  readonly holding: Holding;
  /** Too much waits to be read. */
  readonly overrun: () => void;
}

/** What waits for a peer that does not read, before we read no more of it either. */
const UNREAD_BYTES = 1024 * 1024;

/** What may go out on a connection now: by its window (RFC 9113 section 6.9), and by its socket. */
export class Sending {
  readonly #parts: SendingParts;
  #waiting = new Set<Sender>();
  /** Of those that go on, who has not had a turn. */
  #turn: Set<Sender> | undefined;
  /** They go on at this moment, or in the next turn. */
  #isPumping = false;
  #isReadPaused = false;
  /** Held for the socket. */
  #backlog = 0;
  /** The peer takes so many bytes of DATA, on all streams. */
  window = FIRST_WINDOW;
  /** The socket takes no more for now. */
  isCongested = false;

  constructor(parts: SendingParts) {
    this.#parts = parts;
  }

  /** Has something to send, and waits for the connection or for its turn. */
  waits(sender: Sender): void {
    this.#waiting.add(sender);
    // Where nothing of the peer's holds it up it only gives others their turn.
    if (this.#isPumping || this.isCongested || this.window <= 0) return;
    this.#isPumping = true;
    setImmediate(this.#pump);
  }

  /** We read no more until the peer does. */
  get isReadPaused(): boolean {
    return this.#isReadPaused;
  }

  forget(sender: Sender): void {
    this.#waiting.delete(sender);
    this.#turn?.delete(sender);
  }

  /** Others wait for their turn. */
  get isShared(): boolean {
    return this.#waiting.size > 0 || (this.#turn?.size ?? 0) > 0;
  }

  /** The peer takes more; false beyond 2^31-1. */
  open(bytes: number): boolean {
    this.window += bytes;
    if (this.window > MAX_WINDOW) return false;
    this.#pump();
    return true;
  }

  /** The socket was given some, or has taken some. */
  onFlush(output: Output): void {
    const { socket, holding, overrun } = this.#parts;
    const wasCongested = this.isCongested;
    this.isCongested = output.isFull;
    const backlog = this.isCongested ? output.waiting : 0;
    if (backlog !== this.#backlog && !holding.change(backlog - this.#backlog)) return overrun();
    this.#backlog = backlog;
    if (backlog >= UNREAD_BYTES && !this.#isReadPaused) {
      this.#isReadPaused = true;
      socket.pause();
    } else if (backlog === 0 && this.#isReadPaused) {
      this.#isReadPaused = false;
      socket.resume();
    }
    if (wasCongested && !this.isCongested) this.#pump();
  }

  /** Lets those that wait go on, by turns. */
  readonly #pump = (): void => {
    this.#isPumping = true;
    while (this.#waiting.size > 0 && this.window > 0 && !this.isCongested) {
      const turn = this.#waiting;
      this.#turn = turn;
      this.#waiting = new Set();
      const before = this.window;
      for (const sender of turn) {
        // Whose turn has not come is before those that had theirs.
        if (this.window <= 0 || this.isCongested) break;
        turn.delete(sender);
        sender.pump();
      }
      // Who was cut short keeps its place, or its turn would be the crumbs of others'.
      const [cut, ended]: [Sender[], Sender[]] = [[], []];
      for (const sender of this.#waiting) (sender.hasTurn ? cut : ended).push(sender);
      this.#waiting = new Set([...cut, ...turn, ...ended]);
      this.#turn = undefined;
      // What was sent meanwhile, by whomever, makes it smaller; if none was, nobody can go on.
      if (this.window === before) break;
    }
    this.#isPumping = false;
  };
}
