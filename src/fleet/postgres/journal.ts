import { randomUUID } from 'node:crypto';
import pg from 'pg';
import { describe, ServiceError } from '../../errors.ts';
import type { TenantId } from '../../ids.ts';
import { decodeArgs, encodeArgs } from '../../storage/changes/body.ts';
import type { Change, Position } from '../../storage/changes/commands.ts';
import type { Copied } from '../../storage/changes/copy.ts';
import { migrate } from './schema.ts';

/** What is to become a change. */
export interface Asked {
  readonly id: string;
  readonly name: string;
  readonly body: string;
  /** JSON; null where there is none. */
  readonly record: string | null;
}

/** A change, and who asked for it. */
export interface Ordered extends Change {
  readonly node: string;
  readonly id: string;
  readonly record: string | null;
}

export interface Placed {
  readonly version: number;
  /** By its id. */
  readonly last: string;
  /** Up to which version there is a copy. */
  readonly copied: number;
}

export interface JournalOptions {
  readonly url: string;
  /** What this server is called. */
  readonly node: string;
  /** Hears of tenants that somebody changed. */
  readonly onNotice: (tenant: TenantId, version: number) => void;
  readonly failed: (error: unknown) => void;
  /** Another process has this server's name since: what it asks for is not to be told from what that one does. */
  readonly onTaken: (error: ServiceError) => void;
}

const NOTICES = 'mandate_changes';
/** Locks of names, apart from others. */
const NAMES = 7_400;
const MAX_CONNECTIONS = 8;
/** How long a statement may take, and a connection to come about. In milliseconds. */
const STATEMENT_MS = 5_000;
const CONNECT_MS = 3_000;
const LISTEN_AGAIN_MS = 1_000;

/** The order of all changes, in PostgreSQL. */
export class Journal implements AsyncDisposable {
  readonly #options: JournalOptions;
  readonly #pool: pg.Pool;
  /** What this process is called while it has the name. */
  readonly #holder = randomUUID();
  /** It had the name once. */
  #isNamed = false;
  #listener: pg.Client | undefined;
  #again: NodeJS.Timeout | undefined;
  #isClosed = false;

  private constructor(options: JournalOptions) {
    this.#options = options;
    this.#pool = new pg.Pool({ ...settings(options.url), max: MAX_CONNECTIONS });
    // Of one that nobody uses: the next query opens another.
    this.#pool.on('error', () => undefined);
  }

  /** Brings the schema up to date. Throws what the server says. */
  static async open(options: JournalOptions): Promise<Journal> {
    const journal = new Journal(options);
    try {
      const client = await journal.#pool.connect();
      try {
        await migrate(client);
      } finally {
        client.release();
      }
      if (!(await journal.#listen()))
        throw new ServiceError(
          'config_invalid',
          `another server that is called ${options.node} is there: each has a name of its own (node)`,
        );
    } catch (error) {
      await journal[Symbol.asyncDispose]();
      throw error;
    }
    return journal;
  }

  /**
   * Makes changes of a tenant, all or none; answers the version of the last, and the id of the one before them, empty where
   * there was none. What fails may have come about all the same.
   */
  async add(tenant: TenantId, asked: readonly Asked[]): Promise<{ version: number; before: string }> {
    const { rows } = await this.#pool.query<{ version: string; before: string }>({
      // Of the usual sizes the server keeps the plan.
      ...(asked.length <= MOST_PLANNED && { name: `add-${asked.length}` }),
      text: addOf(asked.length),
      values: [
        tenant,
        asked.length,
        this.#options.node,
        asked.at(-1)?.id,
        this.#holder,
        ...asked.flatMap(({ name, body, id, record }) => [name, body, id, record]),
      ],
    });
    const [placed] = rows;
    if (!placed) throw this.#taken();
    return { version: Number(placed.version), before: placed.before };
  }

