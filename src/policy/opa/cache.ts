import { createHash } from 'node:crypto';
import { mkdir, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';

/** How many modules of a tenant are kept: what it runs, and a few that its author may go back to. */
const KEPT = 4;
const MAX_BYTES = 128 * 1024 * 1024;
/** The form of an entry. Whatever is not in this folder is of an older form, and is not looked at. */
const FORM = 'modules-2';

/**
 * Compiled modules on disk, each tenant's in a folder of its own, so that a start does not compile again. An entry says
 * what it was made from and the hash of what it holds: one that is damaged, or lies at another's place, is not taken.
 */
export class ModuleCache {
  readonly #folder: string | undefined;
  #cleared: Promise<void> | undefined;

  /** Without a folder nothing is kept. */
  constructor(folder: string | undefined) {
    this.#folder = folder;
  }

  async get(tenant: string, key: string): Promise<Uint8Array | undefined> {
    if (this.#folder === undefined) return undefined;
    const file = this.#fileOf(this.#folder, tenant, key);
    try {
      if ((await stat(file)).size > MAX_BYTES) return undefined;
      const entry = await readFile(file);
      const end = entry.indexOf('\n');
      const module = gunzipSync(entry.subarray(end + 1), { maxOutputLength: MAX_BYTES });
      if (entry.toString('latin1', 0, end) !== headOf(key, module)) return undefined;
      return module;
    } catch {
      return undefined;
    }
  }

  /** What cannot be kept is compiled again some day: a disk that fails keeps no policy from being used. */
  async put(tenant: string, key: string, module: Uint8Array): Promise<void> {
    if (this.#folder === undefined) return;
    const file = this.#fileOf(this.#folder, tenant, key);
    try {
      this.#cleared ??= clear(this.#folder);
      await this.#cleared;
      await mkdir(path.dirname(file), { recursive: true, mode: 0o700 });
      // Written aside and renamed: a crash leaves a stray file, never half an entry.
      const aside = `${file}.${process.pid}.tmp`;
      await writeFile(aside, Buffer.concat([Buffer.from(`${headOf(key, module)}\n`), gzipSync(module)]), {
        mode: 0o600,
      });
      await rename(aside, file);
      await prune(path.dirname(file));
    } catch {
      // As if it had not been compiled.
    }
  }

  /** Drops what is kept of tenants that are served no more. */
  async keepOnly(tenants: ReadonlySet<string>): Promise<void> {
    if (this.#folder === undefined) return;
    const folder = path.join(this.#folder, FORM);
    for (const name of await readdir(folder).catch(() => []))
      if (!tenants.has(name)) await rm(path.join(folder, name), { recursive: true, force: true });
  }

  #fileOf(folder: string, tenant: string, key: string): string {
    return path.join(folder, FORM, tenant, key);
  }
}

const headOf = (key: string, module: Uint8Array): string =>
  `mandate ${FORM} ${key} ${createHash('sha256').update(module).digest('hex')}`;

async function prune(folder: string): Promise<void> {
  const names = await readdir(folder);
  const aged = await Promise.all(
    names.map(async (name) => ({ name, at: (await stat(path.join(folder, name))).mtimeMs })),
  );
  aged.sort((one, other) => other.at - one.at);
  for (const { name } of aged.slice(KEPT)) await rm(path.join(folder, name), { force: true });
}

/** Entries of the form before this one: their keys did not tell all files apart. */
async function clear(folder: string): Promise<void> {
  const names = await readdir(folder).catch(() => []);
  for (const name of names)
    if (/^[0-9a-f]{64}\.tar\.gz/.test(name)) await rm(path.join(folder, name), { force: true });
}
