import { createCipheriv, createDecipheriv } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import {
  type CryptoKey,
  calculateJwkThumbprint,
  exportJWK,
  generateKeyPair,
  importJWK,
  type JWK,
} from 'jose';
import type { Clock, Random } from '../effects.ts';
import { ServiceError } from '../errors.ts';
import type { TenantId } from '../ids.ts';
import type { KeyStore } from '../storage/keys.ts';
import type { KeyRow } from '../storage/rows.ts';
import type { Writer } from '../storage/writer.ts';
import type { Tenant } from '../tenancy/tenants.ts';

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
  readonly #master: Uint8Array;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #sets = new Map<TenantId, Promise<KeySet>>();

  constructor(options: {
    store: KeyStore;
    writer: Writer;
    master: Uint8Array;
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
    const sealed = this.#seal(tenant, kid, JSON.stringify(await exportJWK(pair.privateKey)));
    const key = {
      kid,
      alg: SIGNING_ALGORITHM,
      publicJwk: JSON.stringify(publicJwk),
      sealed,
      createdAt: this.#clock(),
    };
    await this.#writer.run('putKey', { tenantNo: tenant.no, key });
    return { kid, publicJwk, publicKey: pair.publicKey, privateKey: pair.privateKey };
  }

  async #unsealed(tenant: Tenant, row: KeyRow): Promise<SigningKey> {
    const publicJwk = JSON.parse(row.publicJwk) as JWK;
    const privateJwk = JSON.parse(this.#unseal(tenant, row)) as JWK;
    return {
      kid: row.kid,
      publicJwk,
      publicKey: (await importJWK(publicJwk, row.alg)) as CryptoKey,
      privateKey: (await importJWK(privateJwk, row.alg)) as CryptoKey,
    };
  }

  /** nonce (12 bytes) ‖ tag (16) ‖ ciphertext. */
  #seal(tenant: Tenant, kid: string, text: string): Uint8Array {
    const nonce = this.#random(12);
    const cipher = createCipheriv('aes-256-gcm', this.#master, nonce).setAAD(binding(tenant, kid));
    const body = Buffer.concat([cipher.update(text, 'utf8'), cipher.final()]);
    return Buffer.concat([nonce, cipher.getAuthTag(), body]);
  }

  #unseal(tenant: Tenant, { kid, sealed }: KeyRow): string {
    const bytes = Buffer.from(sealed);
    try {
      const decipher = createDecipheriv('aes-256-gcm', this.#master, bytes.subarray(0, 12), {
        authTagLength: 16,
      })
        .setAAD(binding(tenant, kid))
        .setAuthTag(bytes.subarray(12, 28));
      return Buffer.concat([decipher.update(bytes.subarray(28)), decipher.final()]).toString('utf8');
    } catch (cause) {
      throw new ServiceError('unavailable', 'the signing key of the tenant cannot be opened', {
        cause,
        detail: `the master key is not the one that key ${kid} of ${tenant.id} was sealed with`,
      });
    }
  }
}

const binding = (tenant: Tenant, kid: string): Buffer => Buffer.from(`mandate-key ${tenant.id} ${kid}`);

/** Reads the master key (32 bytes), or makes it with mode 0600. Throws `config_invalid` for a file of another length. */
export function openMasterKey(file: string, random: Random): Uint8Array {
  if (!existsSync(file)) {
    mkdirSync(path.dirname(file), { recursive: true, mode: 0o700 });
    writeFileSync(file, random(32), { mode: 0o600, flag: 'wx' });
    chmodSync(file, 0o600);
  }
  const key = readFileSync(file);
  if (key.length !== 32) throw new ServiceError('config_invalid', `${file} is not a master key of 32 bytes`);
  return key;
}
