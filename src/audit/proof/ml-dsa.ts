import { createPrivateKey, createPublicKey, generateKeyPair, type JsonWebKey, sign } from 'node:crypto';
import { promisify } from 'node:util';
import type { Clock, Random } from '../../effects.ts';
import { ServiceError } from '../../errors.ts';
import type { TenantId } from '../../ids.ts';
import { rawOf, SignatureType, type SignerKey, verifierKey } from '../../merkle/keys.ts';
import { cosignatureLineOf, cosignedMessage } from '../../merkle/note.ts';
import { Damaged, reportFault } from '../../storage/faults.ts';
import { logKeyBinding } from '../../storage/keys.ts';
import type { LogKeyStore } from '../../storage/log-keys.ts';
import type { LogKeyRow, RecordRow, TenantNo } from '../../storage/rows.ts';
import type { Writer } from '../../storage/writer.ts';
import type { Sealing } from './keys.ts';

export interface MlDsaOptions {
  readonly store: Pick<LogKeyStore, 'findMlDsa' | 'tenantOf'>;
  readonly writer: Writer;
  readonly sealing: Sealing;
  /** What says in its log that a key was made. */
  readonly recordOf: (no: TenantNo, key: SignerKey) => RecordRow;
  readonly clock: Clock;
  readonly random: Random;
}

const generate = promisify(generateKeyPair);
const signed = promisify(sign);

/**
 * The second keys of logs, of ML-DSA-44 (FIPS 204): what they sign holds where a quantum computer forges Ed25519. Each is
 * sealed as the first is, and named as its log.
 */
export class MlDsaKeys {
  readonly #options: MlDsaOptions;
  readonly #keys = new Map<TenantNo, Promise<SignerKey>>();

  constructor(options: MlDsaOptions) {
    this.#options = options;
  }

  /** `origin`: what the log is called. Rejects with `unavailable` where the key cannot be opened, or `audit_unavailable`. */
  of(no: TenantNo, origin: string): Promise<SignerKey> {
    const known = this.#keys.get(no);
    if (known) return known;
    const opened = this.#open(no, origin);
    this.#keys.set(no, opened);
    opened.catch(() => this.#keys.delete(no));
    return opened;
  }

  /** The line of a log's own cosignature under a checkpoint's text (C2SP tlog-cosignature). Rejects as `of` does. */
  async line(no: TenantNo, origin: string, text: string): Promise<string> {
    const key = await this.of(no, origin);
    const seconds = BigInt(Math.floor(this.#options.clock() / 1_000));
    const message = cosignedMessage(text, key, seconds);
    if (!message) throw new Error(`no key of ML-DSA-44 signs a log called ${origin}: its name is too long`);
    return cosignatureLineOf(key, seconds, await signed(null, message, key.privateKey));
  }

  async #open(no: TenantNo, origin: string): Promise<SignerKey> {
    const { store } = this.#options;
    const tenant = store.tenantOf(no);
    if (tenant === undefined) throw new ServiceError('tenant_unknown', 'no such tenant');
    const row = store.findMlDsa(no);
    return row ? this.#unsealed(no, tenant, origin, row) : this.#made(no, tenant, origin);
  }

  async #made(no: TenantNo, tenant: TenantId, origin: string): Promise<SignerKey> {
    const { writer, sealing, recordOf, clock, random } = this.#options;
    const { privateKey, publicKey } = await generate('ml-dsa-44');
    const key = { ...verifierKey(origin, SignatureType.ML_DSA_44, publicKey), privateKey };
    const text = JSON.stringify(privateKey.export({ format: 'jwk' }));
    const row = {
      publicKey: rawOf(publicKey),
      sealed: await sealing.seal(tenant, text, bindingOf(tenant, origin), random(12)),
      createdAt: clock(),
    };
    const { value } = await writer.run('putMlDsaKey', { tenantNo: no, key: row }, recordOf(no, key));
    if (value !== true) throw new ServiceError('unavailable', 'the second key of the log was made elsewhere');
    return key;
  }

  #unsealed(
    no: TenantNo,
    tenant: TenantId,
    origin: string,
    { publicKey: stored, sealed }: Omit<LogKeyRow, 'origin'>,
  ): SignerKey {
    try {
      const text = this.#options.sealing.unseal(tenant, sealed, bindingOf(tenant, origin));
      const jwk = JSON.parse(text) as JsonWebKey;
      const privateKey = createPrivateKey({ format: 'jwk', key: jwk });
      const publicKey = createPublicKey(privateKey);
      if (Buffer.compare(rawOf(publicKey), stored) !== 0) throw new Error('the public key is another');
      return { ...verifierKey(origin, SignatureType.ML_DSA_44, publicKey), privateKey };
    } catch (cause) {
      if (cause instanceof ServiceError) throw cause;
      const fault = { tenantNo: no, text: 'the second key of its log cannot be opened', lasts: true };
      reportFault(fault);
      throw new ServiceError('unavailable', "the second key of the tenant's log cannot be opened", {
        cause: new Damaged(fault),
      });
    }
  }
}

/** It opens as no other key, and no other as it. */
const bindingOf = (tenant: TenantId, origin: string): string => `${logKeyBinding(tenant, origin)} ml-dsa-44`;
