import { channel } from 'node:diagnostics_channel';
import type { Clock, Random } from '../../effects.ts';
import { ServiceError } from '../../errors.ts';
import type { TenantId } from '../../ids.ts';
import { parseCheckpoint } from '../../merkle/checkpoint.ts';
import type { Frontier } from '../../merkle/frontier.ts';
import { HASH_BYTES, type Hash } from '../../merkle/hashes.ts';
import { TILE_WIDTH, type TileHashes } from '../../merkle/tree.ts';
import { Damaged, reportFault } from '../../storage/faults.ts';
import type { RecordStore } from '../../storage/log/records.ts';
import type { LogTrees } from '../../storage/log/tree.ts';
import type { ReceivedRow, ReceivedStore } from '../../storage/received/store.ts';
import type { RecordRow, SharedPart, TenantNo } from '../../storage/rows.ts';
import type { Writer } from '../../storage/writer.ts';
import { Turns } from '../../turns.ts';
import { ownRecord } from '../own.ts';
import type { Entry } from './entry.ts';
import { type Continued, continued, refuseBackwards, type Stated, statedBy, Unfit } from './fitting.ts';
import { LogRefusals } from './refusals.ts';
import { checkBounds, entriesOf, nodeIn, type Owner, provenParts, type Shipment } from './shipment.ts';

/** Published for each part of a log that was kept, or refused: LogNews. */
export const receivedChannel = channel('mandate:log.received');

export interface LogNews {
  readonly tenant: TenantId;
  readonly node: string;
  /** How many entries are new; 0 where it was refused. */
  readonly entries: number;
  /** Why it was refused; empty where it was kept. */
  readonly refusal: string;
}

export interface ReceiverOptions {
  readonly store: ReceivedStore;
  readonly records: Pick<RecordStore, 'size'>;
  readonly trees: Pick<LogTrees, 'edge' | 'tilesOf'>;
  readonly writer: Pick<Writer, 'run' | 'append' | 'parcel' | 'appendAll'>;
  /** Why there is no room for more; empty while there is. */
  readonly full: () => string;
  /** What this server's own part of each log is called. */
  readonly node: string;
  readonly clock: Clock;
  readonly monotonic: Clock;
  readonly random: Random;
}

/** How soon it may be tried again where there is no room. */
const FULL_MS = 10_000;

/**
 * Keeps other servers' logs: each continues where it ended, under a checkpoint that the log's own key has signed, or
 * is refused. What was kept stays as it was. The key is the one that the log was first seen with: whoever has it is the
 * server of that name, whatever connection it comes over.
 */
export class Receiver {
  readonly #options: ReceiverOptions;
  readonly #turns = new Turns<string>();
  /** Of their trees, as the store has them. */
  readonly #edges = new Map<TenantNo, Frontier>();
  readonly #refusals: LogRefusals;

  constructor(options: ReceiverOptions) {
    this.#options = options;
    this.#refusals = new LogRefusals(options);
  }

