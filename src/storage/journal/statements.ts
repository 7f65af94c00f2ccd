import type { Connection } from '../database.ts';
import type { LaidRun } from '../log/laid.ts';
import type { JournalRow } from './row.ts';

/** What a transaction has put there: a run by its row id, or a row of the journal by its number. */
export type Mark = { readonly run: number } | { readonly row: number };

/** What a transaction does to the journal and the runs. */
export interface Statements {
  /** Answers false where something stands there already. */
  readonly insertRun: (run: LaidRun) => boolean;
  readonly insertRow: (row: JournalRow) => void;
  /** Rows before one are filed. */
  readonly moveOn: (seq: number) => void;
  readonly dropRow: (seq: number) => void;
  readonly isThere: (mark: Mark) => boolean;
}

export function statements(db: Connection): Statements {
  const insertRun = db.prepare(
    'INSERT INTO runs (id, heads, bodies) VALUES (?, ?, ?) ON CONFLICT DO NOTHING',
  );
  const insertRow = db.prepare('INSERT INTO journal (seq, places, heads, bodies) VALUES (?, ?, ?, ?)');
  const moveOn = db.prepare('UPDATE store SET filed = max(filed, ?)');
  const dropRow = db.prepare('DELETE FROM journal WHERE seq = ?');
  const run = db.prepare<[number], number>('SELECT 1 FROM runs WHERE id = ?').pluck();
  const row = db.prepare<[number], number>('SELECT 1 FROM journal WHERE seq = ?').pluck();
  return {
    insertRun: ({ id, heads, bodies }) => insertRun.run(id, heads.all, bodies).changes === 1,
    insertRow: ({ seq, places, heads, bodies }) => void insertRow.run(seq, places, heads, bodies),
    moveOn: (seq) => void moveOn.run(seq),
    dropRow: (seq) => void dropRow.run(seq),
    isThere: (mark) => ('run' in mark ? run.get(mark.run) : row.get(mark.row)) !== undefined,
  };
}
