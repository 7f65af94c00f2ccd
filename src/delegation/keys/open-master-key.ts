import { existsSync } from 'node:fs';
import type { Random } from '../../effects.ts';
import { ServiceError } from '../../errors.ts';
import type { KeyStore, SealedKey } from '../../storage/keys.ts';
import { isEnvelope, parseEnvelope } from './kms/envelope.ts';
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
  const wrapped = keys.find(({ sealed }) => isEnvelope(sealed));
  if (wrapped) throw new ServiceError('config_invalid', `${wrappedBy(wrapped.sealed)}; name it by kms`);
  const hasSealed = keys.length > 0;
  const source = given ? new MasterGiven(given.current, given.previous) : fileOf(file, hasSealed, random);
  const opens = (master: MasterKey): boolean =>
    keys.some(({ sealed, binding }) => master.opens(sealed, binding));
  if (!hasSealed || source.keys.some(opens)) return source;
  const name = given ? 'MANDATE_MASTER_KEY' : file;
  throw new ServiceError('config_invalid', `${name} is not the master key of this store, ${WANTED}`);
}

/**
 * The master key of before there was a KMS, for what is sealed by it still; none where nothing is. Throws `config_invalid`
 * where something is, and the key is missing or another one.
 */
export function openFormerMaster(
  { file, given }: MasterPlace,
  store: KeyStore,
  random: Random,
): readonly MasterKey[] {
  const keys = newest(store, undefined);
  const before = keys.filter(({ sealed }) => !isEnvelope(sealed));
  // What the wrapped keys of tenants seal is not opened by a master key.
  const ofTenants = before.filter(({ binding }) => binding.startsWith('mandate-tenant-key '));
  const tried = ofTenants.length > 0 ? ofTenants : before.length < keys.length ? [] : before;
  if (!given && !existsSync(file)) {
    if (tried.length === 0) return [];
    throw new ServiceError(
      'config_invalid',
      `there is no master key ${file}, and keys of this store are sealed by it still`,
    );
  }
  const masters = given
    ? new MasterGiven(given.current, given.previous).keys
    : new MasterFile(file, random).keys;
  if (
    tried.length === 0 ||
    masters.some((master) => tried.some((each) => master.opens(each.sealed, each.binding)))
  )
    return masters;
  const name = given ? 'MANDATE_MASTER_KEY' : file;
  throw new ServiceError(
    'config_invalid',
    `${name} is not the master key that keys of this store are sealed by still`,
  );
}

function wrappedBy(sealed: Uint8Array): string {
  try {
    return `the keys of this store are wrapped by the KMS key ${parseEnvelope(sealed).kms}`;
  } catch {
    return 'the keys of this store are wrapped by a KMS';
  }
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
