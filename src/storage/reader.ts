import Database from 'better-sqlite3';
import { type Connection, databaseFile } from './database.ts';
import { unreadable } from './faults.ts';

/**
 * Opens a connection that cannot write, for look-ups beside the writer. What its statements throw because the store
 * cannot be read is `unavailable`, and reported (`faults.ts`).
 */
export function openReader(folder: string): Connection {
  const db = new Database(databaseFile(folder), { readonly: true, fileMustExist: true });
  db.pragma('query_only = ON');
  db.pragma('cache_size = -16384');
  const prepare: Prepare = db.prepare.bind(db);
  const prepareContained: Prepare = (source) => contained(prepare(source));
  // The types of what a statement takes and gives are with its text, and stay so.
  db.prepare = prepareContained as typeof db.prepare;
  return db;
}

type Prepare = (source: string) => Database.Statement;

/** The statement itself, with its own methods around those of its class. */
function contained(statement: Database.Statement): Database.Statement {
  const around =
    <Result>(read: (...args: unknown[]) => Result) =>
    (...args: unknown[]): Result => {
      try {
        return read(...args);
      } catch (error) {
        throw unreadable(error);
      }
    };
  const iterate = statement.iterate.bind(statement);
  return Object.assign(statement, {
    get: around(statement.get.bind(statement)),
    all: around(statement.all.bind(statement)),
    run: around(statement.run.bind(statement)),
    *iterate(...args: unknown[]) {
      try {
        yield* iterate(...args);
      } catch (error) {
        throw unreadable(error);
      }
    },
  });
}
