import { existsSync } from 'node:fs';
import type { Random } from '../../effects.ts';
import { ServiceError } from '../../errors.ts';
import type { KeyStore, SealedKey } from '../../storage/keys.ts';
import { type MasterKey, makeMasterKey, readMasterKey } from './master-key.ts';

/**
 * Reads the master key, or makes it for a store that has sealed nothing yet. Throws `config_invalid` for a file that is
 * no master key, and where it is missing or another than the one the store's keys were sealed with: to go on with a new
 * one would look well until the first token.
 */
export function openMasterKey(file: string, store: KeyStore, random: Random): MasterKey {
  const keys = newest(store, file);
  const hasSealed = keys.length > 0;
  if (!existsSync(file)) {
    if (hasSealed) throw new ServiceError('config_invalid', `there is no master key ${file}, ${WANTED}`);
    makeMasterKey(file, random);
  }
  const master = readFor(hasSealed, file);
  if (!hasSealed || keys.some(({ sealed, binding }) => master.opens(sealed, binding))) return master;
  throw new ServiceError('config_invalid', `${file} is not the master key of this store, ${WANTED}`);
}

/**
 * The keys to try. A store that cannot tell is not ready, which the server is to live to say; but what it may hold is no
 * reason to make a new master key.
 */
function newest(store: KeyStore, file: string): readonly SealedKey[] {
  try {
    return store.newest();
  } catch (cause) {
    if (!existsSync(file)) throw cause;
    return [];
  }
}

/** What is to be done about a file that is none depends on whether anything was sealed. */
function readFor(hasSealed: boolean, file: string): MasterKey {
  try {
    return readMasterKey(file);
  } catch (cause) {
    if (!(cause instanceof ServiceError)) throw cause;
    const what = hasSealed ? WANTED : 'and nothing was sealed yet: without the file the next start makes one';
    throw new ServiceError('config_invalid', `${cause.message}, ${what}`, { cause });
  }
}

const WANTED =
  "and the store's signing keys open with no other; name the one it had by master_key_file, or put it back";
