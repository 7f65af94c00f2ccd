import type { Dirent } from 'node:fs';
import { lstat, readdir, realpath, stat } from 'node:fs/promises';
import path from 'node:path';
import type { Clock } from '../../effects.ts';
import type { TenantPlace } from '../../tenancy/folder/list.ts';
import { isLeftAlone } from '../../tenancy/folder/names.ts';
import { MANIFEST } from '../../tenancy/manifest-invalid.ts';

/** How often the folders that hold tenants are looked at, in milliseconds. */
const LOOK_MS = 1_000;

/** What was written just before a look may have the same time as the look. */
const COARSE_MS = 2_000;

/** How many that came are being taken at once. Looks do not wait for them: what goes meanwhile is gone. */
const MOST_COMING = 64;

/** Folders without a manifest that are looked into again, for each root: one that is made has none at first. */
const MOST_EMPTY = 256;

export interface ArrivalsParts {
  /** What files are dated by. */
  readonly clock: Clock;
  /** The folders that hold tenants' folders. */
  readonly roots: readonly string[];
  /** Whether the folder is known, as a tenant's or as what could not be taken: by its name, or by its real path. */
  readonly isKnown: (folder: string) => boolean;
  /** Those that are known below a root. */
  readonly known: (root: string) => readonly string[];
  readonly arrived: (place: TenantPlace) => Promise<void>;
  readonly gone: (folder: string) => Promise<void>;
  readonly failed: (error: unknown) => void;
}

interface Root {
  readonly folder: string;
  /** When it was changed last, as it was before the last look; NaN where it has to be looked at again. */
  changedAt: number;
  /** Names that had no manifest yet. */
  empty: readonly string[];
  /** Known folders that were not there at the last look. */
  missing: ReadonlySet<string>;
}

/**
 * Notices tenants' folders that appear or go. A folder is gone when two looks in succession do not find its name, so that
 * one that is put in another's place is none; from a root that cannot be read, or that is empty, nothing is gone: what
 * is not mounted says nothing of its tenants.
 */
export class Arrivals implements Disposable {
  readonly #parts: ArrivalsParts;
  readonly #roots: readonly Root[];
  readonly #coming = new Set<string>();
  /** Told of once; they are tried again with each look. */
  readonly #refused = new Set<string>();
  #timer: NodeJS.Timeout | undefined;
  #isOver = false;

  constructor(parts: ArrivalsParts) {
    this.#parts = parts;
    this.#roots = parts.roots.map((folder) => ({
      folder,
      changedAt: Number.NaN,
      empty: [],
      missing: new Set(),
    }));
  }

  begin(): void {
    if (this.#roots.length > 0 && !this.#isOver) this.#plan();
  }

  #plan(): void {
    if (!this.#isOver) this.#timer = setTimeout(() => void this.#look(), LOOK_MS).unref();
  }

  async #look(): Promise<void> {
    for (const root of this.#roots) {
      if (this.#isOver) return;
      await this.#lookAt(root).catch(this.#parts.failed);
    }
    this.#plan();
  }

  async #lookAt(root: Root): Promise<void> {
    // What cannot be looked at is as it was.
    const status = await stat(root.folder).catch(() => undefined);
    if (!status) return;
    const isSettled = this.#parts.clock() - status.mtimeMs > COARSE_MS;
    if (status.mtimeMs === root.changedAt && root.empty.length === 0 && root.missing.size === 0) return;
    const entries = await readdir(root.folder, { withFileTypes: true }).catch(() => undefined);
    if (!entries) return;
    root.changedAt = isSettled ? status.mtimeMs : Number.NaN;
    await this.#leave(root, entries);
    await this.#enter(root, entries);
  }

  async #leave(root: Root, entries: readonly Dirent[]): Promise<void> {
    const names = new Set(entries.map(({ name }) => name));
    const missing = this.#parts.known(root.folder).filter((folder) => !names.has(path.basename(folder)));
    const gone = missing.filter((folder) => root.missing.has(folder));
    root.missing = new Set(entries.length === 0 ? [] : missing.filter((folder) => !gone.includes(folder)));
    if (entries.length === 0) return;
    // What one of them fails at is told, and is no reason to serve another any longer.
    for (const folder of gone) await this.#parts.gone(folder).catch(this.#parts.failed);
  }

  async #enter(root: Root, entries: readonly Dirent[]): Promise<void> {
    const empty: string[] = [];
    this.#forgetRefused(root, entries);
    for (const entry of entries) {
      const folder = path.join(root.folder, entry.name);
      if (isLeftAlone(entry.name) || this.#parts.isKnown(folder)) continue;
      if (this.#coming.has(folder)) {
        // It went and came again while it was taken.
        root.changedAt = Number.NaN;
        continue;
      }
      if (!(entry.isDirectory() || entry.isSymbolicLink())) continue;
      if (entry.isSymbolicLink() && (await this.#isKnownByAnother(folder))) continue;
      if (await holdsManifest(folder)) this.#take(root, folder);
      else if (entry.isDirectory() && empty.length < MOST_EMPTY) empty.push(entry.name);
    }
    root.empty = empty;
  }

  #forgetRefused({ folder: root }: Root, entries: readonly Dirent[]): void {
    const folders = new Set(entries.map(({ name }) => path.join(root, name)));
    for (const folder of this.#refused)
      if (path.dirname(folder) === path.normalize(root) && !folders.has(folder)) this.#refused.delete(folder);
  }

  #take(root: Root, folder: string): void {
    if (this.#coming.size >= MOST_COMING) {
      root.changedAt = Number.NaN;
      return;
    }
    this.#coming.add(folder);
    void this.#parts
      .arrived({ folder, root: root.folder })
      .then(
        () => this.#refused.delete(folder),
        (error: unknown) => {
          root.changedAt = Number.NaN;
          if (!this.#refused.has(folder)) this.#parts.failed(error);
          this.#refused.add(folder);
        },
      )
      .finally(() => this.#coming.delete(folder));
  }

  async #isKnownByAnother(link: string): Promise<boolean> {
    const real = await realpath(link).catch(() => undefined);
    return real !== undefined && this.#parts.isKnown(real);
  }

  [Symbol.dispose](): void {
    this.#isOver = true;
    clearTimeout(this.#timer);
  }
}

const holdsManifest = (folder: string): Promise<boolean> =>
  lstat(path.join(folder, MANIFEST)).then(
    () => true,
    () => false,
  );
