import { type FileHandle, open, rename, rm } from 'node:fs/promises';
import { GONE, type ReadFile } from '../../../audit/proof/verify-tiles.ts';
import { ServiceError } from '../../../errors.ts';
import { entriesIn } from '../../../merkle/bundle.ts';
import type { SignedCheckpoint } from '../../../merkle/checkpoint.ts';
import { Frontier } from '../../../merkle/frontier.ts';
import { hashesIn, isSame, leafHash } from '../../../merkle/hashes.ts';
import { tilePath } from '../../../merkle/tile-path.ts';
import { TILE_WIDTH } from '../../../merkle/tree.ts';
import { found, needed } from '../files.ts';
import { dropManifest, writeManifest } from './manifest.ts';
import { csv, jsonLines, type RowSink } from './rows.ts';

/** The formats of one file. What writes Parquet is loaded for it alone. */
const formats = {
  jsonl: (out) => Promise.resolve(jsonLines(out)),
  csv: (out) => Promise.resolve(csv(out)),
  parquet: async (out, origin) => (await import('./parquet.ts')).parquet(out, origin),
} as const satisfies Record<string, (out: FileHandle, origin: string) => Promise<RowSink>>;

export type TableFormat = keyof typeof formats;
export const tableFormats = Object.keys(formats) as readonly TableFormat[];

/** A record as it is to be written. */
export type Shown = (stored: Uint8Array) => Promise<Uint8Array>;

/**
 * Writes the entries of a log up to a checkpoint to one file, and beside it what ties it to that, unless `shown` makes
 * something else of them. They are there once the entries were seen to be those that it states. Answers how many stand in
 * tiles of which some were archived or removed. Throws `unavailable`.
 */
export async function tableInto(
  file: string,
  format: TableFormat,
  read: ReadFile,
  checkpoint: SignedCheckpoint,
  shown: Shown | undefined,
  progress: (done: number, total: number) => void,
): Promise<number> {
  const { origin, size, source } = checkpoint;
  const part = `${file}.part`;
  await rm(part, { force: true });
  const out = await open(part, 'wx', 0o600);
  let gone: number;
  try {
    gone = await entriesInto(await formats[format](out, origin), read, checkpoint, shown, progress);
    await out.close();
  } catch (error) {
    await out.close();
    await rm(part, { force: true });
    throw error;
  }
  await dropManifest(file);
  await rename(part, file);
  if (!shown) await writeManifest(file, { format, origin, checkpoint: source, size });
  return gone;
}

async function entriesInto(
  sink: RowSink,
  read: ReadFile,
  { size, root }: SignedCheckpoint,
  shown: Shown | undefined,
  progress: (done: number, total: number) => void,
): Promise<number> {
  const tree = new Frontier();
  let gone = 0;
  for (let first = 0; first < size; first += TILE_WIDTH) {
    const width = Math.min(TILE_WIDTH, size - first);
    const at = first / TILE_WIDTH;
    const name = tilePath({ level: 'entries', at, width });
    const bundle = await found(read, name);
    if (bundle === GONE) {
      const hashes = [...hashesIn(await needed(read, tilePath({ level: 0, at, width })))];
      for (const hash of hashes) tree.append(hash);
      await sink.gone?.(first, hashes);
      gone += width;
    } else {
      const entries = entriesOf(bundle, name, width);
      for (const entry of entries) tree.append(leafHash(entry));
      const bodies = shown ? await Promise.all(entries.map(shown)) : entries;
      await sink.write(bodies.map((body, place) => ({ index: first + place, body })));
    }
    progress(first + width, size);
  }
  await sink.end();
  if (!isSame(tree.root(), root))
    throw new ServiceError(
      'unavailable',
      `the ${size} entries that were served are not those that the log's checkpoint states; \`mandate audit verify\` says which`,
    );
  return gone;
}

/** Throws `unavailable`: fewer or other entries than were asked for are no export. */
function entriesOf(bytes: Uint8Array, name: string, width: number): readonly Uint8Array[] {
  const { entries, rest } = entriesIn(bytes);
  if (entries.length === width && rest === 0) return entries;
  throw new ServiceError('unavailable', `${name} does not hold the ${width} entries that it should`);
}
