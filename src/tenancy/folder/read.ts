import { createHash } from 'node:crypto';
import { setTimeout } from 'node:timers/promises';
import { ServiceError } from '../../errors.ts';
import { MANIFEST } from '../manifest-invalid.ts';
import { type Fault, type Listing, list, Outside, type TenantPlace } from './list.ts';
import { identityAt, Refused, readRegular } from './open.ts';

/** A tenant's folder as it was at one moment: everything that is made of it is made from this. */
export interface TenantFiles {
  readonly place: TenantPlace;
  /** The bytes of tenant.yaml; undefined if it is among the faults. */
  readonly manifest: Buffer | undefined;
  /** Rego and data documents by name, in the order of the names. */
  readonly files: ReadonlyMap<string, Buffer>;
  /** What was not taken. While there is any, the folder makes no revision. */
  readonly faults: readonly Fault[];
}

const MAX_MANIFEST_BYTES = 4 * 1024 * 1024;
export const MAX_REGO_BYTES = 1024 * 1024;
export const MAX_REGO_FILES = 1_000;
export const MAX_DATA_BYTES = 64 * 1024 * 1024;
/** How often a folder that changes under the eyes is read again before somebody else's turn comes. */
const ATTEMPTS = 5;

/** The system's errors that say something of the file; all others say something of the machine. */
const OF_THE_FILE: ReadonlySet<string> = new Set(['EACCES', 'EPERM', 'EISDIR', 'ENOTDIR', 'ELOOP', 'ENXIO']);

/**
 * Reads a tenant's folder. What comes out stood in it at one moment: after the last file was read all of them are
 * looked at again, and where a link was swapped or a file written meanwhile, everything is read anew. Who saves in place
 * empties a file first and writes it then: `quietMs` is for how long all must have stood still.
 * @throws ServiceError `config_invalid` for a folder outside of its root, `unavailable` where it does not hold still or
 * the disk fails
 */
export async function readTenantFiles(place: TenantPlace, quietMs = 0): Promise<TenantFiles> {
  let last: Unsettled = 'changes';
  for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
    const read = await attempted(place, quietMs);
    if (typeof read === 'object') return read;
    last = read;
  }
  if (last === 'changes') throw new ServiceError('unavailable', `${place.folder} changes while it is read`);
  const faults = [{ file: MANIFEST, problem: 'it cannot be read (ENOENT)' }];
  return { place, manifest: undefined, files: new Map(), faults };
}

/** Why an attempt was none: something changed, or was not there. */
type Unsettled = 'changes' | 'is gone';

async function attempted(place: TenantPlace, quietMs: number): Promise<TenantFiles | Unsettled> {
  try {
    const listing = await list(place);
    const read = await readListed(place, listing);
    if (quietMs > 0) await setTimeout(quietMs);
    const now = read && (await list(place));
    if (!now || digestOf(now) !== digestOf(listing)) return 'changes';
    for (const [real, identity] of read.identities)
      if ((await identityAt(real)) !== identity) return 'changes';
    return read.files;
  } catch (cause) {
    if (cause instanceof ServiceError) throw cause;
    if (cause instanceof Outside) throw new ServiceError('config_invalid', cause.message, { cause });
    const { code } = cause as NodeJS.ErrnoException;
    if (code === 'ENOENT') return 'is gone';
    throw new ServiceError('unavailable', `${place.folder} cannot be read (${code})`, { cause });
  }
}

async function readListed(
  place: TenantPlace,
  listing: Listing,
): Promise<{ files: TenantFiles; identities: Map<string, string> } | undefined> {
  const faults = [...listing.faults];
  const identities = new Map<string, string>();
  const files = new Map<string, Buffer>();
  const left = { rego: MAX_REGO_BYTES, data: MAX_DATA_BYTES };
  let rego = 0;
  for (const [name, real] of listing.files) {
    const kind = name.endsWith('.rego') ? 'rego' : 'data';
    rego += kind === 'rego' ? 1 : 0;
    if (rego > MAX_REGO_FILES) {
      faults.push({ file: name, problem: `more than ${MAX_REGO_FILES} Rego files` });
      break;
    }
    try {
      const { bytes, identity } = await readRegular(
        real,
        name === MANIFEST ? MAX_MANIFEST_BYTES : left[kind],
      );
      identities.set(real, identity);
      files.set(name, bytes);
      if (name !== MANIFEST) left[kind] -= bytes.length;
    } catch (error) {
      if (error instanceof Refused && error.changed) return undefined;
      const { code, message } = error as NodeJS.ErrnoException;
      const isOfFile = error instanceof Refused || (code !== undefined && OF_THE_FILE.has(code));
      if (!isOfFile) throw error;
      const problem = error instanceof Refused ? message : `it cannot be read (${code})`;
      faults.push({ file: name, problem: allOf(problem, name, kind, left[kind]) });
    }
  }
  const manifest = files.get(MANIFEST);
  files.delete(MANIFEST);
  return { files: { place, manifest, files, faults }, identities };
}

/** The bound is on all files of a kind together, so what is left of it means nothing to an author. */
function allOf(problem: string, name: string, kind: 'rego' | 'data', left: number): string {
  if (name === MANIFEST || !problem.endsWith(` ${left} bytes`)) return problem;
  return kind === 'rego'
    ? `more than ${MAX_REGO_BYTES} bytes of Rego in all`
    : `more than ${MAX_DATA_BYTES} bytes of data in all`;
}

const digestOf = ({ files, faults }: Listing): string =>
  createHash('sha256')
    .update(JSON.stringify([[...files], faults]))
    .digest('hex');
