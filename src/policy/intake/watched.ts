import { type Dirent, lstatSync, opendirSync, readlinkSync } from 'node:fs';
import path from 'node:path';
import { isLeftAlone } from '../../tenancy/folder/names.ts';

/** Folders to be watched, by their real paths: for which names in them, or for whatever is of interest in a tenant's. */
export type Watched = ReadonlyMap<string, Names>;

interface Names {
  /** It is the tenant's own, or linked to as a whole. */
  isOwn: boolean;
  readonly names: Set<string>;
}

const MAX_FOLDERS = 2_000;
/** Of one folder: one that has more is not taken. */
const MAX_ENTRIES = 20_000;
const MAX_HOPS = 40;

/**
 * Everything whose change may change what a tenant's folder holds: it and the folders below it, what its links lead to,
 * and each link on the way, also those in its own path, as a swapped link changes nothing where it led to.
 */
export function watchedFrom(folder: string): Watched {
  const watched = new Map<string, Names>();
  const namesIn = (place: string): Names => {
    const known = watched.get(place) ?? { isOwn: false, names: new Set<string>() };
    watched.set(place, known);
    return known;
  };
  const met = (place: string, name: string): void => void namesIn(place).names.add(name);
  const given = path.resolve(folder);
  const own = follow(given, met);
  // Where the folder itself is put: by another's name in its place it is another one.
  for (const place of new Set([given, own ?? given])) met(path.dirname(place), path.basename(place));
  const left = own === undefined ? [] : [own];
  for (let place = left.pop(); place !== undefined; place = left.pop()) {
    const names = namesIn(place);
    if (names.isOwn || watched.size > MAX_FOLDERS) continue;
    names.isOwn = true;
    for (const entry of entriesOf(place)) {
      const file = path.join(place, entry.name);
      if (isLeftAlone(entry.name)) continue;
      if (entry.isDirectory()) left.push(file);
      if (!entry.isSymbolicLink()) continue;
      const real = follow(file, met);
      if (real !== undefined && isFolder(real)) left.push(real);
      else if (real !== undefined) met(path.dirname(real), path.basename(real));
    }
  }
  return watched;
}

export const isFolder = (file: string): boolean =>
  lstatSync(file, { throwIfNoEntry: false })?.isDirectory() === true;

/** The real path of a name, and each link on the way to it; undefined if it leads nowhere. */
function follow(file: string, met: (place: string, name: string) => void): string | undefined {
  let left = file.split(path.sep).filter((each) => each !== '');
  let at = path.parse(file).root;
  let hops = 0;
  while (left.length > 0) {
    const [name = '', ...rest] = left;
    const next = path.join(at, name);
    const link = linkAt(next);
    if (link === null) return undefined;
    if (link === undefined) {
      [at, left] = [next, rest];
      continue;
    }
    met(at, name);
    hops += 1;
    if (hops > MAX_HOPS) return undefined;
    if (path.isAbsolute(link)) at = path.parse(link).root;
    left = [...link.split(path.sep).filter((each) => each !== '' && each !== '.'), ...rest];
  }
  return at;
}

/** What a link says; undefined for what is none, null for what is not there. */
function linkAt(file: string): string | undefined | null {
  try {
    return readlinkSync(file);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EINVAL' ? undefined : null;
  }
}

function entriesOf(place: string): Dirent[] {
  const entries: Dirent[] = [];
  try {
    using folder = opendirSync(place);
    for (let entry = folder.readSync(); entry !== null; entry = folder.readSync())
      if (entries.push(entry) > MAX_ENTRIES) break;
  } catch {
    // It is gone, or not to be looked into.
  }
  return entries;
}
