import type { JWK } from 'jose';
import { type KeyDeed, keyRow, SERVER } from '../../audit/own.ts';
import type { Sealing } from '../../audit/proof/keys.ts';
import type { Clock, Random } from '../../effects.ts';
import { ServiceError } from '../../errors.ts';
import type { TenantId } from '../../ids.ts';
import { type KeyStore, keyBinding } from '../../storage/keys.ts';
import type { KeyRow, RecordRow } from '../../storage/rows.ts';
import type { Writer } from '../../storage/writer.ts';
import type { KeyAlgorithm } from '../../tenancy/keys-declared.ts';
import type { Tenant } from '../../tenancy/tenants.ts';
import { isPublished, type KeyStep, nextStep } from './lifecycle.ts';
import { newKey, type SigningKey, signingKey, type VerifyingKey, verifyingKey } from './signing-key.ts';

export interface KeysOptions {
  readonly store: KeyStore;
  readonly writer: Pick<Writer, 'run'>;
  readonly sealing: Sealing;
  /** What becomes of the keys another server decides: here they verify, and sign nothing. */
  readonly isPassive?: boolean | undefined;
  readonly clock: Clock;
  readonly random: Random;
}

/** A tenant's keys as they stand in the store, those that are gone left out. */
interface KeySet {
  readonly all: readonly VerifyingKey[];
  /** Undefined until the first is made, and where it does not open: `fault` says why. What verifies does so all the same. */
  readonly signer: SigningKey | undefined;
  readonly fault?: unknown;
}

/** How many steps may follow each other at one use: a key that was away for long is created, activated, and the rest removed. */
const MOST_STEPS = 100;

/**
 * The signing keys, each of one tenant. A private key is stored only sealed (AES-256-GCM) under a key of the tenant, bound
 * to its tenant and key id: a copy of the database signs nothing, and a row moved to another tenant does not open. Once a
 * key does not sign any more its private part is written over. What a key becomes is in the store, with its record,
 * before it is so here: no key signs that is not durable.
 */
export class Keys {
  readonly #options: KeysOptions;
  readonly #sets = new Map<TenantId, Promise<KeySet>>();
  /** Steps that are under way: one at a time of a tenant. */
  readonly #steps = new Map<TenantId, Promise<unknown>>();
  /** How often keys of a tenant were taken away before their time. */
  readonly #replaced = new Map<TenantId, number>();

  constructor(options: KeysOptions) {
    this.#options = options;
  }

  /** The key that signs now. Makes the first one, and takes what steps are due. */
  async signer(tenant: Tenant): Promise<SigningKey> {
    const { signer, fault } = await this.#stepped(tenant);
    if (fault !== undefined) throw fault;
    if (!signer) throw new ServiceError('unavailable', 'the tenant has no key that signs');
    return signer;
  }

  /** The key of that id, among this tenant's alone. */
  async find(tenant: Tenant, kid: string): Promise<VerifyingKey | undefined> {
    const { all } = await this.#set(tenant);
    return all.find((key) => key.kid === kid && isPublished(key, this.#options.clock()));
  }

  /** RFC 7517: the public keys, with the one to come. */
  async jwks(tenant: Tenant): Promise<{ keys: JWK[] }> {
    return { keys: (await this.list(tenant)).map((key) => key.publicJwk) };
  }

  /** Those that verify, or will. What cannot be recorded now waits: tokens that are out there are verified all the same. */
  async list(tenant: Tenant): Promise<readonly VerifyingKey[]> {
    const { all } = await this.#stepped(tenant).catch(async (error: unknown) => {
      const set = await this.#set(tenant);
      if (set.all.length > 0) return set;
      throw error;
    });
    return all.filter((key) => isPublished(key, this.#options.clock()));
  }

  /** Called where the store has other keys than before, by another server's doing. */
  changed(tenant: Tenant): void {
    this.#replaced.set(tenant.id, this.generation(tenant) + 1);
    this.#sets.delete(tenant.id);
  }

  /** Another number once keys were taken away before their time: what was verified by then was by one of those. */
  generation(tenant: Tenant): number {
    return this.#replaced.get(tenant.id) ?? 0;
  }

  /** Publishes the key that is to sign next, if there is none yet; it signs once everybody may know it. */
  async rotate(tenant: Tenant, caller: string, reason: string): Promise<void> {
    await this.#stepped(tenant);
    await this.#inTurn(tenant, async () => {
      const { all } = await this.#set(tenant);
      if (!all.some(({ state }) => state === 'next'))
        await this.#create(tenant, 'next', tenant.manifest.keys.algorithm, caller, reason);
    });
  }