  /**
   * Keeps what is new of a shipment; resolves once it is durable with how many entries are kept: the next index. Throws
   * `invalid_request`, `log_refused` for what does not fit, `resource_exhausted` and `unavailable` as the writer does.
   */
  async take(owner: Owner, operator: string, shipment: Shipment): Promise<number> {
    checkBounds(shipment);
    // Before anything is known of it, it is refused without a trace: nobody fills a log with that.
    const node = nodeIn(owner, shipment.checkpoint);
    return this.#turns.run(`${owner.no} ${node}`, async () => {
      try {
        return await this.#kept(owner, node, operator, shipment);
      } catch (cause) {
        if (cause instanceof Damaged) {
          reportFault(cause.fault);
          throw new ServiceError('unavailable', 'the store cannot be read', { cause, detail: cause.message });
        }
        if (!(cause instanceof Unfit)) throw cause;
        const { message: why } = cause;
        receivedChannel.publish({ tenant: owner.id, node, entries: 0, refusal: why } satisfies LogNews);
        await this.#refusals.note(owner, node, operator, cause);
        throw new ServiceError('log_refused', `the log of ${node} is not kept here: ${why}`, { cause });
      }
    });
  }

  /** Logs of which something was refused a moment ago, a line each. */
  problems(): string[] {
    return this.#refusals.lines();
  }

  async #kept(owner: Owner, node: string, operator: string, shipment: Shipment): Promise<number> {
    const stated = statedBy(shipment.key, shipment.checkpoint);
    const row = await this.#rowOf(owner, node, operator, stated);
    const frontier = this.#edgeOf(row.no);
    const before = row.note === '' ? undefined : parseCheckpoint(row.note);
    const { from, entries } = shipment;
    refuseBackwards(stated, frontier.size, before);
    // A gap is filled first; whoever asks learns where it begins.
    if (entries.length === 0 || from > frontier.size) return frontier.size;
    const full = this.#options.full();
    if (full !== '')
      throw new ServiceError('resource_exhausted', `the authority takes no records now: ${full}`, {
        retryAfterMs: FULL_MS,
      });
    const leaf = leavesOf(this.#options.trees.tilesOf(row.no), frontier.size);
    const next = { from, entries, checkpoint: stated, proof: shipment.proof };
    const grown = continued({ frontier, leaf, stated: before }, next);
    if (from + entries.length < frontier.size) return frontier.size;
    const { fresh } = grown;
    const read = entriesOf(row.no, frontier.size, fresh);
    await this.#write(row, read, provenParts(shipment, read), stated, grown);
    const news = { tenant: owner.id, node, entries: fresh.length, refusal: '' };
    receivedChannel.publish(news satisfies LogNews);
    return grown.frontier.size;
  }

  /** What is known of the log, which begins to be kept if it is new. Throws `Unfit`. */
  async #rowOf(owner: Owner, node: string, operator: string, stated: Stated): Promise<ReceivedRow> {
    const { store, writer, clock } = this.#options;
    if (node === this.#options.node) throw new Unfit('name', 'this server itself is called so');
    const known = store.find(owner.no, node);
    if (!known) {
      const { origin, vkey: key } = stated;
      const log = { tenantNo: owner.no, node, origin, key, operator, at: clock() };
      const { value } = await writer.run('beginReceived', log, this.#begun(owner, log));
      if (value === undefined)
        throw new ServiceError('resource_exhausted', 'as many logs are kept here as there may be');
    }
    const row = known ?? store.find(owner.no, node);
    if (!row) throw new ServiceError('unavailable', 'the store cannot be read');
    if (row.key !== stated.vkey)
      throw new Unfit(
        'key',
        'it is signed by another key than when it was first seen: a second server is called so, or it lost its disk',
      );
    if (row.operator !== operator)
      throw new Unfit(
        'sender',
        `it comes from ${operator}, and came from ${row.operator} when it was first seen`,
      );
    return row;
  }

  /** Throws `Damaged`. */
  #edgeOf(no: TenantNo): Frontier {
    const { trees, records } = this.#options;
    const size = records.size(no);
    const known = this.#edges.get(no);
    if (known?.size === size) return known;
    const { frontier } = trees.edge(no, size);
    this.#edges.set(no, frontier);
    return frontier;
  }

  /**
   * In this order, mostly in one commit. What a crash leaves: a statement whose entries are still to come, or entries whose
   * checkpoint is; both are what the next shipment goes on from.
   */
  async #write(
    row: ReceivedRow,
    entries: readonly Entry[],
    parts: readonly SharedPart[],
    stated: Stated,
    { frontier, fresh, leaves }: Continued,
  ): Promise<void> {
    const { writer, clock } = this.#options;
    const { no } = row;
    const parcel = writer.parcel();
    for (const [at, { finder }] of entries.entries()) {
      const [body, leaf] = [fresh[at], leaves[at]];
      if (body && leaf) parcel.addHashed(finder, body, leaf);
    }
    const reached = frontier.size >= row.stated;
    const isNews = reached && stated.size > row.stated;
    this.#edges.delete(no);
    const { size, source: note } = stated;
    const at = clock();
    const written: Promise<unknown>[] = [];
    if (isNews) written.push(writer.run('stateReceived', { no, size, note, at }));
    if (entries.length > 0) written.push(writer.appendAll(parcel, no, parts));
    if (frontier.size === size) written.push(writer.run('reachReceived', { no, size, note, at }));
    await Promise.all(written);
    this.#edges.set(no, frontier);
  }

  #begun(
    { no }: Owner,
    { node, origin, key, operator }: Record<'node' | 'origin' | 'key' | 'operator', string>,
  ): RecordRow {
    const { clock, random } = this.#options;
    const resource = { type: 'log', id: origin };
    const deed = { tenantNo: no, kind: 'server', action: 'log.receive', resource, caller: operator } as const;
    return ownRecord({ ...deed, detail: { node, key } }, clock, random);
  }
}

/** Hashes of entries that are kept, a tile read at a time. */
function leavesOf(tiles: TileHashes, size: number): (index: number) => Hash {
  let [tile, hashes]: [number, Uint8Array] = [-1, new Uint8Array()];
  return (index) => {
    const at = Math.floor(index / TILE_WIDTH);
    const place = index % TILE_WIDTH;
    if (at !== tile)
      [tile, hashes] = [at, tiles.read(0, at * TILE_WIDTH, Math.min(size, (at + 1) * TILE_WIDTH))];
    return hashes.subarray(place * HASH_BYTES, (place + 1) * HASH_BYTES);
  };
}
