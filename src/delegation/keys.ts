import { existsSync } from 'node:fs';
import {
  type CryptoKey,
  calculateJwkThumbprint,
  exportJWK,
  generateKeyPair,
  importJWK,
  type JWK,
} from 'jose';
import { keyMade, ownRecord } from '../audit/own.ts';
import type { Clock, Random } from '../effects.ts';
import { ServiceError } from '../errors.ts';
import type { TenantId } from '../ids.ts';
import { storedJson } from '../storage/faults.ts';
import { type KeyStore, keyBinding, type SealedKey } from '../storage/keys.ts';
import type { KeyRow } from '../storage/rows.ts';
import type { Writer } from '../storage/writer.ts';
import type { Tenant } from '../tenancy/tenants.ts';
import { type MasterKey, makeMasterKey, readMasterKey } from './master-key.ts';

/** One algorithm for all keys, pinned per key (RFC 8725 section 3.1): what every OAuth and Envoy client verifies. */
export const SIGNING_ALGORITHM = 'ES256';

export interface SigningKey {
  readonly kid: string;
  readonly privateKey: CryptoKey;
  readonly publicKey: CryptoKey;
  readonly publicJwk: JWK;
}

/** A tenant's keys, newest first; the first one signs. */
type KeySet = readonly [SigningKey, ...SigningKey[]];

/**
 * The signing keys, each of one tenant. A private key is stored only sealed (AES-256-GCM) under the master key, bound
 * to its tenant and key id: a copy of the database signs nothing, and a row moved to another tenant does not open.
 */
export class Keys {
  readonly #store: KeyStore;
  readonly #writer: Writer;
  readonly #master: MasterKey;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #sets = new Map<TenantId, Promise<KeySet>>();

  constructor(options: {
    store: KeyStore;
    writer: Writer;
    master: MasterKey;
    clock: Clock;
    random: Random;
  }) {
    this.#store = options.store;
    this.#writer = options.writer;
    this.#master = options.master;
    this.#clock = options.clock;
    this.#random = options.random;
  }

  async signer(tenant: Tenant): Promise<SigningKey> {
    return (await this.#set(tenant))[0];
  }

  /** The key of that id, among this tenant's alone. */
  async find(tenant: Tenant, kid: string): Promise<SigningKey | undefined> {
    return (await this.#set(tenant)).find((key) => key.kid === kid);
  }

  /** RFC 7517: the public keys. */
  async jwks(tenant: Tenant): Promise<{ keys: JWK[] }> {
    return { keys: (await this.#set(tenant)).map((key) => key.publicJwk) };
  }

  #set(tenant: Tenant): Promise<KeySet> {
    const known = this.#sets.get(tenant.id);
    if (known) return known;
    const opened = this.#open(tenant);
    this.#sets.set(tenant.id, opened);
    opened.catch(() => this.#sets.delete(tenant.id));
    return opened;
  }

  async #open(tenant: Tenant): Promise<KeySet> {
    const [first, ...rest] = this.#store.list(tenant.no);
    if (!first) return [await this.#generate(tenant)];
    return [
      await this.#unsealed(tenant, first),
      ...(await Promise.all(rest.map((row) => this.#unsealed(tenant, row)))),
    ];
  }

  async #generate(tenant: Tenant): Promise<SigningKey> {
    const pair = await generateKeyPair(SIGNING_ALGORITHM, { extractable: true });
    const jwk = await exportJWK(pair.publicKey);
    const kid = await calculateJwkThumbprint(jwk);
    const publicJwk = { ...jwk, kid, alg: SIGNING_ALGORITHM, use: 'sig' };
    const text = JSON.stringify(await exportJWK(pair.privateKey));
    const sealed = this.#master.seal(text, keyBinding(tenant.id, kid), this.#random(12));
    const key = {
      kid,
      alg: SIGNING_ALGORITHM,
      publicJwk: JSON.stringify(publicJwk),
      sealed,
      createdAt: this.#clock(),
    };
    const deed = keyMade(tenant.no, kid, 'tokens', SIGNING_ALGORITHM);
    const record = ownRecord(deed, this.#clock, this.#random);
    await this.#writer.run('putKey', { tenantNo: tenant.no, key }, record);
    return { kid, publicJwk, publicKey: pair.publicKey, privateKey: pair.privateKey };
  }

  async #unsealed(tenant: Tenant, row: KeyRow): Promise<SigningKey> {
    const publicJwk = storedJson(row.publicJwk) as JWK;
    const privateJwk = JSON.parse(this.#unseal(tenant, row)) as JWK;
    return {
      kid: row.kid,
      publicJwk,
      publicKey: (await importJWK(publicJwk, row.alg)) as CryptoKey,
      privateKey: (await importJWK(privateJwk, row.alg)) as CryptoKey,
    };
  }

  #unseal(tenant: Tenant, { kid, sealed }: KeyRow): string {
    try {
      return this.#master.unseal(sealed, keyBinding(tenant.id, kid));
    } catch (cause) {
      throw new ServiceError('unavailable', 'the signing key of the tenant cannot be opened', {
        cause,
        detail: `the master key is not the one that key ${kid} of ${tenant.id} was sealed with`,
      });
    }
  }
}

/**
 * Reads the master key, or makes it for a store that has sealed nothing yet. Throws `config_invalid` for a file that is
 * no master key, and where it is missing or another than the one the store's keys were sealed with: to go on with a new
 * one would look well until the first token.
 */
export function openMasterKey(file: string, store: KeyStore, random: Random): MasterKey {
  const keys = newest(store, file);
  const hasSealed = keys.length > 0;
  if (!existsSync(file)) {
    if (hasSealed) throw new ServiceError('config_invalid', `there is no master key ${file}, ${WANTED}`);
    makeMasterKey(file, random);
  }
  const master = readFor(hasSealed, file);
  if (!hasSealed || keys.some(({ sealed, binding }) => master.opens(sealed, binding))) return master;
  throw new ServiceError('config_invalid', `${file} is not the master key of this store, ${WANTED}`);
}

/**
 * The keys to try. A store that cannot tell is not ready, which the server is to live to say; but what it may hold is no
 * reason to make a new master key.
 */
function newest(store: KeyStore, file: string): readonly SealedKey[] {
  try {
    return store.newest();
  } catch (cause) {
    if (!existsSync(file)) throw cause;
    return [];
  }
}

/** What is to be done about a file that is none depends on whether anything was sealed. */
function readFor(hasSealed: boolean, file: string): MasterKey {
  try {
    return readMasterKey(file);
  } catch (cause) {
    if (!(cause instanceof ServiceError)) throw cause;
    const what = hasSealed ? WANTED : 'and nothing was sealed yet: without the file the next start makes one';
    throw new ServiceError('config_invalid', `${cause.message}, ${what}`, { cause });
  }
}

const WANTED =
  "and the store's signing keys open with no other; name the one it had by master_key_file, or put it back";
