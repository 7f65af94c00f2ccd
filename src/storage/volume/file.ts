import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { constants, zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import { TILE_WIDTH } from '../../merkle/tree.ts';

/**
 * A volume: a part of a log that does not change any more, as a file that proves itself. It is Zstandard (RFC 8878), a
 * frame for each tile or part of one, and what is in the frames are the log's entries as JSON Lines: `zstd -dc` shows
 * them. Two skippable frames follow, which such tools pass by: what entries have in common with others, and an index.
 * The file ends with the length of the index and a mark, so that it is found.
 */
export interface VolumeIndex {
  readonly v: 1;
  /** What the log is called. */
  readonly origin: string;
  /** Its entries, the last one excluded. */
  readonly first: number;
  readonly end: number;
  /** Where each frame of entries begins in the file, and where the last one ends. */
  readonly frames: readonly number[];
  /** The tree before the first entry: the roots of its perfect subtrees, largest first, as base64. */
  readonly before: readonly string[];
  /** The log's checkpoint of exactly `end` entries, a signed note. */
  readonly checkpoint: string;
  /** The length of the frame that holds what entries name by its SHA-256, a JSON text a line. */
  readonly parts: number;
}

const SKIPPABLE = 0x184d2a50;
const SKIPPABLE_HEAD = 8;
const MARK = Buffer.from('mandate\n');
const TAIL_BYTES = 4 + MARK.length;
/** A record is 65,535 bytes at most, and a line break. */
const MOST_FRAME_BYTES = TILE_WIDTH * 65_536;
const MOST_INDEX_BYTES = 64 * 1024 * 1024;
/** What entries may have in common in one volume. */
export const MOST_PARTS_BYTES = 256 * 1024 * 1024;
const LINE_BREAK = 0x0a;

const COMPRESSION = {
  params: { [constants.ZSTD_c_compressionLevel]: 3, [constants.ZSTD_c_checksumFlag]: 1 },
};

/** A frame of entries. Throws where one of them is no line. */
export function entriesFrame(entries: readonly Uint8Array[]): Uint8Array {
  for (const entry of entries) if (entry.includes(LINE_BREAK)) throw new Error('an entry is not one line');
  const line = Buffer.of(LINE_BREAK);
  return zstdCompressSync(Buffer.concat(entries.flatMap((entry) => [entry, line])), COMPRESSION);
}

/** What entries have in common, JSON texts, and the index: the end of a volume. Throws where a text is no line. */
export function endOfVolume(index: Omit<VolumeIndex, 'parts'>, parts: readonly string[]): Uint8Array {
  const packed = entriesFrame(parts.map((text) => Buffer.from(text)));
  const text = Buffer.from(JSON.stringify({ ...index, parts: packed.length } satisfies VolumeIndex));
  const tail = Buffer.alloc(TAIL_BYTES);
  tail.writeUInt32LE(text.length);
  MARK.copy(tail, 4);
  return Buffer.concat([headOf(packed.length), packed, headOf(text.length + TAIL_BYTES), text, tail]);
}

function headOf(length: number): Uint8Array {
  const head = Buffer.alloc(SKIPPABLE_HEAD);
  head.writeUInt32LE(SKIPPABLE);
  head.writeUInt32LE(length, 4);
  return head;
}

/** An open volume. Whatever is read of it may throw, in its reader's words: it was cut, changed, or is none. */
export class VolumeFile implements Disposable {
  readonly #file: number;
  readonly index: VolumeIndex;

  /** Throws where there is no such file, too. */
  constructor(name: string) {
    this.#file = openSync(name, 'r');
    try {
      this.index = this.#readIndex();
    } catch (error) {
      closeSync(this.#file);
      throw error;
    }
  }

  /** The entries of the frame that holds this one, and the index of the first of them. */
  frameOf(entry: number): { first: number; entries: Uint8Array[] } {
    const { first, end, frames } = this.index;
    if (entry < first || entry >= end) throw new Error(`it has no entry ${entry}`);
    const tile = Math.floor(entry / TILE_WIDTH);
    const at = tile - Math.floor(first / TILE_WIDTH);
    const [from = 0, to = 0] = [frames[at], frames[at + 1]];
    const begin = Math.max(first, tile * TILE_WIDTH);
    const count = Math.min(end, (tile + 1) * TILE_WIDTH) - begin;
    const lines = linesIn(this.#unpacked(from, to - from, MOST_FRAME_BYTES));
    if (lines.length !== count)
      throw new Error(`it has ${lines.length} entries from ${begin} on, and not ${count}`);
    return { first: begin, entries: lines };
  }

  /** JSON texts that entries name by their SHA-256. */
  parts(): string[] {
    const { frames, parts } = this.index;
    const at = (frames.at(-1) ?? 0) + SKIPPABLE_HEAD;
    return linesIn(this.#unpacked(at, parts, MOST_PARTS_BYTES)).map((line) => utf8.decode(line));
  }

  #readIndex(): VolumeIndex {
    const { size } = fstatSync(this.#file);
    const tail = this.#read(size - TAIL_BYTES, TAIL_BYTES);
    if (!tail.subarray(4).equals(MARK)) throw new Error('it is no volume, or was cut short');
    const length = tail.readUInt32LE();
    if (length > MOST_INDEX_BYTES) throw new Error('its index is too long');
    const index = JSON.parse(this.#read(size - TAIL_BYTES - length, length).toString()) as VolumeIndex;
    if (!isIndex(index, size)) throw new Error('its index is damaged, or of a newer version');
    return index;
  }

  #unpacked(at: number, length: number, most: number): Buffer {
    return zstdDecompressSync(this.#read(at, length), { maxOutputLength: most });
  }

  #read(at: number, length: number): Buffer {
    if (at < 0 || length < 0) throw new Error('it was cut short');
    const bytes = Buffer.alloc(length);
    if (readSync(this.#file, bytes, 0, length, at) !== length) throw new Error('it was cut short');
    return bytes;
  }

  [Symbol.dispose](): void {
    closeSync(this.#file);
  }
}

const utf8 = new TextDecoder();

function linesIn(bytes: Buffer): Uint8Array[] {
  const lines: Uint8Array[] = [];
  for (let from = 0; from < bytes.length; ) {
    const end = bytes.indexOf(LINE_BREAK, from);
    if (end === -1) throw new Error('its last entry was cut short');
    lines.push(bytes.subarray(from, end));
    from = end + 1;
  }
  return lines;
}

/** Every number in it is used to read: what is not within the file is not tried. */
function isIndex(index: VolumeIndex, size: number): boolean {
  const { v, origin, first, end, frames, before, checkpoint, parts } = index;
  const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;
  if (v !== 1 || typeof origin !== 'string' || typeof checkpoint !== 'string') return false;
  if (!isCount(first) || !isCount(end) || !isCount(parts) || first >= end || parts > size) return false;
  if (!Array.isArray(before) || !before.every((hash) => typeof hash === 'string')) return false;
  const tiles = Math.ceil(end / TILE_WIDTH) - Math.floor(first / TILE_WIDTH);
  if (!Array.isArray(frames) || frames.length !== tiles + 1) return false;
  return frames.every((at, place) => isCount(at) && at <= size && at >= (frames[place - 1] ?? 0));
}
