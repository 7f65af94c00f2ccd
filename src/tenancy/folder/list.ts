import type { Dirent } from 'node:fs';
import { lstat, opendir, realpath } from 'node:fs/promises';
import path from 'node:path';
import { MANIFEST } from '../manifest-invalid.ts';
import { isLeftAlone, isRead, isTable, problemOf, shown } from './names.ts';

/** A tenant's folder, and the folder that what it links to must stay within. Both as they were configured. */
export interface TenantPlace {
  readonly folder: string;
  readonly root: string;
}

/** Something in the folder that is not taken. `file` is relative to the tenant's folder. */
export interface Fault {
  readonly file: string;
  readonly problem: string;
}

export interface Listing {
  /** The real path of each file by its name, relative to the tenant's folder; in the order of the names. */
  readonly files: ReadonlyMap<string, string>;
  readonly faults: readonly Fault[];
}

const MAX_ENTRIES = 20_000;
const MAX_DEPTH = 32;
const MAX_FAULTS = 20;

/**
 * The files of a tenant's folder, each once. Folders come first as they are; then links are followed that stay within
 * the root and lead into no other tenant's folder. All else that would be read is a fault, by its name: nothing is left
 * out in silence.
 */
export async function list({ folder, root }: TenantPlace): Promise<Listing> {
  const [own, within] = await Promise.all([realpath(folder), realpath(root)]);
  if (!isWithin(own, within)) throw new Outside(folder, root);
  const walk = new Walk(own, within);
  await walk.run();
  return { files: new Map([...walk.files].sort(([a], [b]) => (a < b ? -1 : 1))), faults: walk.faults };
}

/** The folder itself is linked to from the root and is not in it. */
export class Outside extends Error {
  constructor(folder: string, root: string) {
    super(`${folder} links out of ${root}`);
  }
}

export const isWithin = (real: string, folder: string): boolean =>
  real === folder || real.startsWith(folder === path.sep ? folder : folder + path.sep);

class Walk {
  readonly files = new Map<string, string>();
  readonly faults: Fault[] = [];
  readonly #own: string;
  readonly #root: string;
  /** What was looked at, by its real path, and the name of files. */
  readonly #folders = new Set<string>();
  readonly #names = new Map<string, string>();
  /** Whether a folder is another tenant's. */
  readonly #foreign = new Map<string, boolean>();
  #links: { name: string; at: string; depth: number }[] = [];
  #entries = 0;

  constructor(own: string, root: string) {
    this.#own = own;
    this.#root = root;
  }

  async run(): Promise<void> {
    await this.#walk(this.#own, '', 0);
    while (this.#links.length > 0) {
      const links = this.#links.sort((a, b) => (a.name < b.name ? -1 : 1));
      this.#links = [];
      for (const link of links) await this.#follow(link);
    }
  }

