import { createHash } from 'node:crypto';
import { closeSync, openSync, readSync } from 'node:fs';
import type { Connection } from '../database.ts';
import type { StoreFault } from '../faults.ts';
import { damagedVolume } from '../log/damage.ts';
import { volumeStore } from './store.ts';
import { type VolumeRow, volumeFile } from './volumes.ts';

const CHUNK_BYTES = 256 * 1024;

/** Hashes the volumes that are to be here, a little at each step; yields what is wrong with one when it is at its end. */
export function* checkVolumes(
  folder: string,
  volumes: readonly VolumeRow[],
): Generator<StoreFault | undefined, void> {
  const chunk = Buffer.alloc(CHUNK_BYTES);
  for (const volume of volumes) {
    if (volume.state !== 'here') continue;
    let file: number | undefined;
    try {
      file = openSync(volumeFile(folder, volume), 'r');
      const hash = createHash('sha256');
      for (let read = chunk.length; read > 0; ) {
        read = readSync(file, chunk);
        hash.update(chunk.subarray(0, read));
        yield undefined;
      }
      if (hash.digest('hex') !== volume.sha256)
        yield damagedVolume(volume, 'it is not the one that was made');
    } catch (error) {
      yield damagedVolume(volume, (error as Error).message);
    } finally {
      if (file !== undefined) closeSync(file);
    }
  }
}

/** Those of a store, as they are now. */
export const volumesOf = (db: Connection): VolumeRow[] => volumeStore(db).all();
