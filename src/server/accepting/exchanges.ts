import { toServiceError } from '../errors.ts';
import type { Peer } from '../peer.ts';
import type { Exchange } from '../transport/exchange.ts';
import { gone } from '../transport/http1.ts';
import type { Done, ExchangeHead, FromAccepting, Heard, Id, ToAccepting } from './protocol.ts';

/** Requests that are served by main, while their connections are another thread's: whatever is not decided there. */

/** The bytes alone: a view would be sent with all that its buffer holds, which is others'. */
const owned = (bytes: Uint8Array): Uint8Array<ArrayBuffer> => Uint8Array.from(bytes);

type Post<Message> = (message: Message, transfer?: ArrayBuffer[]) => void;

/** The thread's half: does with each exchange what main does with its own end. */
export class PassedExchanges {
  readonly #post: Post<FromAccepting>;
  readonly #open = new Map<Id, Exchange>();
  #last = 0;

  constructor(post: Post<FromAccepting>) {
    this.#post = post;
  }

  pass(exchange: Exchange, peer: Id): void {
    this.#last += 1;
    const id = this.#last;
    const { version, method, url, scheme, authority, headers } = exchange;
    this.#open.set(id, exchange);
    this.#post({
      exchange: id,
      peer,
      asked: { version, method, url, scheme, authority, headers: { ...headers } },
    });
    exchange.onClosed(() => {
      this.#open.delete(id);
      this.#hear(id, { what: 'closed' });
    });
  }

  do(id: Id, does: Done): void {
    const exchange = this.#open.get(id);
    // Its end is on its way to main.
    if (!exchange) return;
    try {
      this.#act(id, exchange, does);
    } catch (error) {
      // Of one exchange, and not of all connections of the thread.
      toServiceError(error, 'passed exchange');
      exchange.destroy();
    }
  }

  #act(id: Id, exchange: Exchange, does: Done): void {
    const lost = (): void => this.#hear(id, { what: 'lost' });
    switch (does.what) {
      case 'next':
        exchange.next().then((part) => this.#hear(id, { what: 'part', bytes: part && owned(part) }), lost);
        break;
      case 'write':
        exchange.write(does.bytes).then(() => this.#hear(id, { what: 'room' }), lost);
        break;
      case 'respond':
        exchange.respond(does.status, new Headers(does.headers));
        break;
      case 'end':
        exchange.end(does.trailers && new Headers(does.trailers));
        break;
      case 'answer':
        exchange.answer(does.status, new Headers(does.headers), does.content);
        break;
      case 'destroy':
        exchange.destroy();
        break;
    }
  }

  #hear(id: Id, heard: Heard): void {
    const bytes = heard.what === 'part' ? heard.bytes : undefined;
    this.#post({ exchange: id, heard }, bytes && [bytes.buffer as ArrayBuffer]);
  }
}

/** Main's half of one. */
export class RemoteExchange implements Exchange {
  readonly version: Exchange['version'];
  readonly method: string;
  readonly url: string;
  readonly scheme: Exchange['scheme'];
  readonly authority: string | undefined;
  readonly headers: Exchange['headers'];
  readonly peer: Peer;
  readonly #do: (does: Done, transfer?: ArrayBuffer[]) => void;
  readonly #listeners: (() => void)[] = [];
  #hasBegun = false;
  #isGone = false;
  #part: PromiseWithResolvers<Uint8Array | undefined> | undefined;
  #room: PromiseWithResolvers<void> | undefined;

  constructor(head: ExchangeHead, peer: Peer, act: (does: Done, transfer?: ArrayBuffer[]) => void) {
    this.version = head.version;
    this.method = head.method;
    this.url = head.url;
    this.scheme = head.scheme;
    this.authority = head.authority;
    this.headers = head.headers;
    this.peer = peer;
    this.#do = act;
  }

  get hasBegun(): boolean {
    return this.#hasBegun;
  }

  next(): Promise<Uint8Array | undefined> {
    if (this.#isGone) return Promise.reject(gone());
    this.#part = Promise.withResolvers();
    this.#do({ what: 'next' });
    return this.#part.promise;
  }

  onClosed(listener: () => void): void {
    if (this.#isGone) listener();
    else this.#listeners.push(listener);
  }

  respond(status: number, headers: Headers): void {
    this.#hasBegun = true;
    this.#do({ what: 'respond', status, headers: [...headers] });
  }

  write(bytes: Uint8Array): Promise<void> {
    if (this.#isGone) return Promise.reject(gone());
    this.#room = Promise.withResolvers();
    const copy = owned(bytes);
    this.#do({ what: 'write', bytes: copy }, [copy.buffer]);
    return this.#room.promise;
  }

  end(trailers?: Headers): void {
    this.#do({ what: 'end', trailers: trailers && [...trailers] });
  }

  answer(status: number, headers: Headers, content: string | Uint8Array): void {
    this.#hasBegun = true;
    const copy = typeof content === 'string' ? content : owned(content);
    const transfer = typeof copy === 'string' ? [] : [copy.buffer];
    this.#do({ what: 'answer', status, headers: [...headers], content: copy }, transfer);
  }

  destroy(): void {
    this.#do({ what: 'destroy' });
  }

  hear(heard: Heard): void {
    switch (heard.what) {
      case 'part':
        this.#part?.resolve(heard.bytes);
        break;
      case 'room':
        this.#room?.resolve();
        break;
      case 'lost':
        this.#lose();
        break;
      case 'closed':
        this.close();
        break;
    }
  }

  /** Also where the thread with its connection has ended. */
  close(): void {
    if (this.#isGone) return;
    this.#isGone = true;
    this.#lose();
    for (const listener of this.#listeners.splice(0)) listener();
  }

  #lose(): void {
    this.#part?.reject(gone());
    this.#room?.reject(gone());
  }
}

/** Tells the thread what main does with an exchange. */
export const doing =
  (id: Id, post: Post<ToAccepting>) =>
  (does: Done, transfer: ArrayBuffer[] = []): void =>
    post({ exchange: id, does }, transfer);
