import type { PoolClient } from 'pg';
import { ServiceError } from '../../errors.ts';

/**
 * The order of changes, and nothing else: each is a command, which every authority makes in its own store. A row for each
 * tenant hands out versions and is locked while it does, so that their order is that of the commits. Plain SQL: what other
 * servers of the protocol take as well. Steps are appended, never edited.
 */
const steps: readonly string[] = [
  `
  CREATE TABLE mandate_tenants (
    id TEXT PRIMARY KEY,
    version BIGINT NOT NULL
  );
  -- node: who asked for it, and in whose log the record of it is; record: that, as JSON. id: by which who asked knows it.
  CREATE TABLE mandate_changes (
    tenant TEXT NOT NULL,
    version BIGINT NOT NULL,
    name TEXT NOT NULL,
    body TEXT NOT NULL,
    node TEXT NOT NULL,
    id TEXT NOT NULL,
    record TEXT,
    made_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant, version)
  );
  `,
  `
  -- The state of a tenant at some version, piece by piece as JSON: who comes late begins with it, and what led there goes.
  ALTER TABLE mandate_tenants ADD COLUMN copied BIGINT NOT NULL DEFAULT 0;
  CREATE TABLE mandate_copies (
    tenant TEXT NOT NULL,
    version BIGINT NOT NULL,
    part INTEGER NOT NULL,
    chain TEXT NOT NULL,
    content TEXT NOT NULL,
    PRIMARY KEY (tenant, version, part)
  );
  `,
  `
  -- The ids of the last change and of the one that was it before: a number alone does not tell one history from another.
  ALTER TABLE mandate_tenants ADD COLUMN last TEXT NOT NULL DEFAULT '';
  ALTER TABLE mandate_tenants ADD COLUMN before TEXT NOT NULL DEFAULT '';
  UPDATE mandate_tenants SET last = COALESCE((SELECT c.id FROM mandate_changes c
    WHERE c.tenant = mandate_tenants.id AND c.version = mandate_tenants.version), '');
  `,
  `
  -- Who has a name now, by what that process calls itself: one that lost it orders nothing more under it.
  CREATE TABLE mandate_nodes (
    name TEXT PRIMARY KEY,
    holder TEXT NOT NULL
  );
  `,
];

/** Any number that nobody else locks by. */
const LOCK = 7_400_7401;

/** Brings the schema up to date; one server at a time does. Throws `storage_unsupported`. */
export async function migrate(client: PoolClient): Promise<void> {
  await client.query('BEGIN');
  try {
    await client.query('SELECT pg_advisory_xact_lock($1)', [LOCK]);
    await client.query(
      'CREATE TABLE IF NOT EXISTS mandate_schema (one INTEGER PRIMARY KEY CHECK (one = 1), steps INTEGER NOT NULL)',
    );
    const { rows } = await client.query<{ steps: number }>('SELECT steps FROM mandate_schema');
    const taken = rows[0]?.steps ?? 0;
    if (taken > steps.length)
      throw new ServiceError(
        'storage_unsupported',
        `the database was written by a newer version of Mandate (schema ${taken}, this one knows ${steps.length})`,
      );
    for (const step of steps.slice(taken)) await client.query(step);
    await client.query(
      'INSERT INTO mandate_schema (one, steps) VALUES (1, $1) ON CONFLICT (one) DO UPDATE SET steps = excluded.steps',
      [steps.length],
    );
    await client.query('COMMIT');
  } catch (error) {
    await client.query('ROLLBACK').catch(() => undefined);
    throw error;
  }
}
