import { createPrivateKey, createPublicKey, generateKeyPair, type JsonWebKey } from 'node:crypto';
import { promisify } from 'node:util';
import type { Clock, Random } from '../../effects.ts';
import { ServiceError } from '../../errors.ts';
import type { TenantId } from '../../ids.ts';
import { SignatureType, type SignerKey, verifierKey } from '../../merkle/keys.ts';
import { logKeyBinding } from '../../storage/keys.ts';
import type { LogKeyStore } from '../../storage/log-keys.ts';
import type { LogKeyRow, TenantNo } from '../../storage/rows.ts';
import type { Writer } from '../../storage/writer.ts';

/** What keeps private keys: see `MasterKey`. */
export interface Sealing {
  seal(text: string, binding: string, nonce: Uint8Array): Uint8Array;
  /** Throws where it was sealed by another key, or for another binding. */
  unseal(sealed: Uint8Array, binding: string): string;
}

export interface LogKeysOptions {
  readonly store: LogKeyStore;
  readonly writer: Writer;
  readonly sealing: Sealing;
  /** What a tenant's log is called when it begins. */
  readonly originOf: (tenant: TenantId) => string;
  readonly clock: Clock;
  readonly random: Random;
}

const generate = promisify(generateKeyPair);

/** How often a tenant's log may begin anew. */
const MOST_LOGS = 100;

/**
 * The keys that sign the checkpoints of logs, Ed25519, one a log. A private key is stored only sealed, bound to its
 * tenant and to what the log is called: that is settled with the key, and stays when the server's address changes.
 */
export class LogKeys {
  readonly #options: LogKeysOptions;
  readonly #keys = new Map<TenantNo, Promise<SignerKey>>();

  constructor(options: LogKeysOptions) {
    this.#options = options;
  }

  /** The key is named as its log is. Rejects with `unavailable` where it cannot be opened, or `audit_unavailable`. */
  of(no: TenantNo): Promise<SignerKey> {
    const known = this.#keys.get(no);
    if (known) return known;
    const opened = this.#open(no);
    this.#keys.set(no, opened);
    opened.catch(() => this.#keys.delete(no));
    return opened;
  }

  async #open(no: TenantNo): Promise<SignerKey> {
    const { store } = this.#options;
    const tenant = store.tenantOf(no);
    if (tenant === undefined) throw new ServiceError('tenant_unknown', 'no such tenant');
    const row = store.find(no);
    return row ? this.#unsealed(tenant, row) : this.#made(no, tenant);
  }

  async #made(no: TenantNo, tenant: TenantId): Promise<SignerKey> {
    const { privateKey, publicKey } = await generate('ed25519');
    const text = JSON.stringify(privateKey.export({ format: 'jwk' }));
    const raw = Buffer.from(publicKey.export({ format: 'jwk' }).x ?? '', 'base64url');
    const name = this.#options.originOf(tenant);
    // A log that was set aside keeps its name, and what begins after it is another log.
    for (let serial = 1; serial <= MOST_LOGS; serial += 1) {
      const origin = serial === 1 ? name : `${name}-${serial}`;
      if (await this.#put(no, tenant, origin, raw, text))
        return { ...verifierKey(origin, SignatureType.ED25519, publicKey), privateKey };
    }
    throw new ServiceError('unavailable', `there are too many logs called ${name}`);
  }

  async #put(
    no: TenantNo,
    tenant: TenantId,
    origin: string,
    publicKey: Uint8Array,
    text: string,
  ): Promise<boolean> {
    const { writer, sealing, clock, random } = this.#options;
    const sealed = sealing.seal(text, logKeyBinding(tenant, origin), random(12));
    const key = { origin, publicKey, sealed, createdAt: clock() };
    const { value } = await writer.run('putLogKey', { tenantNo: no, key });
    return value === true;
  }

  #unsealed(tenant: TenantId, { origin, sealed }: LogKeyRow): SignerKey {
    try {
      const jwk = JSON.parse(
        this.#options.sealing.unseal(sealed, logKeyBinding(tenant, origin)),
      ) as JsonWebKey;
      const privateKey = createPrivateKey({ format: 'jwk', key: jwk });
      return { ...verifierKey(origin, SignatureType.ED25519, createPublicKey(privateKey)), privateKey };
    } catch (cause) {
      throw new ServiceError('unavailable', "the key of the tenant's log cannot be opened", {
        cause,
        detail: `the master key is not the one that the key of ${origin} was sealed with, or the row was changed`,
      });
    }
  }
}
