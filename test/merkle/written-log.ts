import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { type Checkpoint, checkpointText } from '../../src/merkle/checkpoint.ts';
import { Frontier } from '../../src/merkle/frontier.ts';
import { type Hash, leafHash } from '../../src/merkle/hashes.ts';
import type { SignerKey } from '../../src/merkle/keys.ts';
import { signNote } from '../../src/merkle/note.ts';
import { type TileName, tilePath } from '../../src/merkle/tile-path.ts';
import { TILE_WIDTH, type TileHashes } from '../../src/merkle/tree.ts';

/** A log as tlog-tiles has it, made of nothing but src/merkle. */
export class WrittenLog implements TileHashes {
  readonly entries: readonly Uint8Array[];
  readonly checkpoint: Checkpoint;
  readonly #levels: Hash[][] = [[]];

  constructor(origin: string, entries: readonly Uint8Array[]) {
    this.entries = entries;
    const frontier = new Frontier();
    for (const entry of entries) {
      const leaf = leafHash(entry);
      this.#levels[0]?.push(leaf);
      frontier.append(leaf, (level, at, hash) => {
        const hashes = (this.#levels[level] ??= []);
        if (at !== hashes.length)
          throw new Error(`hash ${at} of level ${level} is told after ${hashes.length}`);
        hashes.push(hash);
      });
    }
    this.checkpoint = { origin, size: frontier.size, root: frontier.root() };
  }

  read = (level: number, from: number, end: number): Uint8Array =>
    Buffer.concat(this.#levels[level]?.slice(from, end) ?? []);

  /** Its files, by path. */
  *files(signer: SignerKey): Generator<readonly [path: string, bytes: Uint8Array]> {
    yield ['checkpoint', Buffer.from(signNote(checkpointText(this.checkpoint), signer))];
    yield* rowOf('entries', this.entries, (some) =>
      Buffer.concat(some.flatMap((entry) => [lengthOf(entry), entry])),
    );
    for (const [level, hashes] of this.#levels.entries())
      yield* rowOf(level, hashes, (some) => Buffer.concat(some));
  }

  /** Its files, in a folder. */
  async write(folder: string, signer: SignerKey): Promise<void> {
    for (const [file, bytes] of this.files(signer)) {
      const place = path.join(folder, file);
      await mkdir(path.dirname(place), { recursive: true });
      await writeFile(place, bytes);
    }
  }
}

function* rowOf(
  level: TileName['level'],
  all: readonly Uint8Array[],
  tileOf: (some: readonly Uint8Array[]) => Uint8Array,
): Generator<readonly [path: string, bytes: Uint8Array]> {
  for (let at = 0; at * TILE_WIDTH < all.length; at += 1) {
    const some = all.slice(at * TILE_WIDTH, (at + 1) * TILE_WIDTH);
    yield [tilePath({ level, at, width: some.length }), tileOf(some)];
  }
}

function lengthOf(entry: Uint8Array): Buffer {
  const length = Buffer.alloc(2);
  length.writeUInt16BE(entry.length);
  return length;
}
