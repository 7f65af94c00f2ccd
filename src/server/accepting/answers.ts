import { type ThreadError, toThread } from '../../errors.ts';
import { toServiceError } from '../errors.ts';
import { buffersOf, Pouch, unpack } from '../offload/pouch.ts';
import { type Kind, kinds } from '../offload/protocol.ts';
import type { Peer } from '../peer.ts';
import type { HotMethod } from '../server.ts';
import { weightOf } from './backlog.ts';
import type { AskedWith, HandedOver, Id, ToAccepting, WantedToken } from './protocol.ts';

export interface HandedParts {
  readonly hot: Readonly<Record<Kind, HotMethod>>;
  readonly peer: (id: Id) => Peer;
  /** So much of what waited has been taken up. */
  readonly took: (weight: number) => void;
  /** A ticket is wanted. */
  readonly wanted: (
    wants: NonNullable<AskedWith['wants']>,
    of: Id,
    authorization: string | undefined,
  ) => void;
  /** It is wanted to be said whether main vouches for it. */
  readonly vouch: (token: WantedToken) => void;
  readonly post: (message: ToAccepting, transfer: ArrayBuffer[]) => void;
}

/** Calls that a thread has handed over: main answers them as if they had come over a connection of its own. */
export class HandedCalls {
  readonly #parts: HandedParts;
  readonly #answers = new Pouch();
  #errors: ThreadError[] = [];
  #scheduled = false;
  #count = 0;

  constructor(parts: HandedParts) {
    this.#parts = parts;
  }

  /** How many there were. */
  get count(): number {
    return this.#count;
  }

  answer({ asks, with: withs }: HandedOver): void {
    const { took, peer: peerOf, wanted, vouch } = this.#parts;
    let at = 0;
    unpack(asks, (slot, what, _, message) => {
      const asked = withs[at] ?? NOBODY;
      at += 1;
      const { peer, wants, token, authorization } = asked;
      this.#count += 1;
      took(weightOf(message, authorization ?? ''));
      this.#answer(slot, kinds[what] ?? 'check', peerOf(peer), message, asked);
      try {
        if (wants) wanted(wants, peer, authorization);
        if (token) vouch(token);
      } catch (error) {
        // The others in the pouch wait for their answers.
        toServiceError(error, 'accepting thread');
      }
    });
  }

  #answer(
    slot: number,
    kind: Kind,
    peer: Peer,
    message: Uint8Array,
    { authorization, until }: AskedWith,
  ): void {
    const answered = (frame: Uint8Array): void => this.#settle(slot, 0, 0, frame);
    const failed = (error: unknown): void => {
      this.#settle(slot, 1, this.#errors.length, NOTHING);
      this.#errors.push(toThread(error));
    };
    try {
      const opened = this.#parts.hot[kind].open(authorization, peer);
      const frame =
        opened instanceof Promise ? opened.then((handle) => handle(message, until)) : opened(message, until);
      frame.then(answered, failed);
    } catch (error) {
      failed(error);
    }
  }

  /** The answers of one commit go back together. */
  #settle(slot: number, failed: 0 | 1, place: number, frame: Uint8Array): void {
    this.#answers.add(slot, failed, place, frame);
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => this.#flush());
  }

  #flush(): void {
    this.#scheduled = false;
    const answers = this.#answers.take();
    this.#parts.post({ answers, errors: this.#errors }, buffersOf(answers));
    this.#errors = [];
  }
}

const NOTHING = new Uint8Array();
const NOBODY: AskedWith = {
  peer: 0,
  authorization: undefined,
  until: Number.POSITIVE_INFINITY,
};
