import { type Dirent, lstatSync, readdirSync, realpathSync, statSync } from 'node:fs';
import path from 'node:path';
import { ServiceError } from '../../errors.ts';
import { MANIFEST } from '../manifest-invalid.ts';
import { isWithin, type TenantPlace } from './list.ts';
import { isLeftAlone } from './names.ts';

/**
 * The tenant folders under `place`: itself if it holds a tenant.yaml, else each child that does. A child may be a link
 * to a folder within `place`; one that leads out of it, or nowhere, is refused by its name. Throws `config_invalid`.
 */
export function tenantPlaces(place: string): TenantPlace[] {
  if (holdsManifest(place)) return [{ folder: place, root: place }];
  const entries = entriesOf(place).filter((entry) => !isLeftAlone(entry.name));
  const root = realpathSync(place);
  const byReal = new Map<string, string>();
  // What stands there itself goes before what links to it.
  for (const isLink of [false, true])
    for (const entry of entries.filter((each) => each.isSymbolicLink() === isLink)) {
      const folder = path.join(place, entry.name);
      const real = isLink
        ? linkedFolder(folder, root)
        : entry.isDirectory()
          ? realpathSync(folder)
          : undefined;
      if (real !== undefined && holdsManifest(real) && !byReal.has(real)) byReal.set(real, folder);
    }
  if (byReal.size === 0)
    throw new ServiceError('config_invalid', `${place} holds no ${MANIFEST}, nor does any folder in it`);
  return [...byReal.values()].sort().map((folder) => ({ folder, root: place }));
}

/** Also one that is a link or a pipe: whether it can be read is said when it is. */
function holdsManifest(folder: string): boolean {
  try {
    return lstatSync(path.join(folder, MANIFEST), { throwIfNoEntry: false }) !== undefined;
  } catch {
    // It is not a folder, or not to be looked into; `entriesOf` says so.
    return false;
  }
}

function linkedFolder(link: string, root: string): string | undefined {
  let real: string;
  try {
    real = realpathSync(link);
  } catch (cause) {
    throw new ServiceError('config_invalid', `${link} links to what is not there`, { cause });
  }
  if (!statSync(real).isDirectory() || !holdsManifest(real)) return undefined;
  if (!isWithin(real, root)) throw new ServiceError('config_invalid', `${link} links out of ${root}`);
  return real;
}

function entriesOf(place: string): Dirent[] {
  try {
    return readdirSync(place, { withFileTypes: true });
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (code === 'ENOENT') throw new ServiceError('config_invalid', `no such folder: ${place}`, { cause });
    if (code === 'ENOTDIR') throw new ServiceError('config_invalid', `${place} is not a folder`, { cause });
    throw new ServiceError('config_invalid', `${place} cannot be read (${code})`, { cause });
  }
}
