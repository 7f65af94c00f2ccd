import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { rm, stat } from 'node:fs/promises';
import path from 'node:path';
import type { Manifest } from '../../../audit/proof/verify-export.ts';
import { put } from './tiles.ts';

/** Where the manifest of an exported file stands. */
export const manifestOf = (file: string): string => `${file}${MANIFEST}`;
export const MANIFEST = '.manifest.json';

/** Describes a file that is complete, as it is on the disk. */
export async function writeManifest(
  file: string,
  about: Pick<Manifest, 'format' | 'origin' | 'checkpoint'> & { readonly size: number },
): Promise<void> {
  const { format, origin, checkpoint, size } = about;
  const { size: bytes } = await stat(file);
  const sha256 = await digestOf(file);
  const files = [{ name: path.basename(file), bytes, sha256, from: 0 as const, to: size }];
  const manifest: Manifest = { mandate_export: 1, format, origin, checkpoint, files };
  put(manifestOf(file), Buffer.from(`${JSON.stringify(manifest, undefined, 2)}\n`));
}

/** Before a file takes the place of another, which it describes. */
export const dropManifest = (file: string): Promise<void> => rm(manifestOf(file), { force: true });

async function digestOf(file: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(file)) hash.update(chunk as Buffer);
  return hash.digest('hex');
}
