/** A key of 32 bytes, and the text that what it is wrapped as is bound to. */
export interface Unwrapped {
  readonly key: Uint8Array;
  readonly binding: string;
}

export interface Wrapped {
  /** As the service gave it. */
  readonly wrapped: string;
  readonly binding: string;
}

/**
 * A service that keeps a key which never leaves it, and wraps other keys by it. It is asked at the start and when keys are
 * made or wrapped anew, never for a token or a decision.
 */
export interface Kms {
  /** The service's kind, and the key in it: what is wrapped says by which. */
  readonly name: string;
  /** Where it is, for whoever reads what went wrong. */
  readonly place: string;
  /** In the order of the keys. Rejects with `unavailable`, and then for all of them. */
  wrap(keys: readonly Unwrapped[]): Promise<readonly string[]>;
  /** The same; an error for those that it does not open. */
  unwrap(keys: readonly Wrapped[]): Promise<readonly (Uint8Array | Error)[]>;
  /** By which version of its key something was wrapped. */
  versionOf(wrapped: string): string;
}

/** So many are wrapped by one request. */
export const MOST_AT_ONCE = 200;

export const KEY_BYTES = 32;