  #taken(): ServiceError {
    const { node, onTaken } = this.#options;
    const error = new ServiceError(
      'unavailable',
      `another process has the name ${node} in PostgreSQL since`,
      {
        detail: 'each has a name of its own (node); or it was restored to before this one began',
      },
    );
    onTaken(error);
    return error;
  }

  /** The changes from a version on, in order, so many at most. */
  async from(tenant: TenantId, version: number, limit: number): Promise<Ordered[]> {
    const { rows } = await this.#pool.query<Omit<Ordered, 'version'> & { version: string }>({
      name: 'from',
      text: `SELECT version, name, body, node, id, record FROM mandate_changes
             WHERE tenant = $1 AND version >= $2 ORDER BY version LIMIT $3`,
      values: [tenant, version, limit],
    });
    return rows.map((row) => ({ ...row, version: Number(row.version) }));
  }

  /**
   * Keeps a copy of a tenant's state, and gives up the changes before it but for so many of the last. One server at a time
   * does, and none where there is a newer one. Answers whether it was kept.
   */
  async keepCopy(
    tenant: TenantId,
    { version, chain }: Position,
    parts: Iterable<Copied>,
    changesKept: number,
  ): Promise<boolean> {
    const client = await this.#pool.connect();
    try {
      await client.query('BEGIN');
      const { rowCount } = await client.query(
        'UPDATE mandate_tenants SET copied = $2 WHERE id = $1 AND copied < $2',
        [tenant, version],
      );
      if (rowCount === 1) {
        await client.query('DELETE FROM mandate_copies WHERE tenant = $1', [tenant]);
        let at = 0;
        for (const part of parts)
          await client.query(
            'INSERT INTO mandate_copies (tenant, version, part, chain, content) VALUES ($1, $2, $3, $4, $5)',
            [tenant, version, at++, Buffer.from(chain).toString('hex'), encodeArgs(part)],
          );
        await client.query('DELETE FROM mandate_changes WHERE tenant = $1 AND version <= $2', [
          tenant,
          version - changesKept,
        ]);
      }
      await client.query('COMMIT');
      return rowCount === 1;
    } catch (error) {
      await client.query('ROLLBACK').catch(() => undefined);
      throw error;
    } finally {
      client.release();
    }
  }

  /** The newest copy of a tenant's state; undefined where there is none. */
  async copy(tenant: TenantId): Promise<{ position: Position; parts: Copied[] } | undefined> {
    const { rows } = await this.#pool.query<{ version: string; chain: string; content: string }>(
      'SELECT version, chain, content FROM mandate_copies WHERE tenant = $1 ORDER BY part',
      [tenant],
    );
    const [first] = rows;
    if (!first) return undefined;
    return {
      position: { version: Number(first.version), chain: Buffer.from(first.chain, 'hex') },
      parts: rows.map(({ content }) => decodeArgs(content) as Copied),
    };
  }

  /** Where a tenant is; 0 where nothing is known of it. */
  async version(tenant: TenantId): Promise<number> {
    const { rows } = await this.#pool.query<{ version: string }>({
      name: 'version',
      text: 'SELECT version FROM mandate_tenants WHERE id = $1',
      values: [tenant],
    });
    return Number(rows[0]?.version ?? 0);
  }

  /** Where each tenant is, and the id of its last change. */
  async versions(): Promise<Map<TenantId, Placed>> {
    const { rows } = await this.#pool.query<{ id: TenantId; version: string; last: string; copied: string }>({
      name: 'versions',
      text: 'SELECT id, version, last, copied FROM mandate_tenants',
    });
    return new Map(
      rows.map(({ id, version, last, copied }) => [
        id,
        { version: Number(version), last, copied: Number(copied) },
      ]),
    );
  }

  /**
   * A notice only wakes: what is missed while nobody listens is found by looking. As long as the connection lasts nobody else
   * has this server's name, by which it knows what it has asked for itself. Answers whether that is so.
   */
  async #listen(): Promise<boolean> {
    if (this.#isClosed) return false;
    const { url, node, onNotice, failed } = this.#options;
    const client = new pg.Client(settings(url));
    const again = (error?: unknown): void => {
      if (this.#isClosed || this.#listener !== client) return;
      this.#listener = undefined;
      client.end().catch(() => undefined);
      if (error !== undefined)
        failed(new ServiceError('unavailable', `PostgreSQL: ${describe(error)}`, { cause: error }));
      this.#again = setTimeout(() => void this.#listen(), LISTEN_AGAIN_MS).unref();
    };
    this.#listener = client;
    client.on('notification', ({ payload = '' }) => {
      const [tenant = '', version] = payload.split(' ');
      onNotice(tenant as TenantId, Number(version));
    });
    client.on('error', again);
    client.on('end', () => again());
    try {
      await client.connect();
      await client.query(`LISTEN ${NOTICES}`);
      const { rows } = await client.query<{ ours: boolean }>(
        'SELECT pg_try_advisory_lock($1, hashtext($2)) AS ours',
        [NAMES, node],
      );
      if (rows[0]?.ours === true) return await this.#hold(client);
      again(new Error(`another server is called ${node} too`));
    } catch (error) {
      again(error);
    }
    return false;
  }

  /** Nobody else had the name since it was taken first: what is in the order under it is this server's. */
  async #hold(client: pg.Client): Promise<boolean> {
    const { node } = this.#options;
    if (!this.#isNamed) {
      await client.query(
        `INSERT INTO mandate_nodes (name, holder) VALUES ($1, $2)
         ON CONFLICT (name) DO UPDATE SET holder = excluded.holder`,
        [node, this.#holder],
      );
      this.#isNamed = true;
      return true;
    }
    const { rows } = await client.query<{ holder: string }>(
      'SELECT holder FROM mandate_nodes WHERE name = $1',
      [node],
    );
    if (rows[0]?.holder === this.#holder) return true;
    this.#taken();
    return false;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    clearTimeout(this.#again);
    await this.#listener?.end().catch(() => undefined);
    await this.#pool.end().catch(() => undefined);
  }
}

const MOST_PLANNED = 16;

/** Each value is a parameter of its own: arrays would be written and read with a quote before every quote. */
function addOf(count: number): string {
  const rows = Array.from({ length: count }, (_, at) => {
    const first = 6 + 4 * at;
    return `(${at + 1}, $${first}::text, $${first + 1}::text, $${first + 2}::text, $${first + 3}::text)`;
  });
  return `WITH next AS (
      INSERT INTO mandate_tenants AS t (id, version, last)
      SELECT $1::text, $2::bigint, $4::text FROM mandate_nodes WHERE name = $3::text AND holder = $5::text FOR SHARE
      ON CONFLICT (id) DO UPDATE
        SET version = t.version + excluded.version, last = excluded.last, before = t.last
      RETURNING version, before
    ), added AS (
      INSERT INTO mandate_changes (tenant, version, name, body, node, id, record)
      SELECT $1::text, next.version - $2::bigint + a.at, a.name, a.body, $3::text, a.id, a.record
      FROM next, (VALUES ${rows.join(', ')}) AS a (at, name, body, id, record)
    ), told AS (SELECT pg_notify('${NOTICES}', $1::text || ' ' || next.version) FROM next)
    SELECT next.version, next.before FROM next, told`;
}

const settings = (connectionString: string): pg.ClientConfig => ({
  connectionString,
  application_name: 'mandate',
  connectionTimeoutMillis: CONNECT_MS,
  statement_timeout: STATEMENT_MS,
  query_timeout: STATEMENT_MS + 1_000,
  keepAlive: true,
});
