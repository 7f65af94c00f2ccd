import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { GONE, type ReadFile } from '../../../audit/proof/verify-tiles.ts';
import { ServiceError } from '../../../errors.ts';
import { parseCheckpoint } from '../../../merkle/checkpoint.ts';
import { tilePath } from '../../../merkle/tile-path.ts';
import { TILE_WIDTH } from '../../../merkle/tree.ts';
import { found } from '../files.ts';

/** What is full is kept as it is there, so it must be of this log. Throws `invalid_request`. */
export function refuseOther(folder: string, origin: string, size: number): void {
  const refuse = (why: string): ServiceError => new ServiceError('invalid_request', `${folder} holds ${why}`);
  const [checkpoint, name] = [path.join(folder, 'checkpoint'), path.join(folder, 'origin')];
  const there = existsSync(checkpoint) ? parseCheckpoint(readFileSync(checkpoint, 'utf8')) : undefined;
  const known = there?.origin ?? (existsSync(name) ? readFileSync(name, 'utf8').trim() : undefined);
  if (known === undefined && existsSync(path.join(folder, 'tile')))
    throw refuse('tiles of a log, and nothing that says of which');
  if (known !== undefined && known !== origin) throw refuse(`the log ${known}, and this is ${origin}`);
  if (there && there.size > size)
    throw refuse(
      `${there.size} entries, and the server states ${size}: its store was put back; keep the folder`,
    );
  // An export that was broken off is gone on with.
  put(name, Buffer.from(`${origin}\n`));
}

/**
 * The checkpoint goes last: it is there once all is that it states. What is full never changes, and is kept. Answers how
 * many entries stand in tiles of which some were archived or removed.
 */
export async function tilesInto(
  folder: string,
  read: ReadFile,
  source: string,
  size: number,
  progress: (done: number, total: number) => void,
): Promise<number> {
  let gone = 0;
  for (let level = 1, count = size; ; level += 1) {
    count = Math.floor(count / TILE_WIDTH);
    if (count === 0) break;
    for (let at = 0; at * TILE_WIDTH < count; at += 1)
      await keep(folder, tilePath({ level, at, width: Math.min(TILE_WIDTH, count - at * TILE_WIDTH) }), read);
  }
  for (let at = 0; at * TILE_WIDTH < size; at += 1) {
    const width = Math.min(TILE_WIDTH, size - at * TILE_WIDTH);
    const kept = await Promise.all(
      ([0, 'entries'] as const).map((level) => keep(folder, tilePath({ level, at, width }), read)),
    );
    if (kept.includes(false)) gone += width;
    progress(at * TILE_WIDTH + width, size);
  }
  put(path.join(folder, 'checkpoint'), Buffer.from(source));
  return gone;
}

/** In the place of entries that were archived or removed before they were copied. */
export const goneFile = (file: string): string => `${file}.gone`;

/** Answers whether it is there. */
async function keep(folder: string, name: string, read: ReadFile): Promise<boolean> {
  const file = path.join(folder, name);
  if (existsSync(file)) return true;
  if (existsSync(goneFile(file))) return false;
  const bytes = await found(read, name);
  if (bytes === GONE) put(goneFile(file), new Uint8Array());
  else put(file, bytes);
  return bytes !== GONE;
}

/** Whole or not at all: what is there is not asked for again. */
export function put(file: string, bytes: Uint8Array): void {
  mkdirSync(path.dirname(file), { recursive: true, mode: 0o700 });
  writeFileSync(`${file}.part`, bytes, { mode: 0o600 });
  renameSync(`${file}.part`, file);
}
