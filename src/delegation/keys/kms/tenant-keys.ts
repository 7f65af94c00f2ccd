import { ownRecord, SERVER } from '../../../audit/own.ts';
import type { Clock, Random } from '../../../effects.ts';
import { ServiceError } from '../../../errors.ts';
import type { TenantId } from '../../../ids.ts';
import { tenantKeyBinding } from '../../../storage/keys.ts';
import type { TenantNo } from '../../../storage/rows.ts';
import type { TenantKeyStore } from '../../../storage/tenant-keys.ts';
import type { Writer } from '../../../storage/writer.ts';
import { MasterKey } from '../master-key.ts';
import { OLDER_MASTER, type Resealed, type TenantSealing } from '../tenant-sealing.ts';
import { isEnvelope, parseEnvelope } from './envelope.ts';
import { KEY_BYTES, type Kms } from './kms.ts';
import { type Stored, unwrapAll, wrapAll } from './wrapping.ts';

export interface KmsTenantKeysOptions {
  readonly kms: Kms;
  /** What sealed keys of tenants before there was a KMS, the newest first; empty where it is not needed any more. */
  readonly former: readonly MasterKey[];
  readonly store: TenantKeyStore;
  readonly writer: Pick<Writer, 'run'>;
  readonly clock: Clock;
  readonly monotonic: Clock;
  readonly random: Random;
}

/** How long it is left before what failed is tried again. It doubles each time, up to the second. */
const AGAIN_MS = 1_000;
const AGAIN_AT_MOST_MS = 60_000;

/** So many records share a commit. */
const AT_ONCE = 500;

/**
 * Seals the keys of each tenant by one of its own, which a KMS wraps: once when it is made, and again when somebody asks
 * for that. All are unwrapped at the start and kept in memory. Without its key a tenant's others stay closed, and are never
 * made anew: what needs one is refused with `unavailable` until the KMS answers.
 */
export class KmsTenantKeys implements TenantSealing, Disposable {
  readonly #options: KmsTenantKeysOptions;
  readonly #known = new Map<TenantId, MasterKey>();
  readonly #away = new Map<TenantId, string>();
  /** Master keys of before; what they sealed themselves is left as it is. */
  #older: readonly MasterKey[] = [];
  #olderAway = false;
  #again: NodeJS.Timeout | undefined;
  #refusal: { readonly error: unknown; readonly until: number } | undefined;
  /** One change at a time. */
  #turn: Promise<unknown> = Promise.resolve();

  constructor(options: KmsTenantKeysOptions) {
    this.#options = options;
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#again);
    this.#again = undefined;
  }

