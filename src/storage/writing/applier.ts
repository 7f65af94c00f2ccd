import { describe } from '../../errors.ts';
import { ChangeLog, changeBody } from '../changes/commands.ts';
import { reachOf } from '../changes/reach.ts';
import { type CommandName, type Commands, prepareCommands } from '../commands.ts';
import type { Connection } from '../database.ts';
import { faultIn, reportFault } from '../faults.ts';
import { LogAppender } from '../log/appender.ts';
import type { TenantNo } from '../rows.ts';
import type { Identity } from '../watch/identity.ts';
import type { Marks } from '../watch/marks.ts';
import type { Pulse } from '../watch/pulse.ts';
import type { Quotas } from '../watch/quotas.ts';
import { type Need, needOf, type Room } from '../watch/room.ts';
import { type Batch, type BatchDone, type ItemError, madeBy } from './protocol.ts';
import { anew, doneOf, prepare, refuse, type Unit, type Work } from './work.ts';

interface Parts {
  readonly db: Connection;
  readonly marks: Marks;
  readonly identity: Identity;
  readonly room: Room;
  readonly quotas: Quotas;
  readonly pulse: Pulse;
  /** How many bytes may wait to be filed. */
  readonly journalBytes: number;
}

/** How long records wait to be filed where nothing else asks for it, and how many transactions a second it may take. */
const WAIT_MS = 10_000;
const MOST_FILINGS = 4;

/** Commands that come often, and take away nothing that was there. Of all others it is taken that they may. */
const ENDS_NOTHING: ReadonlySet<string> = new Set<CommandName>([
  'insertGrant',
  'openTask',
  'openApproval',
  'useApproval',
  'expireApproval',
  'grantApproved',
  'takeOnce',
  'countUsage',
  'keepApprovalKey',
  'putUses',
  'putMemberKey',
  'putCheckpoint',
  'putCosigned',
  'putCursors',
  'grownLogs',
  'logBytes',
  'beginReceived',
  'stateReceived',
  'refuseReceived',
  'reachReceived',
]);

/** Applies batches: each is one transaction, all of it durable or none, but for what its tenants may not write. */
export class Applier {
  readonly #parts: Parts;
  readonly #commands: Commands;
  readonly #log: LogAppender;
  readonly #changes: ChangeLog;
  readonly #begin;
  readonly #commit;
  readonly #rollback;
  readonly #allChanges;
  readonly #countChange;
  /** Set by the first command of a transaction. */
  #changesBefore: number | undefined;
  /** Whether a command of this transaction may have ended something. */
  #mayEnd = false;

  constructor(parts: Parts) {
    this.#parts = parts;
    const { db, pulse, journalBytes } = parts;
    this.#log = new LogAppender(db, () => pulse.beat(), journalBytes);
    this.#changes = new ChangeLog(db);
    this.#commands = prepareCommands(db, this.#log, this.#changes);
    this.#begin = db.prepare('BEGIN IMMEDIATE');
    this.#commit = db.prepare('COMMIT');
    this.#rollback = db.prepare('ROLLBACK');
    this.#allChanges = db.prepare<[], number>('SELECT total_changes()').pluck();
    this.#countChange = db.prepare('UPDATE store SET changes = changes + 1');
  }

  /** Whether a log ends as it should and is the one it stated to be. Throws what `faultIn` tells. */
  check(no: TenantNo): void {
    this.#log.check(no);
  }

  apply(batch: Batch): BatchDone {
    const { identity } = this.#parts;
    let works = batch.map(prepare);
    const lost = identity.beforeCommit();
    if (lost === '') works = this.#applied(works);
    const gone = lost || identity.afterCommit();
    if (gone !== '') for (const work of works) refuse(work, gone);
    return works.map(doneOf);
  }

