import { ConnectionError, ErrorCode } from '../errors.ts';
import type { Output } from '../wire/output.ts';
import type { Bounds } from './limits.ts';

/** Since when a connection is how it is; looked at about once a second, so that none needs a timer. In milliseconds. */
export class Vigil {
  readonly #bounds: Bounds;
  readonly #began: number;
  /** The last byte was read. */
  #active: number;
  /** The last byte was taken by the peer, or none waits. */
  #unread: number;
  /** When those of our SETTINGS went out that are not acknowledged. */
  readonly #settings: number[] = [];
  /** The last frame came to its end, while another one or a header block is begun; 0 where none is. */
  #begun = 0;
  #over = 0;
  #bytesRead = 0;
  #bytesTaken = 0;

  constructor(bounds: Bounds, now: number) {
    this.#bounds = bounds;
    this.#began = this.#active = this.#unread = now;
  }

  look(bytesRead: number, { taken, waiting }: Output, now: number): void {
    if (bytesRead !== this.#bytesRead) this.#active = now;
    if (taken !== this.#bytesTaken || waiting === 0) this.#unread = now;
    this.#bytesRead = bytesRead;
    this.#bytesTaken = taken;
  }

  toldSettings(now: number): void {
    this.#settings.push(now);
  }

  /** False where there are none to be acknowledged. */
  acknowledged(): boolean {
    return this.#settings.shift() !== undefined;
  }

  /** It is not for lack of anything of the peer's that nothing came. */
  excuse(now: number): void {
    this.#active = now;
    if (this.#begun !== 0) this.#begun = now;
  }

  /** A request is under way: it is not idle, and may ask again when it is answered. */
  isBusy(now: number): void {
    this.#active = now;
  }

  /** Within a frame or a header block, and whether another frame came whole meanwhile. */
  isWithin(hasCome: boolean, now: () => number): void {
    if (hasCome || this.#begun === 0) this.#begun = now();
  }

  isBetween(): void {
    this.#begun = 0;
  }

  isOver(now: number): void {
    this.#over = now;
  }

  /** Nothing of what waits was taken for too long. */
  isUnread(now: number): boolean {
    return now - this.#unread >= this.#bounds.unreadMs;
  }

  /** Of a connection that is over: its last word was heard, or could have been. */
  hasLingered({ waiting }: Output, now: number): boolean {
    return this.isUnread(now) || (waiting === 0 && now - this.#over >= this.#bounds.lingerMs);
  }

  /** Nothing was asked for long. */
  isIdle(hasAsked: boolean, now: number): boolean {
    return now - this.#active >= (hasAsked ? this.#bounds.idleMs : this.#bounds.unusedMs);
  }

  /** Throws ConnectionError for what should have come. */
  check(isGreeted: boolean, now: number): void {
    const { greetingMs, acknowledgementMs, frameMs } = this.#bounds;
    if (!isGreeted && now - this.#began >= greetingMs)
      throw new ConnectionError(ErrorCode.PROTOCOL_ERROR, 'no SETTINGS came');
    if (now - (this.#settings[0] ?? now) >= acknowledgementMs)
      throw new ConnectionError(ErrorCode.SETTINGS_TIMEOUT, 'SETTINGS are not acknowledged');
    if (this.#begun !== 0 && now - this.#begun >= frameMs)
      throw new ConnectionError(
        ErrorCode.ENHANCE_YOUR_CALM,
        'a frame or a header block does not come to its end',
      );
  }
}