  /** For keys that somebody else may have: a new one signs at once, and the others are gone, with what they signed. */
  async replace(tenant: Tenant, caller: string, reason: string): Promise<void> {
    const { writer, clock } = this.#options;
    const { algorithm } = tenant.manifest.keys;
    await this.#inTurn(tenant, async () => {
      const { all } = await this.#set(tenant);
      const key = await this.#made(tenant, 'active', algorithm);
      const removed = all.map(({ kid }) => kid);
      const record = this.#record(tenant, {
        action: 'key.replace',
        id: key.kid,
        algorithm,
        caller,
        detail: { removed, reason },
      });
      await writer.run('replaceKeys', { tenantNo: tenant.no, key, at: clock() }, record);
      this.#replaced.set(tenant.id, this.generation(tenant) + 1);
      this.#sets.delete(tenant.id);
    });
  }

  async #stepped(tenant: Tenant): Promise<KeySet> {
    if (this.#options.isPassive) return this.#set(tenant);
    for (let steps = 0; steps < MOST_STEPS; steps += 1) {
      const set = await this.#set(tenant);
      if (!nextStep(set.all, tenant.manifest.keys, this.#options.clock())) return set;
      // Whoever came first has taken it; what is due is asked anew in each turn.
      await this.#inTurn(tenant, async () => {
        const { all } = await this.#set(tenant);
        const due = nextStep(all, tenant.manifest.keys, this.#options.clock());
        if (due) await this.#take(tenant, due, all);
      });
    }
    return this.#set(tenant);
  }

  /** One after the other. What fails fails for whoever asked, and the next one tries again. */
  async #inTurn(tenant: Tenant, step: () => Promise<void>): Promise<void> {
    const before = this.#steps.get(tenant.id);
    const turn = (before ?? Promise.resolve()).then(step, step);
    this.#steps.set(tenant.id, turn);
    try {
      await turn;
    } finally {
      if (this.#steps.get(tenant.id) === turn) this.#steps.delete(tenant.id);
    }
  }

  async #take(tenant: Tenant, step: KeyStep, all: readonly VerifyingKey[]): Promise<void> {
    if (step.do === 'create') return this.#create(tenant, step.state, step.algorithm, SERVER, '');
    const { writer, clock } = this.#options;
    const { kid } = step;
    const args = { tenantNo: tenant.no, kid, at: clock() };
    const algorithm = all.find((key) => key.kid === kid)?.alg ?? '';
    const deed = { action: `key.${step.do}` as const, id: kid, algorithm, caller: SERVER };
    if (step.do === 'activate') {
      const retired = all.find(({ state }) => state === 'active')?.kid;
      await writer.run('activateKey', args, this.#record(tenant, { ...deed, detail: { retired } }));
    } else await writer.run('removeKey', args, this.#record(tenant, { ...deed, detail: {} }));
    this.#sets.delete(tenant.id);
  }

  async #create(
    tenant: Tenant,
    state: 'active' | 'next',
    algorithm: KeyAlgorithm,
    caller: string,
    reason: string,
  ): Promise<void> {
    const key = await this.#made(tenant, state, algorithm);
    const detail = reason === '' ? {} : { reason };
    const record = this.#record(tenant, { action: 'key.create', id: key.kid, algorithm, caller, detail });
    await this.#options.writer.run('putKey', { tenantNo: tenant.no, key }, record);
    this.#sets.delete(tenant.id);
  }

  async #made(tenant: Tenant, state: 'active' | 'next', algorithm: KeyAlgorithm): Promise<KeyRow> {
    const { sealing, clock, random } = this.#options;
    const { kid, publicJwk, privateJwk } = await newKey(algorithm);
    const sealed = await sealing.seal(tenant.id, privateJwk, keyBinding(tenant.id, kid), random(12));
    const now = clock();
    return { kid, alg: algorithm, publicJwk, sealed, createdAt: now, state, stateAt: now };
  }

  #record(tenant: Tenant, deed: Omit<KeyDeed, 'tenantNo'>): RecordRow {
    const { clock, random } = this.#options;
    return keyRow({ ...deed, tenantNo: tenant.no }, clock, random);
  }

  #set(tenant: Tenant): Promise<KeySet> {
    const known = this.#sets.get(tenant.id);
    if (known) return known;
    const opened = this.#open(tenant);
    this.#sets.set(tenant.id, opened);
    // What keeps a key closed may pass.
    opened.then(
      ({ fault }) => fault !== undefined && this.#sets.delete(tenant.id),
      () => this.#sets.delete(tenant.id),
    );
    return opened;
  }

  async #open(tenant: Tenant): Promise<KeySet> {
    const rows = this.#options.store.list(tenant.no);
    const all = rows.map(verifyingKey);
    const at = rows.findIndex(({ state }) => state === 'active');
    const [row, key] = [rows[at], all[at]];
    try {
      if (this.#options.isPassive) return { all, signer: undefined };
      return { all, signer: row && key && signingKey(key, this.#unsealed(tenant, row)) };
    } catch (fault) {
      return { all, signer: undefined, fault };
    }
  }

  #unsealed(tenant: Tenant, { kid, sealed }: KeyRow): string {
    try {
      return this.#options.sealing.unseal(tenant.id, sealed, keyBinding(tenant.id, kid));
    } catch (cause) {
      if (cause instanceof ServiceError) throw cause;
      throw new ServiceError('unavailable', 'the signing key of the tenant cannot be opened', {
        cause,
        detail: `the master key is not the one that key ${kid} of ${tenant.id} was sealed with`,
      });
    }
  }
}
