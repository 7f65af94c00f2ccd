import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { copyFile, mkdir, open, rename, rm } from 'node:fs/promises';
import path from 'node:path';
import { pipeline } from 'node:stream/promises';

/**
 * Copies a file that has this SHA-256, as hex. It has its name once it is whole and on the disk. Rejects where what was
 * written is not what it should be.
 */
export async function copyProven(file: string, to: string, sha256: string): Promise<void> {
  const part = `${to}.part`;
  await mkdir(path.dirname(to), { recursive: true, mode: 0o700 });
  try {
    await copyFile(file, part);
    await synced(part);
    const hash = createHash('sha256');
    await pipeline(createReadStream(part), hash);
    if (hash.digest('hex') !== sha256)
      throw new Error(`${file} is not what was made, or ${part} not a copy of it`);
    await rename(part, to);
    await synced(path.dirname(to));
  } catch (error) {
    await rm(part, { force: true });
    throw error;
  }
}

async function synced(name: string): Promise<void> {
  const handle = await open(name, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
