import { type CryptoKey, importJWK, type JWK } from 'jose';
import type { Clock } from '../effects.ts';

/** Fetches the document. Rejects with what went wrong. */
export type FetchKeys = () => Promise<unknown>;

/** How old keys may be: a key that the issuer has withdrawn is good for no longer. In milliseconds, like the others. */
const MAX_AGE = 600_000;
/** From this age on they are fetched anew beside the requests that still use them. */
const RENEWED_AT = 300_000;
/** A token with an unknown kid makes them be fetched anew, at most this often. */
const COOLDOWN = 10_000;
/** How many keys are tried where a token does not say which one it is. */
const MAX_CANDIDATES = 16;
const MIN_RSA_BYTES = 256;
const MAX_RSA_BYTES = 1_024;
const MAX_EXPONENT_BYTES = 4;

/** What a key must be for an algorithm to be verified by it (RFC 8725 section 3.1). */
const kinds: Readonly<Record<string, { readonly kty: string; readonly crv?: string }>> = {
  RS256: { kty: 'RSA' },
  PS256: { kty: 'RSA' },
  ES256: { kty: 'EC', crv: 'P-256' },
  ES384: { kty: 'EC', crv: 'P-384' },
  EdDSA: { kty: 'OKP', crv: 'Ed25519' },
  Ed25519: { kty: 'OKP', crv: 'Ed25519' },
};

/** RFC 9864 section 2.2: one signature, by its old name and by its new one. */
const sameAs: Readonly<Record<string, string>> = { EdDSA: 'Ed25519', Ed25519: 'EdDSA' };

/** In a SPIFFE bundle a key says what it is for, and is left out where it does not (SPIFFE Trust Domain and Bundle section 4.2.2). */
export type KeyUse = 'sig' | 'jwt-svid';

/** The keys that an issuer publishes (RFC 7517), fetched as they are needed. */
export class KeySet {
  readonly #fetch: FetchKeys;
  readonly #monotonic: Clock;
  #keys: readonly PublicKey[] = [];
  #fetchedAt = Number.NEGATIVE_INFINITY;
  #fetching: Promise<void> | undefined;

  readonly #use: KeyUse;

  /** Ages are told by a clock that nobody sets. */
  constructor(fetch: FetchKeys, monotonic: Clock, use: KeyUse = 'sig') {
    this.#use = use;
    this.#fetch = fetch;
    this.#monotonic = monotonic;
  }

  /**
   * The keys by which a token of this header may be signed, likeliest first. Neither a kid that stands twice nor a token
   * without one locks an issuer out. Rejects with what went wrong where the keys cannot be had.
   */
  async *candidates(alg: string, kid: string | undefined): AsyncGenerator<CryptoKey> {
    if (this.#age >= MAX_AGE) await this.#renew();
    // Whoever asks now is served by what is there; if this fails it is tried again with the next.
    else if (this.#age >= RENEWED_AT) this.#renew().catch(() => undefined);
    const before = this.#matching(alg, kid);
    yield* imported(before, alg);
    if ((before.length > 0 && kid !== undefined) || this.#age < COOLDOWN) return;
    await this.#renew();
    const tried = new Set(before.map(({ material }) => material));
    yield* imported(
      this.#matching(alg, kid).filter(({ material }) => !tried.has(material)),
      alg,
    );
  }

  get #age(): number {
    return this.#monotonic() - this.#fetchedAt;
  }

  #matching(alg: string, kid: string | undefined): PublicKey[] {
    const able = this.#keys.filter((key) => key.verifies(alg, this.#use));
    const named = able.filter((key) => kid === undefined || key.kid === kid);
    // A key without an id may be the one: the signature tells.
    const unnamed = kid === undefined ? [] : able.filter((key) => key.kid === undefined);
    return [...named, ...unnamed].slice(0, MAX_CANDIDATES);
  }

  #renew(): Promise<void> {
    this.#fetching ??= this.#fetch()
      .then((document) => {
        this.#keys = keysIn(document);
        this.#fetchedAt = this.#monotonic();
      })
      .finally(() => {
        this.#fetching = undefined;
      });
    return this.#fetching;
  }
}

async function* imported(keys: readonly PublicKey[], alg: string): AsyncGenerator<CryptoKey> {
  for (const key of keys) {
    const usable = await key.imported(alg);
    if (usable) yield usable;
  }
}

/** One that cannot be used is left out; it does not take the others with it. Throws for what is no set of keys. */
export function keysIn(document: unknown): PublicKey[] {
  const { keys } = (document ?? {}) as { keys?: unknown };
  if (!Array.isArray(keys)) throw new Error('the answer is no JSON Web Key Set');
  const distinct = new Map<string, PublicKey>();
  for (const jwk of keys as unknown[]) {
    const key = typeof jwk === 'object' && jwk !== null ? new PublicKey(jwk) : undefined;
    if (key && !distinct.has(key.identity)) distinct.set(key.identity, key);
  }
  return [...distinct.values()];
}

class PublicKey {
  readonly kid: string | undefined;
  readonly kty: string;
  /** The key itself, and all by which two entries can differ. */
  readonly material: string;
  readonly identity: string;
  readonly #jwk: JWK;
  readonly #imported = new Map<string, Promise<CryptoKey | undefined>>();

  constructor(jwk: JWK) {
    const { kty, crv, x, y, n, e, kid, alg, use, key_ops: operations } = jwk;
    this.#jwk = jwk;
    this.kid = typeof kid === 'string' ? kid : undefined;
    this.kty = typeof kty === 'string' ? kty : '';
    this.material = JSON.stringify([kty, crv, x, y, n, e]);
    this.identity = JSON.stringify([this.material, kid, alg, use, operations]);
  }

  verifies(alg: string, wanted: KeyUse = 'sig'): boolean {
    const { kty, crv, alg: own, use, key_ops: operations } = this.#jwk;
    const kind = Object.hasOwn(kinds, alg) ? kinds[alg] : undefined;
    return (
      kind !== undefined &&
      kty === kind.kty &&
      (kind.crv === undefined || crv === kind.crv) &&
      (own === undefined || own === alg || own === sameAs[alg]) &&
      (use === wanted || (use === undefined && wanted === 'sig')) &&
      (operations === undefined || (Array.isArray(operations) && operations.includes('verify'))) &&
      (kty !== 'RSA' || (isBearable(this.#jwk.n) && isShort(this.#jwk.e)))
    );
  }

  imported(alg: string): Promise<CryptoKey | undefined> {
    const known = this.#imported.get(alg);
    if (known) return known;
    const { kty, crv, x, y, n, e } = this.#jwk;
    // Only what makes a public key: a private one that was published does not become one that signs.
    const material = Object.entries({ kty, crv, x, y, n, e }).filter(([, value]) => value !== undefined);
    const key = importJWK(Object.fromEntries(material) as unknown as JWK, alg).then(
      (each) => each as CryptoKey,
      () => undefined,
    );
    this.#imported.set(alg, key);
    return key;
  }
}

/** A shorter modulus is not to be trusted (RFC 7518 section 3.3), a longer one not to be paid for. */
function isBearable(modulus: unknown): boolean {
  if (typeof modulus !== 'string') return false;
  const bytes = Buffer.from(modulus, 'base64url').length;
  return bytes >= MIN_RSA_BYTES && bytes <= MAX_RSA_BYTES;
}

/** The usual exponent is 65,537; a long one makes each verification as dear as a signature. */
const isShort = (exponent: unknown): boolean =>
  typeof exponent === 'string' && Buffer.from(exponent, 'base64url').length <= MAX_EXPONENT_BYTES;
