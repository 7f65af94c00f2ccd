import { setTimeout as delay } from 'node:timers/promises';
import type { Clock, Random } from '../../effects.ts';
import { ServiceError } from '../../errors.ts';
import { type NamedRef, uuidv7 } from '../../ids.ts';
import type { MemberKeyStore } from '../../storage/member-keys.ts';
import type { TenantNo } from '../../storage/rows.ts';
import type { Writer } from '../../storage/writer.ts';
import { changeRow } from '../administration.ts';
import { nameOf } from './box.ts';
import type { KeyHolder, MemberKeys } from './keys.ts';

export interface ErasureOptions {
  readonly store: Pick<MemberKeyStore, 'count'>;
  readonly keys: Pick<MemberKeys, 'forget' | 'forgetAll'>;
  readonly writer: Pick<Writer, 'run' | 'emptyWriteAhead'>;
  readonly clock: Clock;
  readonly random: Random;
  /** Other servers may serve its tenants too, from stores and with keys of their own. */
  readonly isShared: boolean;
}

export interface Erased {
  /** How many keys were destroyed, or would be. */
  readonly keys: number;
  /** How many had been before. */
  readonly before: number;
  /** Each server of the fleet destroys its own when it comes to this change. */
  readonly isShared: boolean;
}

/** Whoever reads from the store for a moment is waited for, some seconds in all. */
const ATTEMPTS = 20;
const PAUSE_MS = 100;

/** How long until it is tried again, where another server asked for it. */
const AGAIN_MS = 1_000;

/** Destroys keys of sealed members, so that nobody reads any more what was recorded about somebody. */
export class Erasure implements Disposable {
  readonly #options: ErasureOptions;
  #again: NodeJS.Timeout | undefined;
  #isOver = false;

  constructor(options: ErasureOptions) {
    this.#options = options;
  }

  /**
   * Resolves when no file of this store holds a key of what was sealed about somebody, with a record of it in the same
   * commit. To be asked again it does no harm: where it answered nothing, what is left of a key is gone after the next
   * time. Throws `principal_unknown` where nothing was ever sealed about them and no other server may have, and `unavailable` where the key is
   * destroyed, and somebody who reads keeps the bytes of it in the write-ahead log.
   */
  async erase(tenant: KeyHolder, caller: string, about: NamedRef, isDry: boolean): Promise<Erased> {
    const { store, keys, writer, clock, isShared } = this.#options;
    const { living, destroyed: before } = store.count(tenant.no, about);
    if (living === 0 && before === 0 && !isShared)
      throw new ServiceError('principal_unknown', `nothing was sealed about ${nameOf(about)} in this tenant`);
    if (isDry) return { keys: living, before, isShared };
    if (living === 0 && !isShared) {
      await this.#emptied();
      return { keys: 0, before, isShared };
    }
    keys.forget(tenant, about);
    const record = this.#record(tenant, caller, about, living);
    const args = { tenantNo: tenant.no, about, at: clock() };
    const { value } = await writer.run('destroyMemberKeys', args, record);
    // What was asked until now may have looked it up again.
    keys.forget(tenant, about);
    await this.#emptied();
    return { keys: value ?? 0, before, isShared };
  }

  /** Another server was asked: what was in this store is destroyed, and nothing of it is to be left here either. */
  follow(no: TenantNo): void {
    this.#options.keys.forgetAll(no);
    this.#emptySometime();
  }

  [Symbol.dispose](): void {
    this.#isOver = true;
    clearTimeout(this.#again);
  }

  #emptySometime(): void {
    clearTimeout(this.#again);
    void this.#options.writer.emptyWriteAhead().then((isEmpty) => {
      if (isEmpty || this.#isOver) return;
      clearTimeout(this.#again);
      this.#again = setTimeout(() => this.#emptySometime(), AGAIN_MS).unref();
    });
  }

  #record(tenant: KeyHolder, caller: string, target: NamedRef, keys: number) {
    const { clock, random } = this.#options;
    const time = clock();
    const decisionId = uuidv7(time, random(10));
    return changeRow({ tenant, time, decisionId, caller, action: 'audit.erase', target, detail: { keys } });
  }

  /** The key is destroyed in the store, and the pages that held it are written over; the log before it holds them still. */
  async #emptied(): Promise<void> {
    for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
      if (await this.#options.writer.emptyWriteAhead()) return;
      await delay(PAUSE_MS);
    }
    throw new ServiceError(
      'unavailable',
      'the key is destroyed, and mandate.db-wal still holds its bytes, as somebody reads the store (a backup, `mandate audit verify`); ask again when they are done',
    );
  }
}
