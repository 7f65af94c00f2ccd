import path from 'node:path';
import type { Connection } from '../database.ts';
import { faultIn, reportFault } from '../faults.ts';
import { Damages, lookAbove, lookAt, type RunRow } from '../log/soundness.ts';
import { LogTrees } from '../log/tree.ts';
import { RUN_RECORDS, recordId, recordIndex, recordTenant, SET_ASIDE, type TenantNo } from '../rows.ts';
import { checkVolumes, volumesOf } from '../volume/checking.ts';
import { type VolumeRow, Volumes } from '../volume/volumes.ts';

/** How long it may take before the store is said to be open. Most that is small is read whole by then. */
const START_MS = 300;
/** How long it looks at a time, and how often where nothing is committed, and where something is. */
const SLICE_MS = 2;
const IDLE_MS = 50;
const BUSY_MS = 1_000;
/** How long it rests when it has read all. */
const REST_MS = 3_600_000;
/** How many places of a log are tried behind one that cannot be read. */
const TRIES = 64;

/**
 * Reads what nobody has asked for: first of each log whether it ends as it should and is the one it stated to be, then
 * every record, whether it is the one that its hash is of, whether all are there, and whether the hashes above are of
 * them. What is not is reported. Rot is found while there is still a copy that has none, and who changes the store does
 * not wait for an auditor to notice.
 */
export class Scrub {
  readonly #check: (no: TenantNo) => void;
  readonly #isBusy: () => boolean;
  readonly #next;
  readonly #size;
  readonly #trees: LogTrees;
  readonly #volumes: Volumes;
  readonly #folder: string;
  readonly #listed: () => VolumeRow[];
  #checking: ReturnType<typeof checkVolumes> | undefined;
  /** Logs that are still to be looked at. */
  #logs: TenantNo[] = [];
  /** Those of which the operator knows. */
  #setAside: ReadonlySet<TenantNo> = new Set();
  readonly #damages = new Damages(reportFault);
  /** The number of the last log. */
  #last = 0;
  readonly #tenants;
  /** Of the records that were read last. */
  #at = 0;
  #expected = 0;
  /** Places one after the other that could not be read. */
  #tries = 0;

  /** `check` throws what `faultIn` tells; `isBusy` answers whether anything was committed a moment ago. */
  constructor(db: Connection, check: (no: TenantNo) => void, isBusy: () => boolean) {
    this.#check = check;
    this.#isBusy = isBusy;
    this.#trees = new LogTrees(db);
    this.#volumes = new Volumes(db);
    this.#folder = path.dirname(db.name);
    this.#listed = () => volumesOf(db);
    this.#next = db.prepare<[number], RunRow>(
      'SELECT id, heads, bodies FROM runs WHERE id >= ? ORDER BY id LIMIT 1',
    );
    this.#size = db.prepare<[number], number>('SELECT size FROM logs WHERE tenant_no = ?').pluck();
    this.#tenants = db.prepare<[], { no: TenantNo; isKnown: number }>(
      `SELECT no, id LIKE '%${SET_ASIDE}%' AS isKnown FROM tenants`,
    );
    this.#list();
  }

  /** For the next pass. */
  #list(): void {
    const all = contained(() => this.#tenants.all()) ?? [];
    this.#setAside = new Set(all.flatMap(({ no, isKnown }) => (isKnown ? [no] : [])));
    this.#logs = all.flatMap(({ no, isKnown }) => (isKnown ? [] : [no]));
    this.#last = all.reduce((last, { no }) => Math.max(last, no), 0);
  }

  /** Before the store is said to be open. The rest follows behind. */
  begin(): void {
    const isDone = this.#look(START_MS);
    this.#later(isDone ? REST_MS : IDLE_MS, 0);
  }

  #later(ms: number, waited: number): void {
    setTimeout(() => {
      if (ms === IDLE_MS && this.#isBusy() && waited < BUSY_MS) return this.#later(IDLE_MS, waited + IDLE_MS);
      this.#later(this.#look(SLICE_MS) ? REST_MS : IDLE_MS, 0);
    }, ms).unref();
  }

  /** Answers whether all was read. */
  #look(ms: number): boolean {
    const end = performance.now() + ms;
    while (performance.now() < end) {
      const no = this.#logs.pop();
      if (no !== undefined) contained(() => this.#check(no));
      else if (this.#checking ? !this.#volume() : !this.#run() && !this.#volume()) {
        this.#damages.flush();
        this.#list();
        return true;
      }
    }
    this.#damages.flush();
    return false;
  }

  /** The next run. Answers false after the last one. */
  #run(): boolean {
    const { row, isUnreadable } = this.#attempt();
    if (isUnreadable) return this.#passBy();
    this.#tries = 0;
    if (!row) return this.#end();
    const no = recordTenant(row.id);
    this.#at = row.id + 1;
    if (this.#setAside.has(no)) this.#at = recordId((no + 1) as TenantNo, 0);
    else {
      // A log begins at its index 0, and none of its records is left out.
      const expected = recordTenant(this.#expected) === no ? this.#expected : recordId(no, 0);
      this.#expected = lookAt(row, expected, this.#damages, this.#volumes);
      contained(() => lookAbove(this.#trees, this.#expected, reportFault));
    }
    return true;
  }

  /** A little more of the volumes, as files. Answers false after the last one. */
  #volume(): boolean {
    this.#checking ??= checkVolumes(this.#folder, contained(() => this.#listed()) ?? []);
    const { done, value: fault } = this.#checking.next();
    if (fault) reportFault(fault);
    if (done) this.#checking = undefined;
    return !done;
  }

  /** A run begins wherever a tile does, and a log at its index 0: there it goes on behind what cannot be read. */
  #passBy(): boolean {
    const no = recordTenant(this.#at);
    const index = recordIndex(this.#at);
    const next = index - (index % RUN_RECORDS) + RUN_RECORDS;
    const size = contained(() => this.#size.get(no)) ?? 0;
    this.#tries += 1;
    const isLeft = next > size || this.#tries === TRIES;
    if (isLeft) this.#tries = 0;
    this.#at = isLeft ? recordId((no + 1) as TenantNo, 0) : recordId(no, next);
    return recordTenant(this.#at) <= this.#last || this.#end();
  }

  #end(): false {
    this.#at = this.#expected = 0;
    return false;
  }

  #attempt(): { row: RunRow | undefined; isUnreadable: boolean } {
    try {
      return { row: this.#next.get(this.#at), isUnreadable: false };
    } catch (error) {
      const fault = faultIn(error);
      if (!fault) throw error;
      reportFault(fault);
      return { row: undefined, isUnreadable: true };
    }
  }
}

function contained<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    const fault = faultIn(error);
    if (!fault) throw error;
    reportFault(fault);
    return undefined;
  }
}