  async open(): Promise<void> {
    await this.#open();
    if (this.#isLacking()) this.#openAgain(AGAIN_MS);
  }

  async heard(tenant: TenantId): Promise<void> {
    if (this.#known.has(tenant)) return;
    await this.#inTurn(() => this.#open());
    if (this.#away.has(tenant)) this.#openAgain(AGAIN_MS);
  }

  problems(): readonly { tenant: TenantId; why: string }[] {
    return Array.from(this.#away, ([tenant, why]) => ({ tenant, why }));
  }

  seal(tenant: TenantId, text: string, binding: string, nonce: Uint8Array): Uint8Array | Promise<Uint8Array> {
    const known = this.#known.get(tenant);
    if (known) return known.seal(text, binding, nonce);
    return this.#inTurn(() => this.#made(tenant)).then((key) => key.seal(text, binding, nonce));
  }

  unseal(tenant: TenantId, sealed: Uint8Array, binding: string): string {
    const known = this.#known.get(tenant);
    if (!known && this.#isAway(tenant)) throw this.#unavailable(tenant);
    const by = [...(known ? [known] : []), ...this.#masters].find((key) => key.opens(sealed, binding));
    if (by) return by.unseal(sealed, binding);
    if (this.#olderAway) throw this.#unavailable(tenant);
    throw new Error('no key of the tenant opens it');
  }

  async rotateMaster(caller: string): Promise<Resealed> {
    return this.#inTurn(async () => {
      if (this.#isLacking()) await this.#open();
      const [tenant] = this.#away.keys();
      if (tenant !== undefined) throw this.#unavailable(tenant);
      return this.#wrapAnew(() => true, caller);
    });
  }

  async settle(failed: (error: unknown) => void): Promise<void> {
    await this.#inTurn(() => this.#wrapAnew((sealed) => !isEnvelope(sealed), SERVER)).catch(failed);
  }

  get #masters(): readonly MasterKey[] {
    return [...this.#options.former, ...this.#older];
  }

  #isLacking(): boolean {
    return this.#away.size > 0 || this.#olderAway;
  }

  /** One that came into the store from elsewhere, and nobody told of it, is asked for now. */
  #isAway(tenant: TenantId): boolean {
    if (this.#away.has(tenant)) return true;
    if (!this.#options.store.find(tenant)) return false;
    this.#away.set(tenant, 'it is asked for now');
    this.#openAgain(0);
    return true;
  }

  /** A store that cannot tell is not ready, which the server is to live to say. */
  async #open(): Promise<void> {
    const { store } = this.#options;
    let older: Uint8Array[];
    let rows: { tenant: TenantId; sealed: Uint8Array }[];
    try {
      [older, rows] = [store.olderMasters(), store.all().filter(({ tenant }) => !this.#known.has(tenant))];
    } catch {
      return;
    }
    const stored = [
      ...older.map((sealed) => ({ sealed, binding: OLDER_MASTER })),
      ...rows.map(({ tenant, sealed }) => ({ sealed, binding: tenantKeyBinding(tenant) })),
    ];
    const opened = await this.#opened(stored);
    const masters = opened.slice(0, older.length);
    this.#olderAway = masters.some((each) => typeof each === 'string');
    this.#older = masters.flatMap((each) => (typeof each === 'string' ? [] : [new MasterKey(each)]));
    for (const [index, { tenant }] of rows.entries())
      this.#learn(tenant, opened[older.length + index] ?? 'it was not asked for');
  }

  #learn(tenant: TenantId, key: Uint8Array | string): void {
    if (typeof key === 'string') this.#away.set(tenant, key);
    else {
      this.#known.set(tenant, new MasterKey(key));
      this.#away.delete(tenant);
    }
  }

  /** In the order of what is stored: by the KMS, or by what sealed before it. */
  async #opened(stored: readonly Stored[]): Promise<(Uint8Array | string)[]> {
    const wrapped = stored.filter(({ sealed }) => isEnvelope(sealed));
    const keys = await unwrapAll(this.#options.kms, wrapped);
    return stored.map((each) => (isEnvelope(each.sealed) ? (keys.shift() ?? '') : this.#formerly(each)));
  }

  #formerly({ sealed, binding }: Stored): Uint8Array | string {
    const by = this.#options.former.find((key) => key.opens(sealed, binding));
    return by
      ? Buffer.from(by.unseal(sealed, binding), 'base64')
      : 'it is sealed by a master key that is not there';
  }

  #openAgain(ms: number): void {
    clearTimeout(this.#again);
    this.#again = setTimeout(() => {
      void this.#inTurn(() => this.#open()).finally(() => {
        if (this.#again && this.#isLacking()) this.#openAgain(Math.min(2 * ms, AGAIN_AT_MOST_MS));
      });
    }, ms).unref();
  }

  async #made(tenant: TenantId): Promise<MasterKey> {
    const known = this.#known.get(tenant);
    if (known) return known;
    if (this.#away.has(tenant)) throw this.#unavailable(tenant);
    const { kms, store, writer, random } = this.#options;
    // Of a tenant whose key was in the store, another one would open nothing.
    if (store.find(tenant)) throw this.#unavailable(tenant);
    const key = Buffer.from(random(KEY_BYTES));
    const [sealed] = await this.#asked(() => wrapAll(kms, [{ key, binding: tenantKeyBinding(tenant) }]));
    // Nothing is sealed by it before it is durable.
    const { value } = sealed ? await writer.run('putTenantKey', { tenant, sealed }) : {};
    if (value === undefined) {
      await this.#open();
      const stored = this.#known.get(tenant);
      if (stored) return stored;
      throw this.#unavailable(tenant);
    }
    this.#learn(tenant, key);
    return new MasterKey(key);
  }

  /** A KMS that failed is left for a second: those who wait for a key do not wait for it one after the other. */
  async #asked<T>(ask: () => Promise<T>): Promise<T> {
    const { monotonic } = this.#options;
    if (this.#refusal && monotonic() < this.#refusal.until) throw this.#refusal.error;
    try {
      return await ask();
    } catch (error) {
      this.#refusal = { error, until: monotonic() + AGAIN_MS };
      throw error;
    }
  }

  /** Where one cannot be written, as the log of its tenant is damaged, the others are all the same. */
  async #wrapAnew(isWanted: (sealed: Uint8Array) => boolean, caller: string): Promise<Resealed> {
    const { kms, store } = this.#options;
    await this.#keepOlder(isWanted);
    const rows = store.all().flatMap(({ tenant, no, sealed }) => {
      const known = this.#known.get(tenant);
      if (!known || !isWanted(sealed)) return [];
      return [{ tenant, no, key: Buffer.from(known.text, 'base64'), binding: tenantKeyBinding(tenant) }];
    });
    const wrapped = await wrapAll(kms, rows);
    let failure: unknown;
    for (let at = 0; at < rows.length; at += AT_ONCE) {
      const some = rows
        .slice(at, at + AT_ONCE)
        .map(({ tenant, no }, index) =>
          this.#write(tenant, no, wrapped[at + index] ?? Buffer.alloc(0), caller),
        );
      for (const done of await Promise.allSettled(some))
        if (done.status === 'rejected') failure = done.reason;
    }
    if (failure !== undefined) throw failure;
    return { tenants: rows.length, kms: kms.name };
  }

  async #write(tenant: TenantId, tenantNo: TenantNo, sealed: Uint8Array, caller: string): Promise<void> {
    const { kms, writer, clock, random } = this.#options;
    const version = kms.versionOf(parseEnvelope(sealed).wrapped);
    const deed = {
      tenantNo,
      kind: 'key',
      action: 'key.seal',
      resource: { type: 'key', id: tenant },
      caller,
      detail: { use: 'tenant', algorithm: 'A256GCM', kms: kms.name, version },
    } as const;
    await writer.run('sealTenantKey', { tenant, sealed }, ownRecord(deed, clock, random));
  }

  /** Master keys of before are wrapped too: what they sealed themselves opens when their file is gone. */
  async #keepOlder(isWanted: (sealed: Uint8Array) => boolean): Promise<void> {
    const { kms, former, store, writer } = this.#options;
    if (this.#olderAway) throw new ServiceError('unavailable', 'master keys of before cannot be opened now');
    const texts = new Set(this.#older.map(({ text }) => text));
    const isNew = former.some(({ text }) => !texts.has(text));
    if (!isNew && !store.olderMasters().some(isWanted)) return;
    for (const { text } of former) texts.add(text);
    const keys = [...texts].map((text) => ({ key: Buffer.from(text, 'base64'), binding: OLDER_MASTER }));
    await writer.run('putOlderMasters', { sealed: await wrapAll(kms, keys) });
    this.#older = keys.map(({ key }) => new MasterKey(key));
  }

  #unavailable(tenant: TenantId): ServiceError {
    return new ServiceError('unavailable', 'the key of the tenant cannot be had now', {
      detail: `${tenant}: ${this.#away.get(tenant) ?? `${this.#options.kms.name} was not asked for it`}`,
    });
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#turn.then(work, work);
    this.#turn = turn.catch(() => undefined);
    return turn;
  }
}
