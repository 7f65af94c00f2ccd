/** Milliseconds since the Unix epoch. The only way the core learns the time. */
export type Clock = () => number;

/** Fills and returns `size` cryptographically strong random bytes. */
export type Random = (size: number) => Uint8Array;

export const systemClock: Clock = Date.now;

export const systemRandom: Random = (size) => crypto.getRandomValues(new Uint8Array(size));
