import { statfsSync } from 'node:fs';
import type { Connection } from '../../storage/database.ts';

const MIB = 1024 * 1024;

/** Of a store that is bounded, so much is for others' logs and this server's own; the rest is for its own alone. */
const SHARE = 0.75;
/** Of a disk, so much is. */
const LEFT_BYTES = 512 * MIB;

/**
 * Why no more of others' logs is kept; empty while there is room. It ends well before there is none for what this server
 * answers itself: whoever sends much must not keep it from that.
 */
export function roomFor(db: Connection, folder: string, maxBytes: number | undefined): () => string {
  const pages = db
    .prepare<[], number>('SELECT page_count - freelist_count FROM pragma_page_count, pragma_freelist_count')
    .pluck();
  const pageBytes = db.pragma('page_size', { simple: true }) as number;
  return () => {
    if (maxBytes !== undefined && (pages.get() ?? 0) * pageBytes >= maxBytes * SHARE)
      return 'its store is three quarters full (max_store_bytes)';
    const { bavail, bsize } = statfsSync(folder);
    return bavail * bsize < LEFT_BYTES ? `its disk has ${Math.floor((bavail * bsize) / MIB)} MiB left` : '';
  };
}
