import { lstat, opendir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { gunzip } from 'node:zlib';
import { unpackTar } from 'modern-tar';
import { describe, ServiceError } from '../../errors.ts';
import { isLeftAlone, problemOf } from '../../tenancy/folder/names.ts';

/** A file that is not taken, and why. */
export interface Refusal {
  readonly file: string;
  readonly why: string;
}

export interface Source {
  /** By path from the root, in the order of their names. */
  readonly files: ReadonlyMap<string, Buffer>;
  readonly refused: readonly Refusal[];
  /** What no tenant's folder has: git's own, and what Kubernetes keeps its versions under. */
  readonly left: readonly Refusal[];
  /** The bytes that it was read from, where it is an archive. */
  readonly archive: Buffer | undefined;
}

const ALONE = 'it is left alone in every folder';
const MAX_FILES = 20_000;
const MAX_DEPTH = 32;
/** Of all files, and of an archive unpacked. */
const MAX_BYTES = 128 * 1024 * 1024;

/** A folder, or a bundle as OPA makes it (a tar, gzipped). Throws `invalid_request` for what is neither, or is too large. */
export async function readSource(place: string): Promise<Source> {
  const found = await lstat(place).catch((cause: Error) => {
    throw new ServiceError('invalid_request', `${place}: ${cause.message}`, { cause });
  });
  return found.isDirectory() ? readFolder(place) : readArchive(place, found.size);
}

async function readFolder(root: string): Promise<Source> {
  const files = new Map<string, Buffer>();
  const refused: Refusal[] = [];
  const left: Refusal[] = [];
  let [bytes, entries] = [0, 0];
  const walk = async (folder: string, name: string, depth: number): Promise<void> => {
    if (depth > MAX_DEPTH) throw tooLarge(`${root} is more than ${MAX_DEPTH} folders deep`);
    for await (const entry of await opendir(folder)) {
      entries += 1;
      if (entries > MAX_FILES) throw tooLarge(`${root} holds more than ${MAX_FILES} files`);
      const [real, at] = [path.join(folder, entry.name), name === '' ? entry.name : `${name}/${entry.name}`];
      const problem = problemOf(at);
      if (isLeftAlone(entry.name)) left.push({ file: at, why: ALONE });
      else if (problem !== undefined) refused.push({ file: at, why: problem });
      else if (entry.isDirectory()) await walk(real, at, depth + 1);
      // Nothing that it leads to is read, wherever that is.
      else if (!entry.isFile()) refused.push({ file: at, why: 'it is a link, or no file' });
      else {
        bytes += (await lstat(real)).size;
        if (bytes > MAX_BYTES) throw tooLarge(`${root} holds more than ${MAX_BYTES} bytes`);
        files.set(at, await readFile(real));
      }
    }
  };
  await walk(root, '', 0);
  return { files: sorted(files), refused, left, archive: undefined };
}

async function readArchive(place: string, size: number): Promise<Source> {
  if (size > MAX_BYTES) throw tooLarge(`${place} is larger than ${MAX_BYTES} bytes`);
  const archive = await readFile(place);
  let entries: Awaited<ReturnType<typeof unpackTar>>;
  try {
    entries = await unpackTar(await promisify(gunzip)(archive, { maxOutputLength: MAX_BYTES }));
  } catch (cause) {
    throw new ServiceError('invalid_request', `${place} is no bundle: ${describe(cause).split('\n')[0]}`, {
      cause,
    });
  }
  if (entries.length > MAX_FILES) throw tooLarge(`${place} holds more than ${MAX_FILES} files`);
  const files = new Map<string, Buffer>();
  const refused: Refusal[] = [];
  const left: Refusal[] = [];
  for (const { header, data } of entries) {
    if (header.type === 'directory') continue;
    const name = path.posix.normalize(header.name.replace(/^\/+/, ''));
    const problem =
      problemOf(name) ??
      (header.type !== 'file' ? 'it is a link, or no file' : undefined) ??
      (name === '..' || name.startsWith('../') ? 'its name leads out of the bundle' : undefined) ??
      (files.has(name) ? 'its name stands twice' : undefined);
    const isAlone = name.split('/').some((part) => part !== '..' && isLeftAlone(part));
    if (isAlone) left.push({ file: name, why: ALONE });
    else if (problem === undefined) files.set(name, Buffer.from(data ?? []));
    else refused.push({ file: name, why: problem });
  }
  return { files: sorted(files), refused, left, archive };
}

const sorted = (files: Map<string, Buffer>): Map<string, Buffer> =>
  new Map([...files].sort(([a], [b]) => (a < b ? -1 : 1)));

const tooLarge = (message: string): ServiceError => new ServiceError('invalid_request', message);
