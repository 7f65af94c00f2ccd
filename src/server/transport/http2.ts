import { systemClock } from '../../effects.ts';
import { ErrorCode } from '../../http2/errors.ts';
import { HeaderBlock } from '../../http2/hpack/encoder.ts';
import type { ServerStream } from '../../http2/server-stream.ts';
import type { Peer } from '../peer.ts';
import type { Exchange } from './exchange.ts';
import { gone } from './http1.ts';

/** An exchange of HTTP/2, for what is not served straight on its stream. */
export class Http2Exchange implements Exchange {
  readonly version = '2.0';
  readonly headers: Record<string, string | undefined>;
  readonly peer: Peer;
  readonly #stream: ServerStream;
  readonly #listeners: (() => void)[] = [];
  /** RFC 9110 section 10.1.1: it waits to be told that its body is wanted. */
  #isExpected: boolean;
  #chunk: Uint8Array | undefined;
  #isEnded = false;
  #isGone = false;
  /** Who waits for the next part, or for room. */
  #wakeReader: (() => void) | undefined;
  #wakeWriter: (() => void) | undefined;

  constructor(stream: ServerStream, peer: Peer) {
    this.#stream = stream;
    this.peer = peer;
    this.headers = stream.fields.toRecord();
    this.#isExpected = this.headers['expect']?.toLowerCase() === '100-continue';
    stream.receive({
      data: (chunk) => {
        stream.pause();
        this.#chunk = this.#chunk ? Buffer.concat([this.#chunk, chunk]) : chunk;
        this.#wakeReader?.();
      },
      end: () => {
        this.#isEnded = true;
        this.#wakeReader?.();
      },
      drained: () => this.#wakeWriter?.(),
      closed: () => {
        this.#isGone = true;
        this.#wakeReader?.();
        this.#wakeWriter?.();
        for (const listener of this.#listeners.splice(0)) listener();
      },
    });
    // Nothing is read until somebody asks for it.
    stream.pause();
  }

  get method(): string {
    return this.#stream.line.method;
  }

  get url(): string {
    return this.#stream.line.path;
  }

  get scheme(): 'http' | 'https' {
    return this.#stream.line.scheme === 'https' ? 'https' : 'http';
  }

  get authority(): string | undefined {
    return this.#stream.line.authority ?? this.headers['host'];
  }

  get hasBegun(): boolean {
    return this.#stream.hasBegun;
  }

  async next(): Promise<Uint8Array | undefined> {
    if (this.#isExpected) this.#stream.inform(CONTINUE);
    this.#isExpected = false;
    if (!this.#chunk && !this.#isEnded && !this.#isGone) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#wakeReader = resolve;
      this.#stream.resume();
      await promise;
    }
    const chunk = this.#chunk;
    this.#chunk = undefined;
    if (!chunk && !this.#isEnded) throw gone();
    return chunk;
  }

  onClosed(listener: () => void): void {
    if (this.#isGone) listener();
    else this.#listeners.push(listener);
  }

  respond(status: number, headers: Headers): void {
    this.#stream.respond(headOf(status, headers));
  }

  async write(bytes: Uint8Array): Promise<void> {
    if (this.#stream.write(bytes)) return;
    if (!this.#isGone) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#wakeWriter = resolve;
      await promise;
    }
    if (this.#isGone) throw gone();
  }

  end(trailers?: Headers): void {
    const fields = trailers ? [...trailers] : [];
    this.#stream.end(fields.length === 0 ? undefined : new HeaderBlock(fields));
  }

  answer(status: number, headers: Headers, content: string | Uint8Array): void {
    const body = typeof content === 'string' ? Buffer.from(content) : content;
    if (status !== 204 && !headers.has('content-length')) headers.set('content-length', String(body.length));
    const isBare = this.method === 'HEAD' || body.length === 0;
    this.#stream.answer(headOf(status, headers), isBare ? undefined : body);
  }

  destroy(): void {
    this.#stream.reset(ErrorCode.INTERNAL_ERROR);
  }
}

const CONTINUE = new HeaderBlock([[':status', '100']]);

const headOf = (status: number, headers: Headers): HeaderBlock =>
  new HeaderBlock([[':status', String(status)], ...headers, ['date', new Date(systemClock()).toUTCString()]]);