  #applied(works: Work[]): Work[] {
    const need = leastOf(works);
    if (need === 'ordinary') for (const work of works) this.#admit(work);
    try {
      this.#parts.room.within(need, () => this.#transaction(() => works.forEach((work) => this.#item(work))));
      return works;
    } catch {
      const again = works.map(anew);
      for (const work of again) this.#apart(work);
      return again;
    }
  }

  /** What the store has no room for, or its tenant no right to, is not tried. */
  #admit(work: Work): void {
    const { quotas, room } = this.#parts;
    const { heads } = work.source;
    const full = room.problem;
    const now = performance.now();
    const take = (no: TenantNo, bytes: number): ItemError | undefined =>
      full === '' ? untried(quotas.take(no, bytes, () => this.#held(no), now)) : untried({ detail: full });
    if (work.item.whole) {
      if (needOfWhole(work) !== 'ordinary') return;
      const shared = work.item.shared?.parts.reduce((sum, { body }) => sum + body.length, 0) ?? 0;
      const { count } = work.item.parcel;
      if (count === 0) return;
      const error = take(heads.tenantNo(0) as TenantNo, heads.end(count - 1) + shared);
      if (error) work.errors.set(0, error);
      return;
    }
    for (const [at, unit] of work.units.entries()) {
      const { record } = unit;
      if (needIn(work, unit) !== 'ordinary') continue;
      const error =
        record === undefined
          ? full !== '' && untried({ detail: full })
          : take(heads.tenantNo(record) as TenantNo, heads.end(record) - heads.start(record));
      if (error) work.errors.set(at, error);
    }
  }

  /** What cannot be read is found out by the transaction. */
  #held(no: TenantNo): number {
    try {
      return this.#log.bytes(no);
    } catch {
      return 0;
    }
  }

  #item(work: Work): void {
    const { shared, whole } = work.item;
    if (whole && work.errors.size > 0) return;
    const { count } = work.item.parcel;
    for (const part of shared?.parts ?? []) if (shared) this.#log.share(shared.tenantNo, part, count);
    for (const [at, unit] of work.units.entries()) if (!work.errors.has(at)) this.#unit(unit, at, work);
  }

  #unit({ command, record }: Unit, at: number, { source, indexes, values, versions }: Work): void {
    if (command) {
      const { name, args } = command;
      this.#changesBefore ??= this.#allChanges.get();
      this.#mayEnd ||= !ENDS_NOTHING.has(madeBy(command));
      const value = this.#commands[name as keyof Commands](args as never);
      values.set(at, value);
      if (value === undefined) return;
      if (reachOf(name) === 'tenant') {
        const { tenantNo } = args as { tenantNo: TenantNo };
        versions.set(at, this.#changes.add(tenantNo, name, changeBody(name, args as object)));
      }
    }
    if (record !== undefined) indexes[at] = this.#log.add(source.heads, record, source.bodies);
  }

  /** What fails must not take its neighbours down: each again, in a transaction of its own. */
  #apart(work: Work): void {
    const attempt = (at: number, need: Need, apply: () => void): void => {
      if (work.errors.has(at)) return;
      try {
        this.#parts.room.within(need, () => this.#transaction(apply));
      } catch (error) {
        work.indexes.fill(-1, at, work.item.whole ? undefined : at + 1);
        work.errors.set(at, { detail: describe(error) });
      }
    };
    if (work.item.whole) attempt(0, needOfWhole(work), () => this.#item(work));
    else
      for (const [at, unit] of work.units.entries())
        attempt(at, needIn(work, unit), () => this.#unit(unit, at, work));
  }

  /** Takes up what an earlier server left, and files it. */
  begin(): void {
    try {
      this.#log.begin();
    } catch (error) {
      const fault = faultIn(error);
      if (!fault) throw error;
      reportFault(fault);
    }
    this.#file(Number.POSITIVE_INFINITY);
  }

  /** Brings the counts of logs up to where they end, and files what has waited; called each second. */
  flush(): void {
    this.#count();
    this.#file(performance.now() - WAIT_MS, MOST_FILINGS);
  }

  /** The same, of all; called at the end. */
  finish(): void {
    this.#count();
    this.#file(Number.POSITIVE_INFINITY);
  }

  #count(): void {
    if (!this.#log.isBehind || this.#parts.identity.problem !== '') return;
    try {
      this.#begin.run();
      const records = this.#log.flush();
      this.#commit.run();
      this.#parts.marks.committed(records, 0);
    } catch (error) {
      this.#failed(error);
    }
  }

  /** Files what came before a moment. What it takes is given back, so it has the room of what must not fail. */
  #file(before: number, most = Number.POSITIVE_INFINITY): void {
    const { identity, room, pulse } = this.#parts;
    try {
      for (let done = 0; done < most && this.#log.waits(before) && identity.problem === ''; done += 1) {
        pulse.beat();
        room.within('ending', () => this.#transaction(() => this.#log.file(before)));
      }
    } catch {
      // It was told, and is tried again.
    }
  }

  #transaction(work: () => void): void {
    this.#begin.run();
    let [records, isChanged] = [0, false];
    try {
      this.#changesBefore = undefined;
      this.#mayEnd = false;
      work();
      isChanged = this.#changesBefore !== undefined && this.#allChanges.get() !== this.#changesBefore;
      if (isChanged) this.#countChange.run();
      records = this.#log.write();
      this.#commit.run();
      this.#log.committed();
    } catch (error) {
      // What was committed is not to be done again.
      if (!this.#failed(error)) throw error;
    }
    if (this.#mayEnd) this.#parts.pulse.ended();
    this.#parts.marks.committed(records, isChanged ? 1 : 0);
  }

  /** Ends a transaction that failed. Answers whether it was committed all the same. */
  #failed(error: unknown): boolean {
    const { db } = this.#parts;
    const told = (cause: unknown): false => {
      const fault = faultIn(cause);
      if (fault) reportFault(fault);
      return false;
    };
    told(error);
    try {
      if (db.inTransaction) this.#rollback.run();
    } catch (cause) {
      // The next transaction does not begin then, and says so.
      told(cause);
    }
    try {
      return this.#log.forget();
    } catch (cause) {
      return told(cause);
    }
  }
}

const untried = (error: ItemError | undefined): ItemError | undefined =>
  error && { ...error, isUntried: true };

const needIn = ({ source }: Work, { command, record }: Unit): Need => needOf(command, source.heads, record);

/** What is appended all or none has the right of what it is all made of. */
const needOfWhole = (work: Work): Need => leastOf([work]);

/** What all of a batch needs at least: mostly it holds something ordinary, and is looked at no further. */
function leastOf(works: readonly Work[]): Need {
  let least: Need = 'ending';
  for (const work of works)
    for (const unit of work.units) {
      const need = needIn(work, unit);
      if (need === 'ordinary') return need;
      if (need === 'administration') least = need;
    }
  return least;
}
