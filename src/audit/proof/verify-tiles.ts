import { entriesIn } from '../../merkle/bundle.ts';
import { HASH_BYTES } from '../../merkle/hashes.ts';
import type { Policy } from '../../merkle/policy.ts';
import { tilePath } from '../../merkle/tile-path.ts';
import { TILE_WIDTH } from '../../merkle/tree.ts';
import { LogVerification, originIn, type Verdict } from './verification.ts';

/** Of entries that were archived or removed: their hashes are all that is there of them. */
export const GONE = Symbol('gone');

/**
 * Reads a file of a log that is served or kept as C2SP tlog-tiles has it; a path below its prefix. Undefined where it is
 * not there; rejects where that cannot be told.
 */
export type ReadFile = (path: string) => Promise<Uint8Array | typeof GONE | undefined>;

/** How many bundles are asked for at a time. */
const AT_ONCE = 8;

/** Verifies a log by its files alone. Rejects where its checkpoint cannot be read. */
export async function verifyTiles(
  readFile: ReadFile,
  policy: Policy,
  kept: readonly { readonly what: string; readonly source: string }[],
  progress: (done: number, total: number) => void,
): Promise<Verdict> {
  const source = Buffer.from(bytesOf(await readFile('checkpoint')) ?? '').toString('utf8');
  const above = new Map<string, Uint8Array>();
  const log = new LogVerification(originIn(source), (level, at) => hashIn(above, level, at));
  const stated = [{ what: 'its checkpoint', source }, ...kept].map((each) =>
    log.expect(each.source, policy, each.what),
  );
  // What nobody signed does not say how far to read.
  const size = Math.max(0, ...stated.map((checkpoint) => checkpoint?.size ?? 0));
  await readAbove(readFile, size, above);
  const tiles = Math.ceil(size / TILE_WIDTH);
  for (let first = 0; first < tiles; first += AT_ONCE) {
    const group = Array.from({ length: Math.min(AT_ONCE, tiles - first) }, (_, n) => first + n);
    const files = await Promise.all(group.map((at) => filesOf(readFile, at, size)));
    for (const each of files) {
      take(log, each);
      progress(log.entries, size);
    }
  }
  return log.verdict();
}

interface Files {
  readonly at: number;
  readonly width: number;
  readonly hashes: Uint8Array | undefined;
  readonly bundle: Uint8Array | typeof GONE | undefined;
}

async function filesOf(readFile: ReadFile, at: number, size: number): Promise<Files> {
  const width = Math.min(TILE_WIDTH, size - at * TILE_WIDTH);
  const file = (level: 0 | 'entries') => readFile(tilePath({ level, at, width }));
  const [hashes, bundle] = await Promise.all([file(0), file('entries')]);
  return { at, width, hashes: bytesOf(hashes), bundle };
}

/** Tiles above level 0, by their level and place. */
async function readAbove(readFile: ReadFile, size: number, above: Map<string, Uint8Array>): Promise<void> {
  for (let level = 1, count = size; ; level += 1) {
    count = Math.floor(count / TILE_WIDTH);
    if (count === 0) return;
    for (let at = 0; at * TILE_WIDTH < count; at += 1) {
      const width = Math.min(TILE_WIDTH, count - at * TILE_WIDTH);
      const tile = bytesOf(await readFile(tilePath({ level, at, width })));
      if (tile) above.set(`${level}/${at}`, tile);
    }
  }
}

/** The hash that a tile above level 0 gives for one below it; undefined of a tile that is not there. */
function hashIn(above: ReadonlyMap<string, Uint8Array>, level: number, at: number): Uint8Array | undefined {
  const place = at % TILE_WIDTH;
  const tile = above.get(`${level}/${Math.floor(at / TILE_WIDTH)}`);
  return tile?.subarray(place * HASH_BYTES, (place + 1) * HASH_BYTES);
}

/** What is not there is named as missing; an entry that is not that of its hash as changed. */
function take(log: LogVerification, { at: place, width, hashes, bundle }: Files): void {
  const { entries, rest } = entriesIn(bytesOf(bundle) ?? NOTHING);
  if (entries.length > width || (entries.length === width && rest > 0))
    log.fault(`${tilePath({ level: 'entries', at: place, width })} holds more than ${width} entries`);
  if (hashes && hashes.length !== width * HASH_BYTES)
    log.fault(`${tilePath({ level: 0, at: place, width })} is not of ${width} hashes`);
  for (let at = 0; at < width; at += 1) {
    const entry = entries[at];
    const stated =
      hashes?.length === width * HASH_BYTES
        ? hashes.subarray(at * HASH_BYTES, (at + 1) * HASH_BYTES)
        : undefined;
    if (entry) log.entry(entry, stated);
    else if (bundle === GONE) log.gone('archived or removed, or stand in a tile with some that were', stated);
    else log.missing(stated);
  }
}

const bytesOf = (file: Uint8Array | typeof GONE | undefined): Uint8Array | undefined =>
  file === GONE ? undefined : file;

const NOTHING = new Uint8Array();
