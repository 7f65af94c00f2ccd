import { PGlite } from '@electric-sql/pglite';
import Database from 'better-sqlite3';
import type { Condition } from '../../../src/policy/plan/condition.ts';
import type { Field, Fields } from '../../../src/policy/plan/render/fields.ts';
import { renderPostgres } from '../../../src/policy/plan/render/postgres.ts';
import { renderSqlite } from '../../../src/policy/plan/render/sqlite.ts';
import type { Resource } from './grammar.ts';

/** Which of the resources are in the rows that a condition selects: by their places. */
export interface Store {
  fill(resources: readonly Resource[]): Promise<void> | void;
  select(condition: Condition): Promise<ReadonlySet<number>> | ReadonlySet<number>;
}

const columns = { owner: 'text', level: 'number', open: 'boolean', tags: 'json', shares: 'json' } as const;

export const fieldsOf = (types: Readonly<Record<string, Field['type']>>, meaning: Field['null']): Fields =>
  new Map<string, Field>([
    ['resource.id', { name: 'id', type: 'text', null: meaning }],
    ...Object.entries(types).map(([name, type]): [string, Field] => [
      `resource.properties.${name}`,
      { name, type, null: meaning },
    ]),
  ]);

/** Whether a resource can be kept in columns of these types: SQLite keeps numbers in a column of text, and the other way. */
export const fitsSqlite = ({ properties: { owner, level, open } }: Resource): boolean =>
  [owner, level].every(
    (each) => each === undefined || each === null || ['string', 'number'].includes(typeof each),
  ) &&
  (open === undefined || open === null || ['boolean', 'string'].includes(typeof open));

export const fitsPostgres = ({ properties: { owner, level, open } }: Resource): boolean =>
  (owner ?? null) === null || typeof owner === 'string'
    ? ((level ?? null) === null || typeof level === 'number') &&
      ((open ?? null) === null || typeof open === 'boolean')
    : false;

/** Columns without a type of their own keep what they are given. */
export function sqliteStore(meaning: Field['null']): Store {
  const db = new Database(':memory:');
  db.exec('CREATE TABLE documents (at INTEGER, id TEXT, owner, level, open, tags, shares)');
  const put = db.prepare('INSERT INTO documents VALUES (?, ?, ?, ?, ?, ?, ?)');
  return {
    fill(resources) {
      db.exec('DELETE FROM documents');
      for (const [at, { id, properties }] of resources.entries()) {
        const { owner = null, level = null, open = null, tags, shares } = properties;
        put.run(
          at,
          id,
          owner,
          level,
          typeof open === 'boolean' ? Number(open) : open,
          jsonText(tags),
          jsonText(shares),
        );
      }
    },
    select(condition) {
      const { text, parameters } = renderSqlite(condition, fieldsOf(columns, meaning));
      const rows = db.prepare(`SELECT at FROM documents WHERE ${text}`).all(...parameters) as {
        at: number;
      }[];
      return new Set(rows.map(({ at }) => at));
    },
  };
}

const jsonText = (value: unknown): string | null => (value === undefined ? null : JSON.stringify(value));

export async function postgresStore(meaning: Field['null']): Promise<Store & AsyncDisposable> {
  const db = await PGlite.create();
  await db.exec(
    'CREATE TABLE documents (at int, id text, owner text, level double precision, open boolean, tags jsonb, shares jsonb)',
  );
  return {
    async fill(resources) {
      await db.exec('DELETE FROM documents');
      await db.query(
        `INSERT INTO documents SELECT * FROM jsonb_to_recordset($1::jsonb) AS
          r(at int, id text, owner text, level double precision, open boolean, tags jsonb, shares jsonb)`,
        [JSON.stringify(resources.map(({ id, properties }, at) => ({ at, id, ...properties })))],
      );
      // Where null stands in the record itself, so that it is null within the column.
      for (const [at, { properties }] of resources.entries())
        for (const name of ['tags', 'shares'])
          if (properties[name] === null)
            await db.query(`UPDATE documents SET ${name} = 'null'::jsonb WHERE at = $1`, [at]);
    },
    async select(condition) {
      const { text, parameters } = renderPostgres(condition, fieldsOf(columns, meaning));
      const { rows } = await db.query<{ at: number }>(`SELECT at FROM documents WHERE ${text}`, [
        ...parameters,
      ]);
      return new Set(rows.map(({ at }) => at));
    },
    [Symbol.asyncDispose]: () => db.close(),
  };
}
