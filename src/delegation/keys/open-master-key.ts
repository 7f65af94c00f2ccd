import { existsSync } from 'node:fs';
import type { Random } from '../../effects.ts';
import { ServiceError } from '../../errors.ts';
import type { KeyStore, SealedKey } from '../../storage/keys.ts';
import { type MasterKey, makeMasterKey } from './master-key.ts';
import { MasterFile, MasterGiven, type MasterSource } from './master-source.ts';

/** Where the operator has the master key: in a file, or given in the environment. */
export interface MasterPlace {
  readonly file: string;
  readonly given?: { readonly current: Uint8Array; readonly previous: Uint8Array | undefined } | undefined;
}

/**
 * Reads the master key, or makes its file for a store that has sealed nothing yet. Throws `config_invalid` for a file that
 * is no master key, and where it is missing or another than the one the store's keys were sealed with: to go on with a
 * new one would look well until the first token.
 */
export function openMasterKey({ file, given }: MasterPlace, store: KeyStore, random: Random): MasterSource {
  const keys = newest(store, given ? undefined : file);
  const hasSealed = keys.length > 0;
  const source = given ? new MasterGiven(given.current, given.previous) : fileOf(file, hasSealed, random);
  const opens = (master: MasterKey): boolean =>
    keys.some(({ sealed, binding }) => master.opens(sealed, binding));
  if (!hasSealed || source.keys.some(opens)) return source;
  const name = given ? 'MANDATE_MASTER_KEY' : file;
  throw new ServiceError('config_invalid', `${name} is not the master key of this store, ${WANTED}`);
}

function fileOf(file: string, hasSealed: boolean, random: Random): MasterSource {
  if (!existsSync(file)) {
    if (hasSealed) throw new ServiceError('config_invalid', `there is no master key ${file}, ${WANTED}`);
    makeMasterKey(file, random);
  }
  try {
    return new MasterFile(file, random);
  } catch (cause) {
    if (!(cause instanceof ServiceError)) throw cause;
    // What is to be done about a file that is none depends on whether anything was sealed.
    const what = hasSealed ? WANTED : 'and nothing was sealed yet: without the file the next start makes one';
    throw new ServiceError('config_invalid', `${cause.message}, ${what}`, { cause });
  }
}

/**
 * The keys to try. A store that cannot tell is not ready, which the server is to live to say; but what it may hold is no
 * reason to make a new master key.
 */
function newest(store: KeyStore, file: string | undefined): readonly SealedKey[] {
  try {
    return store.newest();
  } catch (cause) {
    if (file !== undefined && !existsSync(file)) throw cause;
    return [];
  }
}

const WANTED =
  "and the store's signing keys open with no other; name the one it had by master_key_file, or put it back";
