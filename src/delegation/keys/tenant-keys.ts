import { ownRecord, SERVER } from '../../audit/own.ts';
import type { Clock, Random } from '../../effects.ts';
import { ServiceError } from '../../errors.ts';
import type { TenantId } from '../../ids.ts';
import { tenantKeyBinding } from '../../storage/keys.ts';
import type { TenantNo } from '../../storage/rows.ts';
import type { TenantKeyRow, TenantKeyStore } from '../../storage/tenant-keys.ts';
import type { Writer } from '../../storage/writer.ts';
import { MasterKey } from './master-key.ts';
import type { MasterSource } from './master-source.ts';
import { OLDER_MASTER, type Resealed, type TenantSealing } from './tenant-sealing.ts';

export interface TenantKeysOptions {
  readonly source: MasterSource;
  readonly store: TenantKeyStore;
  readonly writer: Pick<Writer, 'run'>;
  readonly clock: Clock;
  readonly random: Random;
}

/** So many share a commit. */
const AT_ONCE = 500;

const KEY_BYTES = 32;
const NONCE_BYTES = 12;

/**
 * Seals the keys of each tenant by one of its own (AES-256-GCM), and those by the master key: another master key seals a
 * key of each tenant anew, and not all that they sealed. What an older version sealed by the master key itself opens as it
 * is; for its sake master keys of before are kept, sealed by the one that followed.
 */
export class TenantKeys implements TenantSealing {
  readonly #options: TenantKeysOptions;
  readonly #known = new Map<TenantId, MasterKey>();
  /** One change at a time: a key that is made while another master key comes in is sealed by that one. */
  #turn: Promise<unknown> = Promise.resolve();

  constructor(options: TenantKeysOptions) {
    this.#options = options;
  }

  /** Nothing: the master key was seen to be the store's, and opens each when it is needed. */
  async open(): Promise<void> {}

  async heard(): Promise<void> {}

  problems(): [] {
    return [];
  }

  /** A promise where the tenant has no key yet. */
  seal(tenant: TenantId, text: string, binding: string, nonce: Uint8Array): Uint8Array | Promise<Uint8Array> {
    const known = this.#find(tenant);
    if (known) return known.seal(text, binding, nonce);
    return this.#inTurn(() => this.#made(tenant)).then((key) => key.seal(text, binding, nonce));
  }

  unseal(tenant: TenantId, sealed: Uint8Array, binding: string): string {
    const key = this.#find(tenant);
    if (key?.opens(sealed, binding)) return key.unseal(sealed, binding);
    const { keys } = this.#options.source;
    const older = keys.find((each) => each.opens(sealed, binding)) ?? this.#olderFor(sealed, binding);
    return (older ?? keys[0]).unseal(sealed, binding);
  }

  /**
   * Brings in another master key, and seals all by it; answers how many tenants' keys. What a crash leaves half done is
   * gone on with by `settle`.
   */
  async rotateMaster(caller: string): Promise<Resealed> {
    return this.#inTurn(async () => {
      this.#options.source.advance();
      return { tenants: await this.#sealAll(caller), kms: '' };
    });
  }

  /** Goes on where a change of the master key was broken off. What fails is told to `failed`: both keys open meanwhile. */
  async settle(failed: (error: unknown) => void): Promise<void> {
    if (this.#options.source.keys.length > 1)
      await this.#inTurn(() => this.#sealAll(SERVER)).then(() => undefined, failed);
  }

  #find(tenant: TenantId): MasterKey | undefined {
    const known = this.#known.get(tenant);
    if (known) return known;
    const sealed = this.#options.store.find(tenant);
    return sealed && this.#learn(tenant, this.#opened(tenant, sealed));
  }

  #learn(tenant: TenantId, text: string): MasterKey {
    const key = new MasterKey(Buffer.from(text, 'base64'));
    this.#known.set(tenant, key);
    return key;
  }

  #opened(tenant: TenantId, sealed: Uint8Array): string {
    const binding = tenantKeyBinding(tenant);
    const { keys } = this.#options.source;
    return (keys.find((key) => key.opens(sealed, binding)) ?? keys[0]).unseal(sealed, binding);
  }

  async #made(tenant: TenantId): Promise<MasterKey> {
    const known = this.#find(tenant);
    if (known) return known;
    const text = Buffer.from(this.#options.random(KEY_BYTES)).toString('base64');
    // Nothing is sealed by it before it is durable.
    const { value } = await this.#options.writer.run('putTenantKey', this.#sealed(tenant, text));
    if (value !== undefined) return this.#learn(tenant, text);
    // One that was given up on came to be after all.
    const stored = this.#find(tenant);
    if (stored) return stored;
    throw new ServiceError('unavailable', 'the key of the tenant cannot be had now');
  }

  #sealed(tenant: TenantId, text: string): TenantKeyRow {
    const { source, random } = this.#options;
    return { tenant, sealed: source.keys[0].seal(text, tenantKeyBinding(tenant), random(NONCE_BYTES)) };
  }

  /** Where one cannot be sealed, as the log of its tenant is damaged, both master keys are needed still. */
  async #sealAll(caller: string): Promise<number> {
    const { source, store } = this.#options;
    const [master, before] = source.keys;
    if (before) await this.#keep(master, before);
    const left = store.all().filter(({ tenant, sealed }) => !master.opens(sealed, tenantKeyBinding(tenant)));
    let failure: unknown;
    for (let at = 0; at < left.length; at += AT_ONCE) {
      const some = left.slice(at, at + AT_ONCE).map((row) => this.#sealAnew(row, caller));
      for (const done of await Promise.allSettled(some))
        if (done.status === 'rejected') failure = done.reason;
    }
    if (failure !== undefined) throw failure;
    source.settle();
    return left.length;
  }

  async #sealAnew({ tenant, sealed, no }: TenantKeyRow & { no: TenantNo }, caller: string): Promise<void> {
    const { writer, clock, random } = this.#options;
    const row = this.#sealed(tenant, this.#opened(tenant, sealed));
    const deed = {
      tenantNo: no,
      kind: 'key',
      action: 'key.seal',
      resource: { type: 'key', id: tenant },
      caller,
      detail: { use: 'tenant', algorithm: 'A256GCM' },
    } as const;
    await writer.run('sealTenantKey', row, ownRecord(deed, clock, random));
  }

  /** Once and for all, however often it is begun: what opens already is not added. */
  async #keep(master: MasterKey, before: MasterKey): Promise<void> {
    const { store, writer, random } = this.#options;
    const texts = store
      .olderMasters()
      .map((sealed) => (master.opens(sealed, OLDER_MASTER) ? master : before).unseal(sealed, OLDER_MASTER));
    const all = [...new Set([...texts, before.text])];
    const sealed = all.map((text) => master.seal(text, OLDER_MASTER, random(NONCE_BYTES)));
    await writer.run('putOlderMasters', { sealed });
  }

  #olderFor(sealed: Uint8Array, binding: string): MasterKey | undefined {
    const { store, source } = this.#options;
    for (const kept of store.olderMasters()) {
      const by = source.keys.find((key) => key.opens(kept, OLDER_MASTER));
      const older = by && new MasterKey(Buffer.from(by.unseal(kept, OLDER_MASTER), 'base64'));
      if (older?.opens(sealed, binding)) return older;
    }
    return undefined;
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#turn.then(work, work);
    this.#turn = turn.catch(() => undefined);
    return turn;
  }
}
