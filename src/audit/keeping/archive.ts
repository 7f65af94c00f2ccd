import path from 'node:path';
import { copyProven } from '../../storage/volume/copying.ts';

/** Where volumes are moved to. */
export interface Archive {
  /** As an operator names it. */
  readonly name: string;
  /**
   * Resolves with where the file is, once it is there whole and durable. `key` is a path of names with `/` between.
   * Rejects, in an operator's words.
   */
  put(file: string, key: string, sha256: string): Promise<string>;
}

/** A folder, mostly of another disk. */
export class FolderArchive implements Archive {
  readonly name: string;

  constructor(folder: string) {
    this.name = path.resolve(folder);
  }

  async put(file: string, key: string, sha256: string): Promise<string> {
    const place = path.join(this.name, ...key.split('/'));
    await copyProven(file, place, sha256);
    return place;
  }
}
