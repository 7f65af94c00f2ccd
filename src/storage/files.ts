import fs from 'node:fs';
import path from 'node:path';

/** The calls that files are made durable with; a test counts on their order. */
export type Disk = Pick<
  typeof fs,
  | 'openSync'
  | 'writeSync'
  | 'fsyncSync'
  | 'closeSync'
  | 'renameSync'
  | 'linkSync'
  | 'unlinkSync'
  | 'mkdirSync'
>;

/** Mode of what only its owner is to read. */
const OWNER_ONLY = 0o600;

/**
 * Writes a whole file, so that a power cut at any moment leaves what was there before, or all of it: the bytes reach
 * the disk under another name before the name is given to them, and the name does before this returns.
 */
export function writeDurably(file: string, bytes: Uint8Array, disk: Disk = fs): void {
  disk.renameSync(written(file, bytes, disk), file);
  syncFolder(path.dirname(file), disk);
}

/** The same for a file that must not be there yet. Throws `EEXIST`, and leaves what is there. */
export function makeDurably(file: string, bytes: Uint8Array, disk: Disk = fs): void {
  const made = written(file, bytes, disk);
  try {
    // Unlike a rename it fails where somebody else was faster.
    disk.linkSync(made, file);
  } finally {
    disk.unlinkSync(made);
  }
  syncFolder(path.dirname(file), disk);
}

/** Makes a folder with mode 0700, and those above it that are missing; their names are durable when it returns. */
export function makeFolder(folder: string, disk: Disk = fs): void {
  const first = disk.mkdirSync(folder, { recursive: true, mode: 0o700 });
  if (first === undefined) return;
  const above = path.dirname(path.resolve(first));
  for (let each = path.resolve(folder); each !== above; each = path.dirname(each))
    syncFolder(path.dirname(each), disk);
}

/** Answers the name under which the bytes are on the disk. */
function written(file: string, bytes: Uint8Array, disk: Disk): string {
  const name = `${file}.${process.pid}.new`;
  // One that a cut left is begun anew.
  const at = disk.openSync(name, 'w', OWNER_ONLY);
  try {
    for (let done = 0; done < bytes.length; ) done += disk.writeSync(at, bytes, done);
    disk.fsyncSync(at);
  } finally {
    disk.closeSync(at);
  }
  return name;
}

/** Names that were given or taken in a folder are durable when it returns. */
export function syncFolder(
  folder: string,
  disk: Pick<Disk, 'openSync' | 'fsyncSync' | 'closeSync'> = fs,
): void {
  const at = disk.openSync(folder, 'r');
  try {
    disk.fsyncSync(at);
  } finally {
    disk.closeSync(at);
  }
}
