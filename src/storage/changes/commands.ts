import { createHash } from 'node:crypto';
import { ServiceError } from '../../errors.ts';
import type { Commands } from '../commands.ts';
import type { Connection } from '../database.ts';
import { faultIn } from '../faults.ts';
import { prepareErased } from '../member-keys.ts';
import { recordId, type TenantNo } from '../rows.ts';
import { decodeArgs, encodeArgs, hasSecrets, withoutSecrets } from './body.ts';
import { type Copied, prepareCopy } from './copy.ts';
import { unknownOf } from './forms.ts';
import { isChange, reachOf } from './reach.ts';

/** One change of a tenant's control state, as those get it who follow. */
export interface Change {
  /** One more than that of the change before; the first is 1. */
  readonly version: number;
  /** Of the command. */
  readonly name: string;
  /** What it was given, but for the number that its tenant has here: see body.ts. */
  readonly body: string;
  /** Of the position that it leads to, where whoever tells of it knows that. */
  readonly chain?: Uint8Array | undefined;
}

/** Where a tenant's control state is. */
export interface Position {
  /** 0 before the first change; -1 while a copy of it is on its way in. */
  readonly version: number;
  /** SHA-256 over the one before and the change: two that are equal have had the same changes. Empty before the first. */
  readonly chain: Uint8Array;
}

export interface ChangeCommands {
  /**
   * Makes a change that was made elsewhere, and answers what its command did. `undefined` also for one that was made before.
   * Throws where changes before it are missing, and for what this version does not know.
   */
  readonly applyChange: (args: Change & { readonly tenantNo: TenantNo }) => unknown;
  /** What the tenant had is gone; nothing of it is served until the copy is whole. */
  readonly beginCopy: (args: { tenantNo: TenantNo }) => true;
  /** Throws for a table or a column that this version does not know, where it says something. */
  readonly putCopied: (args: Copied & { readonly tenantNo: TenantNo }) => number;
  readonly endCopy: (args: Position & { readonly tenantNo: TenantNo }) => true;
}

/** How many changes are kept for those who follow, and how much of them: beyond it they begin with a copy. */
const MAX_KEPT = 4_096;
const MAX_BYTES = 64 * 1024 * 1024;
/** The largest that is kept: a policy that was pushed is smaller. */
const MAX_BODY = 8 * 1024 * 1024;
/** How many of the oldest go with each new one: more than one, so that large ones make room. */
const REMOVED_EACH = 4;

interface Kept extends Position {
  readonly oldest: number;
  readonly bytes: number;
}

const NONE: Kept = { version: 0, chain: new Uint8Array(), oldest: 1, bytes: 0 };

/** Numbers the changes of each tenant, and keeps the newest. */
export class ChangeLog {
  readonly #find;
  readonly #put;
  readonly #insert;
  readonly #sizeOf;
  readonly #remove;

