import { createHash } from 'node:crypto';
import { ServiceError } from '../../errors.ts';
import { toBase64 } from '../../merkle/base64.ts';
import { parseCheckpoint } from '../../merkle/checkpoint.ts';
import { type VerifierKey, vkeyOf } from '../../merkle/keys.ts';
import { TILE_WIDTH } from '../../merkle/tree.ts';
import type { Connection } from '../../storage/database.ts';
import { Unfiled } from '../../storage/journal/unfiled.ts';
import { Heads, IS_BARE, RECORDS_IN_HEADS } from '../../storage/log/heads.ts';
import { recordId, recordIndex, type TenantNo } from '../../storage/rows.ts';
import { partsOf } from '../whole.ts';

/**
 * What a store says of a log beside its entries. No checkpoint states it, but queries go by it and records name parts of
 * it: where it does not agree with the entries, what is shown is not what is proved.
 */
export class StoreRows {
  readonly #db: Connection;
  readonly #no: TenantNo;
  readonly #range: [number, number];
  readonly #hasPart;

  constructor(db: Connection, no: TenantNo) {
    this.#db = db;
    this.#no = no;
    this.#range = [recordId(no, 0), recordId((no + 1) as TenantNo, 0)];
    this.#hasPart = db
      .prepare<[number, string], number>('SELECT 1 FROM parts WHERE tenant_no = ? AND digest = ?')
      .pluck();
  }

  /** Where the log ends by its runs and the journal, whatever its count says. */
  end(): number {
    const unfiled = Unfiled.of(this.#db);
    return recordIndex(Math.max(unfiled.end(this.#no), unfiled.filedEnd(this.#no)));
  }

  /** What does not agree; `note` is the log's checkpoint, if it has one, and `keys` are those it is known by. */
  *faults(note: string | null, keys: readonly VerifierKey[]): Generator<string> {
    const key = this.#db.prepare<[number], Uint8Array>('SELECT public FROM log_keys WHERE tenant_no = ?');
    const raw = key.pluck().get(this.#no);
    if (raw && keys.length > 0 && !keys.some((each) => isKey(each, raw)))
      yield 'its key in the store is none that was given';
    const pinned = this.#pinnedKey();
    if (pinned !== undefined && keys.length > 0 && !keys.some((each) => vkeyOf(each) === pinned))
      yield 'the key that it is kept under is none that was given';
    yield* readable('its runs', this.#runs());
    yield* readable('its tree', this.#tiles());
    yield* readable('its parts', this.#parts());
    const counted = this.#count('SELECT size FROM logs WHERE tenant_no = ?');
    const end = this.end();
    if (counted > end) yield `by its count it has ${counted} entries, but it ends with ${end}`;
    const stated = this.#count('SELECT size FROM checkpoints WHERE tenant_no = ?');
    if (note !== null && stated !== sizeIn(note)) yield `its checkpoint stands as one of ${stated} entries`;
  }

  /** Of another server's log; a store of an older version has none. */
  #pinnedKey(): string | undefined {
    const isThere = this.#db.prepare("SELECT 1 FROM sqlite_schema WHERE name = 'received'").get();
    if (!isThere) return undefined;
    return this.#db.prepare<[number], string>('SELECT key FROM received WHERE no = ?').pluck().get(this.#no);
  }

  /** The parts that an entry names and the store does not have. */
  *missingParts(entry: Uint8Array): Generator<string> {
    if (!Buffer.from(entry.buffer, entry.byteOffset, entry.byteLength).includes('"input_parts"')) return;
    for (const digest of digestsIn(entry)) if (!this.#hasPart.get(this.#no, digest)) yield digest;
  }

  /** Readers find an entry by where its run begins: one that begins inside another hides what that holds. */
  *#runs(): Generator<string> {
    const rows = this.#db.prepare<
      [number, number],
      { id: number; size: number; reach: number; isBare: number }
    >(
      `SELECT id, size, isBare, reach FROM (
         SELECT id, size, isBare, max(id + size) OVER before AS reach, min(isBare) OVER before AS wereBare
         FROM (SELECT id, ${RECORDS_IN_HEADS} AS size, ${IS_BARE} AS isBare FROM runs
           WHERE id >= ? AND id < ?)
         WINDOW before AS (ORDER BY id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING))
       WHERE id < reach OR size = 0 OR (isBare AND wereBare = 0)`,
    );
    for (const { id, size, reach, isBare } of rows.iterate(...this.#range)) {
      const from = recordIndex(id);
      if (size === 0 || id < reach) yield `${entries(from, from + size)} stands there twice`;
      else if (isBare) yield `${entries(from, from + size)} has no hash, but some before have`;
    }
    let end = 0;
    for (const { id, heads } of Unfiled.of(this.#db).rows(this.#no, 0, Number.POSITIVE_INFINITY)) {
      const [from, size] = [recordIndex(id), Heads.stored(heads).capacity];
      if (from < end) yield `${entries(from, from + size)} stands there twice`;
      end = from + size;
    }
  }

  *#tiles(): Generator<string> {
    let expected = 0;
    for (let width = TILE_WIDTH; width <= this.end(); width *= TILE_WIDTH)
      expected += Math.floor(this.end() / width);
    const found = this.#count('SELECT count(*) FROM tiles WHERE tenant_no = ?');
    if (found !== expected) yield `its tree has ${found} hashes above its leaves, and not ${expected}`;
  }

  *#parts(): Generator<string> {
    const rows = this.#db.prepare<[number], { digest: string; body: string }>(
      'SELECT digest, body FROM parts WHERE tenant_no = ?',
    );
    for (const { digest, body } of rows.iterate(this.#no))
      if (createHash('sha256').update(body).digest('hex') !== digest)
        yield `what entries have in common under ${digest} was changed`;
  }

  #count(sql: string): number {
    return this.#db.prepare<[number], number>(sql).pluck().get(this.#no) ?? 0;
  }
}

const isKey = (key: VerifierKey, raw: Uint8Array): boolean =>
  vkeyOf(key).endsWith(`+${toBase64(Buffer.concat([Buffer.of(key.type), raw]))}`);

const entries = (from: number, end: number): string =>
  end - from <= 1 ? `entry ${from}` : `each of entries ${from} to ${end - 1}`;

/** Damage ends no verification: it is a fault. */
function* readable(what: string, faults: Generator<string>): Generator<string> {
  try {
    yield* faults;
  } catch (error) {
    if (!(error instanceof ServiceError)) throw error;
    yield `${what} cannot be read whole`;
  }
}

function sizeIn(note: string): number | undefined {
  try {
    return parseCheckpoint(note).size;
  } catch {
    return undefined;
  }
}

/** Of what is no record there is nothing to tell: its hash does. */
function digestsIn(entry: Uint8Array): string[] {
  try {
    return Object.values(partsOf(entry));
  } catch {
    return [];
  }
}
