import { LRUCache } from 'lru-cache';
import type { Clock, Random } from '../../effects.ts';
import { ServiceError } from '../../errors.ts';
import type { NamedRef, TenantId } from '../../ids.ts';
import { reportFault } from '../../storage/faults.ts';
import { memberKeyBinding } from '../../storage/keys.ts';
import type { MemberKeyStore } from '../../storage/member-keys.ts';
import type { MemberKeyRow, TenantNo } from '../../storage/rows.ts';
import type { Writer } from '../../storage/writer.ts';
import type { Sealing } from '../proof/keys.ts';

/** Seals what is recorded about one principal of a tenant. */
export interface MemberKey {
  readonly about: NamedRef;
  readonly kid: string;
  /** 256 bits. */
  readonly secret: Uint8Array;
}

/** A tenant, by what keys are bound to and found by. */
export interface KeyHolder {
  readonly id: TenantId;
  readonly no: TenantNo;
}

export interface MemberKeysOptions {
  readonly store: MemberKeyStore;
  readonly writer: Pick<Writer, 'run'>;
  readonly sealing: Sealing;
  readonly clock: Clock;
  readonly random: Random;
}

const KEY_BYTES = 32;
const ID_BYTES = 12;
const NONCE_BYTES = 12;

/** How many are at hand, over all tenants. */
const KEPT = 10_000;

/**
 * The keys of sealed members, one of each principal of a tenant, made when something is first recorded about it. They are
 * stored only sealed, as signing keys are, bound to tenant, principal and key id.
 */
export class MemberKeys {
  readonly #options: MemberKeysOptions;
  /** By tenant and principal; a key that is not durable yet is a promise. */
  readonly #kept = new LRUCache<string, MemberKey | Promise<MemberKey>>({ max: KEPT });

  constructor(options: MemberKeysOptions) {
    this.#options = options;
  }

  /**
   * The key that seals what is recorded about somebody. A new one is a promise until it is durable: no record is to need
   * a key that a crash could take. Throws or rejects with `unavailable` or `audit_unavailable`.
   */
  of(tenant: KeyHolder, about: NamedRef): MemberKey | Promise<MemberKey> {
    const name = cacheKey(tenant.no, about);
    const known = this.#kept.get(name);
    if (known) return known;
    const row = this.#options.store.inUse(tenant.no, about);
    const key = row ? this.#unsealed(tenant, row) : this.#made(tenant, about);
    this.#kept.set(name, key);
    if (key instanceof Promise) this.#settle(name, key);
    return key;
  }

  /** By its id. Undefined where the tenant never had it; throws `unavailable` where it cannot be opened. */
  find(tenant: KeyHolder, kid: string): MemberKey | 'destroyed' | undefined {
    const row = this.#options.store.find(tenant.no, kid);
    return row === undefined || row === 'destroyed' ? row : this.#unsealed(tenant, row);
  }

  /** Called before and after the keys of somebody are destroyed: what is sealed from then on takes a new one. */
  forget({ no }: KeyHolder, about: NamedRef): void {
    this.#kept.delete(cacheKey(no, about));
  }

  /** The same of all of a tenant, where another server had somebody's destroyed. */
  forgetAll(no: TenantNo): void {
    for (const name of this.#kept.keys()) if (name.startsWith(`[${no},`)) this.#kept.delete(name);
  }

  /** One that was forgotten meanwhile stays so. */
  #settle(name: string, made: Promise<MemberKey>): void {
    made.then(
      (key) => this.#kept.peek(name) === made && this.#kept.set(name, key),
      () => this.#kept.peek(name) === made && this.#kept.delete(name),
    );
  }

  async #made(tenant: KeyHolder, about: NamedRef): Promise<MemberKey> {
    const { store, writer, sealing, clock, random } = this.#options;
    const [kid, secret] = [Buffer.from(random(ID_BYTES)).toString('base64url'), random(KEY_BYTES)];
    const text = Buffer.from(secret).toString('base64');
    const binding = memberKeyBinding(tenant.id, about, kid);
    const box = sealing.seal(tenant.id, text, binding, random(NONCE_BYTES));
    // Many are made together, and share a commit if they are asked for in one turn.
    const sealed = box instanceof Promise ? await box : box;
    const key = { kid, class: about.class, name: about.id, sealed, createdAt: clock() };
    const { value } = await writer.run('putMemberKey', { tenantNo: tenant.no, key });
    if (value) return { about, kid, secret };
    // One that was forgotten before it was durable is in use all the same.
    const row = store.inUse(tenant.no, about);
    if (row) return this.#unsealed(tenant, row);
    throw new ServiceError('unavailable', 'the key of sealed members was destroyed meanwhile; ask again');
  }

  #unsealed(tenant: KeyHolder, { kid, class: cls, name, sealed }: MemberKeyRow): MemberKey {
    const about = { class: cls, id: name };
    try {
      const binding = memberKeyBinding(tenant.id, about, kid);
      const text = this.#options.sealing.unseal(tenant.id, sealed, binding);
      return { about, kid, secret: Buffer.from(text, 'base64') };
    } catch (cause) {
      if (cause instanceof ServiceError) throw cause;
      const text = `the key ${kid} of sealed members does not open`;
      reportFault({ tenantNo: tenant.no, text, lasts: true });
      throw new ServiceError('unavailable', 'a key of sealed members cannot be opened', {
        cause,
        detail: `${text}: it is damaged, or sealed by another master key`,
      });
    }
  }
}

const cacheKey = (no: TenantNo, { class: cls, id }: NamedRef): string => JSON.stringify([no, cls, id]);
