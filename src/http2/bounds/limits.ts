/** What one connection may cost. Bytes and milliseconds. */
export interface Limits {
  /** Streams open at once, those counted whose handler has not come to its end. */
  readonly streams: number;
  /**
   * What may be sent on a stream, and on all of them, before it is read. Neither is less than 65,535: so much may be on
   * its way before a peer has heard of it (RFC 9113 section 6.9.2).
   */
  readonly streamWindow: number;
  readonly connectionWindow: number;
}

/** The same for everybody. */
export interface Bounds {
  /** Of one header section, as RFC 9113 section 6.5.2 counts; one that is longer goes to `tooLong`. */
  readonly headerListBytes: number;
  /** Of one header block as it is sent, all its CONTINUATION frames together, and how many there may be of these. */
  readonly headerBlockBytes: number;
  readonly continuations: number;
  /** What may wait to be sent, on all streams of a connection. */
  readonly unsentBytes: number;
  /** Until the preface and the first SETTINGS are there. */
  readonly greetingMs: number;
  /** Until our SETTINGS are acknowledged (section 6.5.3). */
  readonly acknowledgementMs: number;
  /** From the first byte of a header block, or of any frame, to its last. */
  readonly frameMs: number;
  /** Without a request yet, and after the last one. */
  readonly unusedMs: number;
  readonly idleMs: number;
  /** How long a peer may take nothing of what waits for it. */
  readonly unreadMs: number;
  /** How long what a peer still sends is read and dropped after the last word to it. */
  readonly lingerMs: number;
}

export const BOUNDS: Bounds = {
  headerListBytes: 32 * 1024,
  headerBlockBytes: 64 * 1024,
  continuations: 8,
  unsentBytes: 64 * 1024 * 1024,
  greetingMs: 10_000,
  acknowledgementMs: 30_000,
  frameMs: 10_000,
  unusedMs: 10_000,
  idleMs: 300_000,
  unreadMs: 30_000,
  lingerMs: 1_000,
};

/** Bytes that a peer, or all of them, may make us hold. */
export interface Budget {
  tryTake(bytes: number): boolean;
  giveBack(bytes: number): void;
}
