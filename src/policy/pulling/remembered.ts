import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { z } from 'zod';
import type { TenantId } from '../../ids.ts';

/** What was taken from a source last, so that a restart does not pull it again. */
export interface Remembered {
  /** Name of the source. */
  readonly source: string;
  readonly etag: string;
  /** The digest of what it held, as the store has it of the tenant: another store, or an older one, has another. */
  readonly taken: string;
  /** Digest of what of the manifest goes into a revision. */
  readonly manifest: string;
}

const form = z.strictObject({
  source: z.string(),
  etag: z.string().max(2_000),
  taken: z.string(),
  manifest: z.string(),
});

/**
 * A file for each tenant, which only spares a pull: without it, or where it does not fit the store, what stands at the
 * source is pulled again and found to be the same.
 */
export class Memory {
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
  }

  async read(tenant: TenantId): Promise<Remembered | undefined> {
    try {
      return form.parse(JSON.parse(await readFile(this.#file(tenant), 'utf8')));
    } catch {
      return undefined;
    }
  }

  async write(tenant: TenantId, remembered: Remembered | undefined): Promise<void> {
    const file = this.#file(tenant);
    if (!remembered) return rm(file, { force: true });
    await mkdir(this.#folder, { recursive: true, mode: 0o700 });
    const aside = `${file}.new`;
    await writeFile(aside, JSON.stringify(remembered), { mode: 0o600 });
    await rename(aside, file);
  }

  #file(tenant: TenantId): string {
    return path.join(this.#folder, `${tenant}.json`);
  }
}
