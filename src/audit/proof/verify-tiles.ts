import { parseCheckpoint } from '../../merkle/checkpoint.ts';
import { HASH_BYTES } from '../../merkle/hashes.ts';
import type { Policy } from '../../merkle/policy.ts';
import { tilePath } from '../../merkle/tile-path.ts';
import { TILE_WIDTH } from '../../merkle/tree.ts';
import { LogVerification, type Verdict } from './verification.ts';

/** Reads a file of a log that is served or kept as C2SP tlog-tiles has it; a path below its prefix. */
export type ReadFile = (path: string) => Promise<Uint8Array>;

const LENGTH_BYTES = 2;
/** How many bundles are asked for at a time. */
const AT_ONCE = 8;

/** Verifies a log by its files alone. Rejects where its checkpoint cannot be read. */
export async function verifyTiles(
  readFile: ReadFile,
  policy: Policy,
  kept: readonly { readonly what: string; readonly source: string }[],
  progress: (done: number, total: number) => void,
): Promise<Verdict> {
  const source = Buffer.from(await readFile('checkpoint')).toString('utf8');
  const { origin, size } = parseCheckpoint(source);
  const log = new LogVerification(origin);
  log.expect(source, policy, 'its checkpoint');
  for (const each of kept)
    if (each.source.startsWith(`${origin}\n`)) log.expect(each.source, policy, each.what);
  const tiles = Math.ceil(size / TILE_WIDTH);
  for (let first = 0; first < tiles; first += AT_ONCE) {
    const group = Array.from({ length: Math.min(AT_ONCE, tiles - first) }, (_, n) => first + n);
    const files = await Promise.all(group.map((at) => filesOf(readFile, at, size)));
    for (const { width, hashes, bundle } of files) {
      take(log, width, hashes, bundle);
      progress(log.entries, size);
    }
  }
  return log.verdict();
}

interface Files {
  readonly width: number;
  readonly hashes: Uint8Array | undefined;
  readonly bundle: Uint8Array | undefined;
}

async function filesOf(readFile: ReadFile, at: number, size: number): Promise<Files> {
  const width = Math.min(TILE_WIDTH, size - at * TILE_WIDTH);
  const file = (level: 0 | 'entries'): Promise<Uint8Array | undefined> =>
    readFile(tilePath({ level, at, width })).catch(() => undefined);
  const [hashes, bundle] = await Promise.all([file(0), file('entries')]);
  return { width, hashes, bundle };
}

/** What is not there is named as missing; an entry that is not that of its hash as changed. */
function take(
  log: LogVerification,
  width: number,
  hashes: Uint8Array | undefined,
  bundle: Uint8Array | undefined,
): void {
  const entries = bundle ? entriesIn(bundle) : [];
  for (let at = 0; at < width; at += 1) {
    const entry = entries[at];
    const stated =
      hashes?.length === width * HASH_BYTES
        ? hashes.subarray(at * HASH_BYTES, (at + 1) * HASH_BYTES)
        : undefined;
    if (entry) log.entry(entry, stated);
    else log.missing(stated);
  }
}

/** Those up to where it ends or is not sound. */
function entriesIn(bundle: Uint8Array): Uint8Array[] {
  const bytes = Buffer.from(bundle.buffer, bundle.byteOffset, bundle.byteLength);
  const entries: Uint8Array[] = [];
  for (let at = 0; at + LENGTH_BYTES <= bytes.length; ) {
    const end = at + LENGTH_BYTES + bytes.readUInt16BE(at);
    if (end > bytes.length) break;
    entries.push(bytes.subarray(at + LENGTH_BYTES, end));
    at = end;
  }
  return entries;
}