  constructor(db: Connection) {
    this.#find = db.prepare<[number], Kept>(
      'SELECT version, chain, oldest, bytes FROM versions WHERE tenant_no = ?',
    );
    this.#put = db.prepare<[object]>(`
      INSERT INTO versions (tenant_no, version, chain, oldest, bytes) VALUES (@no, @version, @chain, @oldest, @bytes)
      ON CONFLICT DO UPDATE SET version = excluded.version, chain = excluded.chain, oldest = excluded.oldest,
        bytes = excluded.bytes`);
    this.#insert = db.prepare('INSERT INTO changes (id, name, body, chain) VALUES (?, ?, ?, ?)');
    this.#sizeOf = db.prepare<[number], number>('SELECT length(body) FROM changes WHERE id = ?').pluck();
    this.#remove = db.prepare('DELETE FROM changes WHERE id = ?');
  }

  at(no: TenantNo): Position {
    return this.#find.get(no) ?? NONE;
  }

  /** Takes note of a command that was done; answers the version that it made. */
  add(no: TenantNo, name: string, body: string): number {
    const kept = this.#find.get(no) ?? NONE;
    const version = kept.version + 1;
    const chain = chained(kept.chain, version, name, body);
    let { oldest } = kept;
    let { bytes } = kept;
    // Whoever has not heard of one that is left out begins with a copy, as of one that is kept no more.
    if (body.length <= MAX_BODY) {
      this.#insert.run(recordId(no, version), name, body, chain);
      bytes += body.length;
    }
    for (let removed = 0; removed < REMOVED_EACH && oldest < version; removed += 1) {
      if (bytes <= MAX_BYTES && version - oldest < MAX_KEPT) break;
      const id = recordId(no, oldest);
      bytes -= this.#sizeOf.get(id) ?? 0;
      this.#remove.run(id);
      oldest += 1;
    }
    this.#put.run({ no, version, chain, oldest, bytes });
    return version;
  }

  /** From now on it is where another is; nothing is kept of what led there. */
  set(no: TenantNo, { version, chain }: Position): void {
    const kept = this.#find.get(no);
    for (let each = kept?.oldest ?? 1; each <= (kept?.version ?? 0); each += 1)
      this.#remove.run(recordId(no, each));
    this.#put.run({ no, version, chain, oldest: version + 1, bytes: 0 });
  }
}

function chained(before: Uint8Array, version: number, name: string, body: string): Uint8Array {
  return createHash('sha256').update(before).update(`${version}\n${name}\n`).update(body).digest();
}

/** All that a command is given, for those who make it too: its tenant's number is another one elsewhere. */
export function orderedBody(args: object): string {
  const { tenantNo: _no, ...rest } = args as { tenantNo?: TenantNo };
  return encodeArgs(rest);
}

/** What those are told of a command who follow: nothing of what they are not to know. */
export function changeBody(name: string, args: object): string {
  if (reachOf(name) !== 'tenant') return UNTOLD;
  return orderedBody(withoutSecrets(name, args));
}

const UNTOLD = '{}';

/** It is not made in part: what is not known here may be what narrows it. */
const unknownHere = (what: string): Error =>
  new Error(`${what} is no change that this version knows; upgrade Mandate here`);

/** Whether those who follow are told all of it. */
const isTellable = (name: string): boolean => reachOf(name) === 'tenant' && !hasSecrets(name);

export function prepareChanges(db: Connection, log: ChangeLog, commands: () => Commands): ChangeCommands {
  const copy = prepareCopy(db);
  const erased = prepareErased(db);
  const begin = db.prepare('SAVEPOINT change');
  const keep = db.prepare('RELEASE change');
  const undo = db.prepare('ROLLBACK TO change');
  /**
   * It has its place whatever comes of it. What is wrong with the command itself is so everywhere: it does nothing, and what
   * follows goes on. What is wrong with this store is nobody else's: it is thrown, and tried again.
   */
  const attempt = (run: () => unknown): unknown => {
    begin.run();
    try {
      const value = run();
      keep.run();
      return value;
    } catch (error) {
      if (faultIn(error) || error instanceof ServiceError) throw error;
      undo.run();
      keep.run();
      return undefined;
    }
  };
  return {
    applyChange: ({ tenantNo, version, name, body, chain }) => {
      const { version: at, chain: before } = log.at(tenantNo);
      if (at < 0) throw new Error(`change ${version} comes before the copy is whole`);
      if (version <= at) return undefined;
      if (version !== at + 1) throw new Error(`change ${version} does not follow version ${at}`);
      if (!isChange(name)) throw unknownHere(name);
      if (chain && Buffer.compare(chained(before, version, name, body), chain) !== 0)
        throw new Error(`change ${version} is of another history than what is here`);
      // A place in the order, and no more.
      if (reachOf(name) === 'authority' && body === UNTOLD) {
        log.add(tenantNo, name, UNTOLD);
        return undefined;
      }
      const args = decodeArgs(body) as object;
      const unknown = unknownOf(name, args);
      if (unknown !== undefined) throw unknownHere(`${name}.${unknown}`);
      const run = commands()[name as keyof Commands] as (args: object) => unknown;
      const value = attempt(() => run({ ...args, tenantNo }));
      log.add(tenantNo, name, isTellable(name) ? body : changeBody(name, args));
      return value;
    },
    beginCopy: ({ tenantNo }) => {
      copy.clear(tenantNo);
      log.set(tenantNo, { version: -1, chain: new Uint8Array() });
      return true;
    },
    putCopied: ({ tenantNo, ...copied }) => copy.put(tenantNo, copied),
    endCopy: ({ tenantNo, ...position }) => {
      erased(tenantNo);
      log.set(tenantNo, position);
      return true;
    },
  };
}
