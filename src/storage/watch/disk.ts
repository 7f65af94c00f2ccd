import { statfsSync } from 'node:fs';

const MIB = 1024 * 1024;

/** What is left to revoke, to disable and to administer with, and to bring the write-ahead log into the store. */
const RESERVED_BYTES = 64 * MIB;

/** How much of the disk is left, in bytes. */
export type FreeBytes = (folder: string) => number;

const freeBytes: FreeBytes = (folder) => {
  const { bavail, bsize } = statfsSync(folder);
  return bavail * bsize;
};

/** Says that the disk is full before it is. */
export class Disk {
  readonly #folder: string;
  readonly #free: FreeBytes;
  #problem = '';

  constructor(folder: string, free: FreeBytes = freeBytes) {
    this.#folder = folder;
    this.#free = free;
  }

  get problem(): string {
    return this.#problem;
  }

  /** Called each second. */
  look(): void {
    try {
      const free = this.#free(this.#folder);
      this.#problem = free < RESERVED_BYTES ? `the disk has ${Math.floor(free / MIB)} MiB left` : '';
    } catch {
      // A folder that is gone is said to be by who looks at the files.
    }
  }
}
