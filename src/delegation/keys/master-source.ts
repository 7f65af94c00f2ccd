import { existsSync, renameSync } from 'node:fs';
import path from 'node:path';
import type { Random } from '../../effects.ts';
import { ServiceError } from '../../errors.ts';
import { syncFolder } from '../../storage/files.ts';
import { MasterKey, makeMasterKey, readMasterKey } from './master-key.ts';

/** Where the master key is from. */
export interface MasterSource {
  /** The one that seals, and behind it one that still opens what it once sealed. */
  readonly keys: readonly [MasterKey, ...MasterKey[]];
  /** Brings in another one, which seals from then on. Throws `invalid_request` where that is not for the server to do. */
  advance(): void;
  /** Called once nothing in the store is sealed by another one than the first. */
  settle(): void;
}

/** A file. The next one stands beside it until nothing needs the one before: a crash leaves both. */
export class MasterFile implements MasterSource {
  readonly #file: string;
  readonly #random: Random;
  #keys: readonly [MasterKey, ...MasterKey[]];

  /** Throws `config_invalid` for a file that is no master key. */
  constructor(file: string, random: Random) {
    this.#file = file;
    this.#random = random;
    const current = readMasterKey(file);
    this.#keys = existsSync(this.#next) ? [readMasterKey(this.#next), current] : [current];
  }

  get keys(): readonly [MasterKey, ...MasterKey[]] {
    return this.#keys;
  }

  advance(): void {
    if (this.#keys.length > 1) return;
    makeMasterKey(this.#next, this.#random);
    this.#keys = [readMasterKey(this.#next), ...this.#keys];
  }

  settle(): void {
    renameSync(this.#next, this.#file);
    syncFolder(path.dirname(this.#file));
    this.#keys = [this.#keys[0]];
  }

  get #next(): string {
    return `${this.#file}.next`;
  }
}

/** The environment, which only whoever starts the server can change. */
export class MasterGiven implements MasterSource {
  #keys: readonly [MasterKey, ...MasterKey[]];

  constructor(current: Uint8Array, previous: Uint8Array | undefined) {
    this.#keys = [new MasterKey(current), ...(previous ? [new MasterKey(previous)] : [])];
  }

  get keys(): readonly [MasterKey, ...MasterKey[]] {
    return this.#keys;
  }

  advance(): void {
    throw new ServiceError(
      'invalid_request',
      'the master key is in the environment: start the server with a new MANDATE_MASTER_KEY, and this one as MANDATE_MASTER_KEY_PREVIOUS',
    );
  }

  settle(): void {
    this.#keys = [this.#keys[0]];
  }
}
