import type { Connection } from './database.ts';

/** A server that serves, or served, from the store. */
export interface Sitting {
  readonly node: string;
  readonly version: string;
  /** Milliseconds since the epoch. */
  readonly begunAt: number;
  /** Null while it serves, and where it did not come to say that it ended. */
  readonly endedAt: number | null;
}

export interface SittingCommands {
  /** A server begins to serve from the store; answers what is known of the one before. */
  readonly beginSitting: (args: { node: string; version: string; at: number }) => Sitting | null;
  /** It ends, with all that it had to record. */
  readonly endSitting: (args: { at: number }) => boolean;
}

export function prepareSitting(db: Connection): SittingCommands {
  const last = db.prepare<[], Sitting>(
    'SELECT node, version, begun_at AS begunAt, ended_at AS endedAt FROM sitting',
  );
  const begin = db.prepare(
    'REPLACE INTO sitting (one, node, version, begun_at, ended_at) VALUES (1, ?, ?, ?, NULL)',
  );
  const end = db.prepare('UPDATE sitting SET ended_at = ?');
  return {
    beginSitting: ({ node, version, at }) => {
      const before = last.get() ?? null;
      begin.run(node, version, at);
      return before;
    },
    endSitting: ({ at }) => end.run(at).changes === 1,
  };
}
