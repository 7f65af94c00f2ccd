import { createHash } from 'node:crypto';

/**
 * Randomness as a function of the decision and of the arguments, so that a replay gives the same. OPA remembers what
 * it drew for equal arguments within a query; this needs no memory to do the same.
 */
export function drawBytes(seed: string, purpose: string, key: string): Buffer {
  // The lengths keep the parts apart.
  return createHash('sha256')
    .update(`mandate ${seed.length} ${purpose.length} ${seed} ${purpose} ${key}`)
    .digest();
}

/** Uniform in [0, bound) but for 2^-128 at most, which is what 256 bits leave of the modulo's bias. */
export function drawBelow(bound: bigint, seed: string, key: string): bigint {
  return BigInt(`0x${drawBytes(seed, `rand.intn ${bound}`, key).toString('hex')}`) % bound;
}
