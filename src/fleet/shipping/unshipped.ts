import { createPublicKey } from 'node:crypto';
import { partsOf } from '../../audit/whole.ts';
import type { SignedCheckpoint } from '../../merkle/checkpoint.ts';
import type { Hash } from '../../merkle/hashes.ts';
import { SignatureType, verifierKey, vkeyOf } from '../../merkle/keys.ts';
import { consistencyProof } from '../../merkle/tree.ts';
import type { Connection } from '../../storage/database.ts';
import { type PartStore, partStore } from '../../storage/log/parts.ts';
import { type RecordStore, recordStore, type StoredRecord } from '../../storage/log/records.ts';
import { LogTrees } from '../../storage/log/tree.ts';
import { SET_ASIDE, type SharedPart, type TenantNo } from '../../storage/rows.ts';

/** A log, and how far it has stated what it is. */
export interface OwnLog {
  readonly no: TenantNo;
  readonly tenant: string;
  readonly origin: string;
  readonly publicKey: Uint8Array;
  readonly stated: number;
}

/** A part of a log on its way; see `ShipRequest`. */
export interface Outgoing {
  readonly tenant: string;
  readonly key: string;
  readonly checkpoint: string;
  /** How many entries that is of. */
  readonly size: number;
  readonly from: number;
  readonly entries: readonly Uint8Array[];
  readonly proof: readonly Hash[];
  readonly parts: readonly SharedPart[];
}

/** How much is sent at a time: an authority is busy with it for some five milliseconds. */
const MOST_ENTRIES = 1_024;
const MOST_BYTES = 256 * 1024;
/** With what entries have in common, of which one may be long. */
const MOST_PARTS = 256;
const MOST_WHOLE = 2 * 1024 * 1024;

/** Thrown where a log cannot be gone on with from the store. */
export class Missing extends Error {}

/** What of this server's own logs an authority has still to be sent, each in its order. */
export class Unshipped {
  readonly #records: RecordStore;
  readonly #trees: LogTrees;
  readonly #parts: PartStore;
  readonly #logs;
  readonly #size;
  readonly #known;
  readonly #next = new Map<TenantNo, number>();
  /** The checkpoint that each log is sent up to: a newer one comes once it is reached, so that each is compared. */
  readonly #target = new Map<TenantNo, SignedCheckpoint>();

  /** `name`: by which its place in each log is kept. */
  constructor(db: Connection, name: string) {
    this.#records = recordStore(db);
    this.#trees = new LogTrees(db);
    this.#parts = partStore(db);
    // One look for all of them. Those of other servers have no key here.
    this.#logs = db.prepare<[], OwnLog>(
      `SELECT no, tenants.id AS tenant, origin, public AS publicKey, checkpoints.size AS stated FROM checkpoints
       JOIN log_keys ON log_keys.tenant_no = checkpoints.tenant_no JOIN tenants ON no = checkpoints.tenant_no
       WHERE instr(tenants.id, '${SET_ASIDE}') = 0 ORDER BY no`,
    );
    this.#size = db.prepare<[number], number>('SELECT size FROM logs WHERE tenant_no = ?').pluck();
    this.#known = db.prepare<[string], { no: TenantNo; next: number }>(
      'SELECT tenant_no AS no, next FROM sink_cursors WHERE sink = ?',
    );
    for (const { no, next } of this.#known.all(name)) this.#next.set(no, next);
  }

  /** Logs that have stated more than was sent. */
  waiting(): OwnLog[] {
    return this.#logs.all().filter(({ no, stated }) => stated > this.#nextOf(no));
  }

  /** How many records of these wait that are stated. */
  count(logs: readonly OwnLog[]): number {
    return logs.reduce((sum, { no, stated }) => sum + stated - this.#nextOf(no), 0);
  }

  /** How many records are still to be sent, stated or not. */
  lag(): number {
    return this.#logs
      .all()
      .reduce((sum, { no }) => sum + Math.max(0, (this.#size.get(no) ?? 0) - this.#nextOf(no)), 0);
  }

  moved(no: TenantNo, next: number): void {
    this.#next.set(no, next);
  }

  /** What was not taken is tried again with what the log states then. */
  notTaken(no: TenantNo): void {
    this.#target.delete(no);
  }

  #nextOf(no: TenantNo): number {
    return this.#next.get(no) ?? 0;
  }

  /** The next part of a log; where it is not known how much was sent, a question. Throws `Missing`, `Damaged`. */
  next({ no, tenant, origin, publicKey }: OwnLog): Outgoing | undefined {
    const checkpoint = this.#targetOf(no);
    if (!checkpoint) return undefined;
    const asked = {
      tenant,
      key: keyOf(origin, publicKey),
      checkpoint: checkpoint.source,
      size: checkpoint.size,
    };
    const from = this.#next.get(no);
    if (from === undefined) return { ...asked, from: 0, entries: [], proof: [], parts: [] };
    const { entries, parts } = this.#packed(no, from, checkpoint.size);
    const tiles = this.#trees.tilesOf(no);
    const proof = consistencyProof(tiles, from + entries.length, checkpoint.size);
    return { ...asked, from, entries, proof, parts };
  }

  #targetOf(no: TenantNo): SignedCheckpoint | undefined {
    const target = this.#target.get(no);
    if (target && target.size > this.#nextOf(no)) return target;
    const newest = this.#trees.checkpoint(no);
    if (newest) this.#target.set(no, newest);
    return newest;
  }

  #packed(no: TenantNo, from: number, end: number): { entries: Uint8Array[]; parts: SharedPart[] } {
    const { records } = this.#records.read(no, from, Math.min(MOST_ENTRIES, end - from), MOST_BYTES);
    const entries: Uint8Array[] = [];
    const parts = new Map<string, string>();
    let bytes = 0;
    for (const record of records) {
      if (record.index !== from + entries.length) break;
      const named = this.#partsOf(no, record, parts);
      bytes += record.body.length + named.reduce((sum, [, { length }]) => sum + length, 0);
      if (entries.length > 0 && (bytes > MOST_WHOLE || parts.size + named.length > MOST_PARTS)) break;
      for (const [digest, body] of named) parts.set(digest, body);
      entries.push(record.body);
    }
    if (entries.length === 0) throw new Missing(this.#whyMissing(no, from));
    return { entries, parts: [...parts].map(([digest, body]) => ({ digest, body })) };
  }

  /** Those that are not on their way already. What is not to be had is shown to be missing by whoever verifies. */
  #partsOf(no: TenantNo, { body }: StoredRecord, known: ReadonlyMap<string, string>): [string, string][] {
    if (!Buffer.from(body.buffer, body.byteOffset, body.byteLength).includes('"input_parts"')) return [];
    return [...new Set(Object.values(partsOf(body)))].flatMap((digest): [string, string][] => {
      const text = known.has(digest) ? undefined : this.#parts.find(no, digest);
      return text === undefined ? [] : [[digest, text]];
    });
  }

  #whyMissing(no: TenantNo, from: number): string {
    const state = this.#records.volume(no, from)?.state ?? 'here';
    return `record ${from} ${state === 'here' ? 'is damaged' : `was ${state} before it was sent`}`;
  }
}

const keyOf = (origin: string, raw: Uint8Array): string =>
  vkeyOf(
    verifierKey(
      origin,
      SignatureType.ED25519,
      createPublicKey({
        format: 'jwk',
        key: { kty: 'OKP', crv: 'Ed25519', x: Buffer.from(raw).toString('base64url') },
      }),
    ),
  );
