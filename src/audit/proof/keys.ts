import { createPrivateKey, createPublicKey, generateKeyPair, type JsonWebKey } from 'node:crypto';
import { promisify } from 'node:util';
import type { Clock, Random } from '../../effects.ts';
import { ServiceError } from '../../errors.ts';
import type { TenantId } from '../../ids.ts';
import { checkpointText, type SignedCheckpoint } from '../../merkle/checkpoint.ts';
import { EMPTY_ROOT } from '../../merkle/hashes.ts';
import { SignatureType, type SignerKey, verifierKey } from '../../merkle/keys.ts';
import { isNoteOf, signNote } from '../../merkle/note.ts';
import { Damaged, reportFault } from '../../storage/faults.ts';
import { logKeyBinding } from '../../storage/keys.ts';
import { damagedCheckpoint } from '../../storage/log/damage.ts';
import type { LogTrees } from '../../storage/log/tree.ts';
import type { LogKeyStore } from '../../storage/log-keys.ts';
import type { LogKeyRow, RecordRow, TenantNo } from '../../storage/rows.ts';
import type { Writer } from '../../storage/writer.ts';

/** What keeps private keys: see `MasterKey`. */
export interface Sealing {
  seal(tenant: TenantId, text: string, binding: string, nonce: Uint8Array): Uint8Array | Promise<Uint8Array>;
  /** Throws where it was sealed by another key, or for another binding; `unavailable` where its key cannot be had now. */
  unseal(tenant: TenantId, sealed: Uint8Array, binding: string): string;
}

export interface LogKeysOptions {
  readonly store: LogKeyStore;
  readonly trees: Pick<LogTrees, 'checkpoint'>;
  readonly writer: Writer;
  readonly sealing: Sealing;
  /** What a tenant's log is called when it begins. */
  readonly originOf: (tenant: TenantId) => string;
  /** What says in its log that a key was made. */
  readonly recordOf: (no: TenantNo, key: SignerKey) => RecordRow;
  readonly clock: Clock;
  readonly random: Random;
}

const generate = promisify(generateKeyPair);

