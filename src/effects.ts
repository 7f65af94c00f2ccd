/** Milliseconds since the Unix epoch. The only way the core learns the time. */
export type Clock = () => number;

/** Fills and returns `size` cryptographically strong random bytes. */
export type Random = (size: number) => Uint8Array;

export const systemClock: Clock = Date.now;

/** Milliseconds of a clock that nobody sets: only differences tell something, and only within one thread. */
export const systemMonotonic: Clock = () => performance.now();

/** One call into the system yields this many bytes; a decision takes ten. No byte is handed out twice. */
const POOL_BYTES = 8192;
let pool = new Uint8Array(0);
let taken = 0;

/** A wait of half to one and a half times as long, so that many who wait for one thing do not come at once. */
export const jittered = (ms: number): number => ms * (0.5 + Math.random());

export const systemRandom: Random = (size) => {
  if (taken + size > pool.length) {
    pool = crypto.getRandomValues(new Uint8Array(Math.max(size, POOL_BYTES)));
    taken = 0;
  }
  taken += size;
  return pool.subarray(taken - size, taken);
};
