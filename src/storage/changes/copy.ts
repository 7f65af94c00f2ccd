import type { Connection } from '../database.ts';
import type { TenantNo } from '../rows.ts';

/** Rows of a table, on their way to another store. */
export interface Copied {
  readonly table: string;
  readonly columns: readonly string[];
  readonly rows: readonly (readonly Cell[])[];
}

export type Cell = string | number | Uint8Array | null;

/** What belongs to a tenant's control state, wherever it is served: all but what only those know who grant. */
const TABLES = [
  'manifests',
  'principals',
  'owners',
  'issuers',
  'grants',
  'ends',
  'approvals',
  'approval_keys',
  'keys',
  'revisions',
  'revision_files',
  'policy_files',
  'policies',
  'erasures',
] as const;

/** And what those know as well. */
const AUTHORITY_TABLES = ['usage', 'leases', 'once'] as const;

/** Of the row in `tenants`: what its number and its name are here is another matter. */
const OWN = ['grants', 'manifest_hash'];

/** No part of a tenant's state: which tenant it is, and where a row stands. */
const PLACES: ReadonlySet<string> = new Set(['tenant_no', 'id']);
/** Tables in which `id` is a name and not a place. */
const NAMED_BY_ID: ReadonlySet<string> = new Set(['principals', 'owners', 'grants', 'approvals']);

function columnsOf(db: Connection, table: string): string[] {
  if (table === 'tenants') return OWN;
  const all = db.prepare<[string], string>('SELECT name FROM pragma_table_info(?)').pluck().all(table);
  return all.filter((name) => !PLACES.has(name) || (name === 'id' && NAMED_BY_ID.has(table)));
}

/** How much of a table goes at once, roughly. In bytes. */
const CHUNK_BYTES = 512 * 1024;

/**
 * All of a tenant's control state, piece by piece, as it is in the transaction that the connection is in. `isWhole`: with
 * what only those know who grant, and the private parts of keys, sealed.
 */
export function* copyOf(db: Connection, no: TenantNo, isWhole: boolean): Generator<Copied> {
  for (const table of ['tenants', ...TABLES, ...(isWhole ? AUTHORITY_TABLES : [])]) {
    const columns = columnsOf(db, table);
    const selected = columns.map((name) => (name === 'sealed' && !isWhole ? "x'' AS sealed" : name));
    const key = table === 'tenants' ? 'no' : 'tenant_no';
    const all = db
      .prepare<[number], Cell[]>(`SELECT ${selected.join(', ')} FROM ${table} WHERE ${key} = ?`)
      .raw()
      .iterate(no);
    let rows: Cell[][] = [];
    let bytes = 0;
    for (const row of all) {
      rows.push(row);
      bytes += row.reduce<number>((sum, cell) => sum + sizeOf(cell), 0);
      if (bytes < CHUNK_BYTES) continue;
      yield { table, columns, rows };
      rows = [];
      bytes = 0;
    }
    if (rows.length > 0) yield { table, columns, rows };
  }
  if (!isWhole) return;
  const sealed = db
    .prepare<[number], Cell[]>(
      'SELECT sealed FROM tenant_keys WHERE tenant = (SELECT id FROM tenants WHERE no = ?)',
    )
    .raw()
    .all(no);
  if (sealed.length > 0) yield { table: TENANT_KEYS, columns: ['sealed'], rows: sealed };
}

/** Kept by the name of their tenant, as they stay when its log begins anew. */
const TENANT_KEYS = 'tenant_keys';

const sizeOf = (cell: Cell): number =>
  typeof cell === 'string' || cell instanceof Uint8Array ? cell.length : 8;

export interface Copy {
  clear(no: TenantNo): void;
  put(no: TenantNo, copied: Copied): number;
}

export function prepareCopy(db: Connection): Copy {
  const clear = [...TABLES, ...AUTHORITY_TABLES].map((table) =>
    db.prepare(`DELETE FROM ${table} WHERE tenant_no = ?`),
  );
  const own = db.prepare(`UPDATE tenants SET ${OWN.map((name) => `${name} = ?`).join(', ')} WHERE no = ?`);
  // The one that is there stays: what it sealed is here.
  const tenantKey = db.prepare(
    'INSERT INTO tenant_keys (tenant, sealed) VALUES ((SELECT id FROM tenants WHERE no = ?), ?) ON CONFLICT DO NOTHING',
  );
  const known = new Map(
    [...TABLES, ...AUTHORITY_TABLES].map((table) => [table as string, new Set(columnsOf(db, table))]),
  );
  return {
    clear: (no) => {
      for (const each of clear) each.run(no);
    },
    put: (no, { table, columns, rows }) => {
      if (table === 'tenants') {
        if (columns.join() !== OWN.join()) throw unknown(`tenants (${columns.join()})`);
        for (const row of rows) own.run(...row, no);
        return rows.length;
      }
      if (table === TENANT_KEYS) {
        if (columns.join() !== 'sealed') throw unknown(`${table} (${columns.join()})`);
        for (const row of rows) tenantKey.run(no, ...row);
        return rows.length;
      }
      const names = known.get(table);
      if (!names) throw unknown(table);
      // One that a newer version has, and that says nothing of this tenant, is left out.
      const isKnown = columns.map((name) => names.has(name));
      for (const [at, name] of columns.entries())
        if (!isKnown[at] && rows.some((row) => row[at] !== null)) throw unknown(`${table}.${name}`);
      const put = columns.filter((_name, at) => isKnown[at]);
      const insert = db.prepare(
        `INSERT INTO ${table} (tenant_no, ${put.join(', ')}) VALUES (?${', ?'.repeat(put.length)})`,
      );
      for (const row of rows) insert.run(no, ...row.filter((_cell, at) => isKnown[at]));
      return rows.length;
    },
  };
}

const unknown = (what: string): Error =>
  new Error(`the authority keeps ${what}, of which this version knows nothing; upgrade Mandate here`);
