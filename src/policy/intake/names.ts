import { ServiceError } from '../../errors.ts';
import type { TenantId } from '../../ids.ts';

/**
 * Which folder has the name of a tenant: from before anything of it is stored, as what stands in another folder would be
 * the people and the servers of this one, until its folder goes or it could not be taken.
 */
export class Names {
  readonly #folders = new Map<TenantId, string>();
  readonly #names = new Map<string, TenantId>();

  /** Throws `config_invalid` where another folder has it. */
  take(id: TenantId, folder: string): void {
    const other = this.#folders.get(id) ?? folder;
    if (other !== folder)
      throw new ServiceError(
        'config_invalid',
        `tenant ${id} stands in ${[other, folder].toSorted().join(' and in ')}`,
      );
    this.giveUp(folder);
    this.#folders.set(id, folder);
    this.#names.set(folder, id);
  }

  giveUp(folder: string): void {
    const id = this.#names.get(folder);
    if (id === undefined) return;
    this.#names.delete(folder);
    this.#folders.delete(id);
  }
}
