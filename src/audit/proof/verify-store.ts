import path from 'node:path';
import type { Policy } from '../../merkle/policy.ts';
import type { Connection } from '../../storage/database.ts';
import { Runs } from '../../storage/log/runs.ts';
import { RECEIVED, RUN_RECORDS, type TenantNo } from '../../storage/rows.ts';
import { checkVolumes } from '../../storage/volume/checking.ts';
import { volumeStore } from '../../storage/volume/store.ts';
import { StoreRows } from './store-rows.ts';
import { LogVerification, originIn, type Verdict } from './verification.ts';

export interface StoreVerification {
  readonly policy: Policy;
  /** Of one tenant; of all, if it is left out. */
  readonly tenant?: string | undefined;
  /** Checkpoints that were kept elsewhere, as signed notes, by what each is called. */
  readonly kept: readonly { readonly what: string; readonly source: string }[];
  /** Hears how far it is, in entries. */
  readonly progress: (done: number, total: number) => void;
}

interface LogRow {
  readonly no: TenantNo;
  readonly tenant: string;
  readonly origin: string | null;
  readonly note: string | null;
  /** With what witnesses signed. */
  readonly cosigned: string | null;
  /** Of another server's log: how many entries it stated that are to come to it. */
  readonly stated: number | null;
}

/** No hash. */
const NONE = new Uint8Array();

/** How many entries are read between two words of progress. */
const STEP = 16 * RUN_RECORDS;

/** Verifies the logs of a store, running or not: what is read is what stands there at one moment. */
export function* verifyStore(
  db: Connection,
  options: StoreVerification,
): Generator<Verdict & { tenant: string }> {
  const { policy, tenant, kept, progress } = options;
  db.exec('BEGIN');
  try {
    const runs = new Runs(db);
    const [folder, volumes] = [path.dirname(db.name), volumeStore(db)];
    const logs = db
      .prepare<[], LogRow>(
        `SELECT tenants.no, tenants.id AS tenant, coalesce(log_keys.origin, others.origin) AS origin, checkpoints.note,
           cosigned.note AS cosigned, stated FROM tenants
         LEFT JOIN ${othersIn(db)} AS others ON others.no = tenants.no
         LEFT JOIN cosigned ON cosigned.tenant_no = tenants.no
         LEFT JOIN log_keys ON log_keys.tenant_no = tenants.no
         LEFT JOIN checkpoints ON checkpoints.tenant_no = tenants.no ORDER BY tenants.id`,
      )
      .all()
      .filter((log) => tenant === undefined || log.tenant.split(RECEIVED, 1)[0] === tenant)
      .map((log) => {
        const rows = new StoreRows(db, log.no);
        return { ...log, rows, size: rows.end() };
      });
    const tileHash = db
      .prepare<[number, number, number], Uint8Array>(
        'SELECT hash FROM tiles WHERE tenant_no = ? AND level = ? AND at = ?',
      )
      .pluck();
    const total = logs.reduce((sum, { size }) => sum + size, 0);
    let before = 0;
    const compared = new Set<unknown>();
    for (const { no, tenant: id, origin, note, cosigned, stated, size, rows } of logs) {
      const keys = policy.logs.filter(({ name }) => name === origin);
      if (size === 0 && note === null && keys.length === 0) continue;
      const log = new LogVerification(origin ?? id, (level, at) => tileHash.get(no, level, at) ?? NONE);
      if (stated !== null && stated > size)
        log.note(`its server stated ${stated} entries: ${stated - size} are on their way, or lost with it`);
      if (keys.length === 0)
        log[id === tenant ? 'fault' : 'note']('no key of it was given, so nothing is proved');
      else if (note === null) log.fault('it has no checkpoint, so nothing is proved');
      else expectOwn(log, note, cosigned, policy);
      for (const each of kept)
        if (origin !== null && originIn(each.source) === origin) {
          compared.add(each);
          log.expect(each.source, policy, each.what);
        }
      for (const fault of rows.faults(note, keys)) log.fault(fault);
      for (const fault of checkVolumes(folder, volumes.list(no))) if (fault) log.fault(fault.text);
      for (let from = 0; from < size; from += STEP) {
        read(runs, no, from, Math.min(size, from + STEP), log, rows);
        progress(before + log.entries, total);
      }
      before += size;
      yield { ...log.verdict(), tenant: id };
    }
    for (const { what, source } of kept.filter((each) => !compared.has(each)))
      yield unfound(originIn(source), `${what} was compared with nothing: no log here is called so`);
    // A log that is gone, or goes by another name now, is not one that is well.
    const origins = new Set(logs.map(({ origin }) => origin));
    for (const { name } of policy.logs)
      if (tenant === undefined && !origins.has(name))
        yield unfound(name, 'the store has no log of this name');
  } finally {
    // Nothing was written. To commit fails where damage was met.
    db.exec('ROLLBACK');
  }
}

/** A store of an older version has none of other servers. */
const othersIn = (db: Connection): string =>
  db.prepare("SELECT 1 FROM sqlite_schema WHERE name = 'received'").get()
    ? 'received'
    : '(SELECT 0 AS no, NULL AS origin, NULL AS stated)';

/** Of its own checkpoints: the one that witnesses have signed is the one that is shown, and proves where they are asked for. */
function expectOwn(log: LogVerification, note: string, cosigned: string | null, policy: Policy): void {
  if (cosigned === null) return void log.expect(note, policy, 'its checkpoint');
  log.expect(cosigned, policy, 'its witnessed checkpoint');
  // What came since is to be the log's own at least; that does not prove it to who asks for witnesses.
  log.expect(note, { ...policy, quorum: undefined }, 'its checkpoint', policy.quorum === undefined);
}

function unfound(origin: string, fault: string): Verdict & { tenant: string } {
  const log = new LogVerification(origin);
  log.fault(fault);
  return { ...log.verdict(), tenant: origin };
}

function read(
  runs: Runs,
  no: TenantNo,
  from: number,
  end: number,
  log: LogVerification,
  rows: StoreRows,
): void {
  for (const { run, next } of runs.from(no, from, end)) {
    const last = Math.min(next, end);
    for (let at = log.entries; at < last; at += 1) {
      if (!run || at < run.first) {
        log.missing();
        continue;
      }
      const { heads, first } = run;
      const leaf = heads.leaves(at - first, at - first + 1);
      const body = runs.stored(no, run, at);
      if (body === 'archived' || body === 'removed') log.gone(body, leaf);
      else if (typeof body === 'object') log.entry(body, leaf);
      else log.missing(leaf);
      if (typeof body !== 'object') continue;
      for (const digest of rows.missingParts(body))
        log.fault(`what entry ${at} has in common with others, under ${digest}, is missing`);
    }
  }
  // Where there is more damage than is looked at one by one.
  while (log.entries < end) log.missing();
}
