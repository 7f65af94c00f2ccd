import type { Peer } from '../peer.ts';

/** One HTTP request and its answer, whatever the version. */
export interface Exchange {
  readonly version: '1.1' | '2.0';
  readonly method: string;
  /** As it was asked for: path and query. */
  readonly url: string;
  /** `http` or `https`: how it came. */
  readonly scheme: 'http' | 'https';
  /** What the request calls this server, if it says so. */
  readonly authority: string | undefined;
  /** By their names in small letters. Of those that come more than once, all values. */
  readonly headers: Record<string, string | string[] | undefined>;
  readonly peer: Peer;
  /** The answer has begun. */
  readonly hasBegun: boolean;

  /** The next part of the body, undefined at its end. Rejects with `cancelled` where the caller is gone. */
  next(): Promise<Uint8Array | undefined>;
  /** Called once: answered, or the caller is gone. */
  onClosed(listener: () => void): void;

  respond(status: number, headers: Headers): void;
  /** Resolves when there is room for more. Rejects with `cancelled` where the caller is gone. */
  write(bytes: Uint8Array): Promise<void>;
  /** What is left of the request is not waited for. */
  end(trailers?: Headers): void;
  /** An answer whole: `respond`, `write` and `end` in one, without the body where the request is HEAD. */
  answer(status: number, headers: Headers, content: string | Uint8Array): void;
  /** Ends it at once, whatever is sent of it. */
  destroy(): void;
}