  /** `real` has no link in it; `name` is what its author knows it by. */
  async #walk(real: string, name: string, depth: number): Promise<void> {
    if (this.#folders.has(real)) return;
    this.#folders.add(real);
    if (depth > MAX_DEPTH) return this.#fault(name, `it is more than ${MAX_DEPTH} folders deep`);
    const entries = await entriesOf(real).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'EACCES' && error.code !== 'EPERM') throw error;
      this.#fault(name || MANIFEST, `it cannot be read (${error.code})`);
      return [];
    });
    if (real !== this.#own && !isWithin(real, this.#own) && entries.some((each) => each.name === MANIFEST))
      return this.#fault(name, "it is another tenant's folder");
    for (const entry of entries.sort((a, b) => (a.name < b.name ? -1 : 1))) {
      if (isLeftAlone(entry.name)) continue;
      this.#entries += 1;
      if (this.#entries > MAX_ENTRIES) return this.#fault(name, `more than ${MAX_ENTRIES} files in all`);
      const below = name === '' ? entry.name : `${name}/${entry.name}`;
      await this.#take(await kindOf(entry, real), path.join(real, entry.name), below, depth);
    }
  }

  async #take(kind: Kind, real: string, name: string, depth: number): Promise<void> {
    const unsound = problemOf(name);
    if (unsound !== undefined) {
      // What would not be read in any case may be called what it likes.
      if (kind === 'folder' || kind === 'link' || isRead(name)) this.#fault(name, unsound);
    } else if (kind === 'link') this.#links.push({ name, at: real, depth });
    else if (kind === 'folder' && name !== MANIFEST) await this.#walk(real, name, depth + 1);
    else if (isRead(name)) this.#found(kind, real, name);
  }

  #found(kind: Kind, real: string, name: string): void {
    if (kind === 'folder') return this.#fault(name, 'it cannot be read (EISDIR)');
    if (kind !== 'file') return this.#fault(name, 'it is not a regular file');
    const known = this.#names.get(real);
    if (known === undefined) {
      this.#names.set(real, name);
      this.files.set(name, real);
    } else if (roleOf(known) !== roleOf(name))
      this.#fault(name, `it is ${known} too, which is read in another way`);
  }

  async #follow({ name, at, depth }: { name: string; at: string; depth: number }): Promise<void> {
    let real: string;
    try {
      real = await realpath(at);
    } catch (error) {
      const { code = '' } = error as NodeJS.ErrnoException;
      // Emacs locks a file by a link of this name that leads nowhere.
      if (code === 'ENOENT' && path.basename(at).startsWith('.#')) return;
      const problem = linkProblems.get(code);
      if (problem === undefined) throw error;
      return this.#fault(name, problem);
    }
    const status = await lstat(real);
    const kind = kindIn(status);
    if (kind !== 'folder' && !isRead(name)) return;
    if (!isWithin(real, this.#root)) return this.#fault(name, "it links out of the tenants' folder");
    if (await this.#isForeign(kind === 'folder' ? real : path.dirname(real)))
      return this.#fault(name, "it links into another tenant's folder");
    await this.#take(kind, real, name, depth);
  }

  /** Whether a folder within the root is, or is below, one with a manifest that is not this tenant's. */
  async #isForeign(folder: string): Promise<boolean> {
    if (isWithin(folder, this.#own)) return false;
    const known = this.#foreign.get(folder);
    if (known !== undefined) return known;
    const isTenant = await lstat(path.join(folder, MANIFEST)).then(
      () => true,
      () => false,
    );
    const foreign = isTenant || (folder !== this.#root && (await this.#isForeign(path.dirname(folder))));
    this.#foreign.set(folder, foreign);
    return foreign;
  }

  #fault(file: string, problem: string): void {
    if (this.faults.length < MAX_FAULTS) this.faults.push({ file: shown(file || '.'), problem });
  }
}

/** No more of a folder than is a fault already. */
async function entriesOf(folder: string): Promise<Dirent[]> {
  const entries: Dirent[] = [];
  for await (const entry of await opendir(folder, { bufferSize: 256 }))
    if (entries.push(entry) > MAX_ENTRIES) break;
  return entries;
}

/** What the system says of a link that is not followed; all else it says of itself. */
const linkProblems: ReadonlyMap<string, string> = new Map([
  ['ENOENT', 'it links to what is not there'],
  ['ENOTDIR', 'it links to what is not there'],
  ['ELOOP', 'it links to itself'],
  ['ENAMETOOLONG', 'it links to what is not there'],
  ['EACCES', 'it links to what cannot be read (EACCES)'],
  ['EPERM', 'it links to what cannot be read (EPERM)'],
]);

/** One file under two names is read once, so it must not be two things. */
const roleOf = (name: string): string =>
  name.endsWith('_test.rego') ? 'test' : name.endsWith('.rego') ? 'rego' : isTable(name) ? 'table' : name;

type Kind = 'file' | 'folder' | 'link' | 'other';

/** Some file systems do not tell in the listing. */
async function kindOf(entry: Dirent, folder: string): Promise<Kind> {
  const kind = kindIn(entry);
  if (kind !== 'other') return kind;
  return lstat(path.join(folder, entry.name)).then(kindIn, () => 'other');
}

const kindIn = (status: Pick<Dirent, 'isFile' | 'isDirectory' | 'isSymbolicLink'>): Kind => {
  if (status.isFile()) return 'file';
  if (status.isDirectory()) return 'folder';
  return status.isSymbolicLink() ? 'link' : 'other';
};