/** How long what is left is looked at in one go, and how long others have their turn then. */
const SLICE_MS = 5;
const PAUSE_MS = 100;

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

  /** Makes those that are missing. What cannot be made now is made when a log states what it is. */
  async makeMissing(logs: Iterable<TenantNo>): Promise<void> {
    const known = new Set(this.#all());
    const missing = [...logs].filter((no) => !known.has(no));
    await Promise.allSettled(missing.map((no) => this.of(no)));
  }

  /**
   * Looks whether each log's newest checkpoint is signed by the log's key: for so long, and the rest behind. One that is
   * not is reported, and nothing is appended to its log.
   */
  async checkAll(ms: number): Promise<void> {
    const left = this.#all();
    await this.#checkSome(left, ms);
    if (left.length > 0) this.#checkLater(left);
  }

  /** A store that cannot tell is not ready, which the server is to live to say. */
  #all(): TenantNo[] {
    try {
      return this.#options.store.all();
    } catch {
      return [];
    }
  }

  #checkLater(left: TenantNo[]): void {
    setTimeout(() => {
      void this.#checkSome(left, SLICE_MS).then(() => {
        if (left.length > 0) this.#checkLater(left);
      });
    }, PAUSE_MS).unref();
  }

  async #checkSome(left: TenantNo[], ms: number): Promise<void> {
    const end = performance.now() + ms;
    for (let no = left.pop(); no !== undefined; no = performance.now() < end ? left.pop() : undefined)
      // What is wrong was reported where it was found.
      await this.#known(no).catch(() => undefined);
  }

  async #open(no: TenantNo): Promise<SignerKey> {
    return (await this.#known(no)) ?? (await this.#made(no));
  }

  /** Undefined where the log has neither key nor checkpoint: it begins. */
  async #known(no: TenantNo): Promise<SignerKey | undefined> {
    const { store, trees, writer } = this.#options;
    try {
      const row = store.find(no);
      const checkpoint = trees.checkpoint(no);
      if (!row && !checkpoint) return undefined;
      if (!row) throw new Damaged(damagedCheckpoint(no, 'the key that signed it is gone'));
      const key = this.#unsealed(no, this.#tenantOf(no), row);
      if (!checkpoint) throw new Damaged(damagedCheckpoint(no, 'it is gone'));
      if (checkpoint.origin !== key.name || !isSigned(checkpoint, key))
        throw new Damaged(damagedCheckpoint(no, "the log's key has not signed it"));
      return key;
    } catch (cause) {
      if (!(cause instanceof Damaged)) throw cause;
      reportFault(cause.fault);
      await writer.run('closeLog', { fault: cause.fault });
      throw new ServiceError('unavailable', "the checkpoint of the tenant's log is damaged", { cause });
    }
  }

  #tenantOf(no: TenantNo): TenantId {
    const tenant = this.#options.store.tenantOf(no);
    if (tenant === undefined) throw new ServiceError('tenant_unknown', 'no such tenant');
    return tenant;
  }

  async #made(no: TenantNo): Promise<SignerKey> {
    const tenant = this.#tenantOf(no);
    const { privateKey, publicKey } = await generate('ed25519');
    const text = JSON.stringify(privateKey.export({ format: 'jwk' }));
    const raw = Buffer.from(publicKey.export({ format: 'jwk' }).x ?? '', 'base64url');
    const name = this.#options.originOf(tenant);
    // A log that was set aside keeps its name, and what begins after it is another log.
    for (let serial = 1; serial <= MOST_LOGS; serial += 1) {
      const origin = serial === 1 ? name : `${name}-${serial}`;
      const key = { ...verifierKey(origin, SignatureType.ED25519, publicKey), privateKey };
      if (await this.#put(no, tenant, key, raw, text)) return key;
    }
    throw new ServiceError('unavailable', `there are too many logs called ${name}`);
  }

  async #put(
    no: TenantNo,
    tenant: TenantId,
    signer: SignerKey,
    publicKey: Uint8Array,
    text: string,
  ): Promise<boolean> {
    const { writer, sealing, recordOf, clock, random } = this.#options;
    const { name: origin } = signer;
    const sealed = await sealing.seal(tenant, text, logKeyBinding(tenant, origin), random(12));
    const key = { origin, publicKey, sealed, createdAt: clock() };
    // A key is never without a checkpoint: one that is was robbed of it.
    const note = signNote(checkpointText({ origin, size: 0, root: EMPTY_ROOT }), signer);
    const { value } = await writer.run('putLogKey', { tenantNo: no, key, note }, recordOf(no, signer));
    return value === true;
  }

  /** Throws `Damaged`: that the master key is the store's was seen at the start. `unavailable` while a KMS is not there. */
  #unsealed(no: TenantNo, tenant: TenantId, { origin, publicKey: stored, sealed }: LogKeyRow): SignerKey {
    try {
      const jwk = JSON.parse(
        this.#options.sealing.unseal(tenant, sealed, logKeyBinding(tenant, origin)),
      ) as JsonWebKey;
      const privateKey = createPrivateKey({ format: 'jwk', key: jwk });
      if (Buffer.from(stored).toString('base64url') !== jwk.x) throw new Error('the public key is another');
      return { ...verifierKey(origin, SignatureType.ED25519, createPublicKey(privateKey)), privateKey };
    } catch (cause) {
      if (cause instanceof ServiceError) throw cause;
      throw new Damaged({ tenantNo: no, text: 'the key of its log cannot be opened', lasts: true });
    }
  }
}

function isSigned({ note }: SignedCheckpoint, key: SignerKey): boolean {
  try {
    return isNoteOf(note, key);
  } catch {
    return false;
  }
}
