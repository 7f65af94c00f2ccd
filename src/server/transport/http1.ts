import type { IncomingMessage, ServerResponse } from 'node:http';
import type { TLSSocket } from 'node:tls';
import { ServiceError } from '../../errors.ts';
import type { Peer } from '../peer.ts';
import type { Exchange } from './exchange.ts';

/** An exchange of HTTP/1.1, on Node's own server. */
export class Http1Exchange implements Exchange {
  readonly version = '1.1';
  readonly peer: Peer;
  readonly #request: IncomingMessage;
  readonly #response: ServerResponse;
  readonly #chunks: AsyncIterator<Uint8Array>;

  constructor(request: IncomingMessage, response: ServerResponse, peer: Peer) {
    this.#request = request;
    this.#response = response;
    this.peer = peer;
    // Leaving it must not destroy the request: a refusal goes out on the same connection.
    this.#chunks = request.iterator({ destroyOnReturn: false });
    response.on('error', nobodyThrows);
  }

  get method(): string {
    return this.#request.method ?? '';
  }

  get url(): string {
    return this.#request.url ?? '/';
  }

  get scheme(): 'http' | 'https' {
    return (this.#request.socket as TLSSocket).encrypted ? 'https' : 'http';
  }

  get authority(): string | undefined {
    return this.#request.headers.host;
  }

  get headers(): Record<string, string | string[] | undefined> {
    return this.#request.headers;
  }

  get hasBegun(): boolean {
    return this.#response.headersSent;
  }

  async next(): Promise<Uint8Array | undefined> {
    try {
      const { done, value } = await this.#chunks.next();
      return done ? undefined : value;
    } catch (cause) {
      throw gone(cause);
    }
  }

  onClosed(listener: () => void): void {
    this.#response.once('close', listener);
  }

  get #isUnread(): boolean {
    const { complete, headers } = this.#request;
    // A request without a body is not complete either, while its header section is being handed over.
    return (
      !complete && (headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0)
    );
  }

  respond(status: number, headers: Headers): void {
    // What is left of a body that is not wanted is not waited for: the connection ends with the answer.
    if (this.#isUnread) this.#response.shouldKeepAlive = false;
    this.#response.statusCode = status;
    this.#response.setHeaders(headers);
  }

  write(bytes: Uint8Array): Promise<void> {
    return new Promise((resolve, reject) => {
      const response = this.#response;
      if (response.destroyed) return reject(gone());
      if (response.write(bytes)) return resolve();
      const settle = (): void => {
        response.off('drain', settle).off('close', settle);
        if (response.destroyed) reject(gone());
        else resolve();
      };
      response.once('drain', settle).once('close', settle);
    });
  }

  end(trailers?: Headers): void {
    if (trailers) this.#response.addTrailers([...trailers]);
    this.#response.end();
  }

  answer(status: number, headers: Headers, content: string | Uint8Array): void {
    this.respond(status, headers);
    this.#response.end(content);
  }

  destroy(): void {
    this.#response.destroy();
  }
}

export const gone = (cause?: unknown): ServiceError =>
  new ServiceError('cancelled', 'the caller is gone', { cause });

const nobodyThrows = (): void => {};
