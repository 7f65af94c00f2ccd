import type { Policy } from '../../merkle/policy.ts';
import type { Connection } from '../../storage/database.ts';
import { Runs } from '../../storage/log/runs.ts';
import { RUN_RECORDS, type TenantNo } from '../../storage/rows.ts';
import { LogVerification, type Verdict } from './verification.ts';

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
}

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
    const logs = db
      .prepare<[], LogRow>(
        `SELECT tenants.no, tenants.id AS tenant, origin, note FROM tenants
         LEFT JOIN log_keys ON log_keys.tenant_no = tenants.no
         LEFT JOIN checkpoints ON checkpoints.tenant_no = tenants.no ORDER BY tenants.id`,
      )
      .all()
      .filter((log) => tenant === undefined || log.tenant === tenant)
      .map((log) => ({ ...log, size: runs.size(log.no) }));
    const tileHash = db
      .prepare<[number, number], Uint8Array>(
        'SELECT hash FROM tiles WHERE tenant_no = ? AND level = 1 AND at = ?',
      )
      .pluck();
    const total = logs.reduce((sum, { size }) => sum + size, 0);
    let before = 0;
    for (const { no, tenant: id, origin, note, size } of logs) {
      if (size === 0 && note === null) continue;
      const log = new LogVerification(origin ?? id, (at) => tileHash.get(no, at));
      if (!policy.logs.some(({ name }) => name === origin))
        log.note('no key of it was given, so nothing is proved');
      else if (note === null) log.note('it has no checkpoint, so nothing is proved');
      else log.expect(note, policy, 'its checkpoint');
      for (const { what, source } of kept)
        if (source.startsWith(`${origin}\n`)) log.expect(source, policy, what);
      for (let from = 0; from < size; from += STEP) {
        read(runs, no, from, Math.min(size, from + STEP), log);
        progress(before + log.entries, total);
      }
      before += size;
      yield { ...log.verdict(), tenant: id };
    }
    // A log that is gone, or goes by another name now, is not one that is well.
    const origins = new Set(logs.map(({ origin }) => origin));
    for (const { name } of policy.logs)
      if (tenant === undefined && !origins.has(name)) yield { ...gone(name), tenant: name };
  } finally {
    db.exec('COMMIT');
  }
}

function gone(origin: string): Verdict {
  const log = new LogVerification(origin);
  log.fault('the store has no log of this name');
  return log.verdict();
}

function read(runs: Runs, no: TenantNo, from: number, end: number, log: LogVerification): void {
  for (const { run, next } of runs.from(no, from, end)) {
    const last = Math.min(next, end);
    for (let at = log.entries; at < last; at += 1) {
      if (!run || at < run.first) {
        log.missing();
        continue;
      }
      const { heads, bodies } = run;
      const place = at - run.first;
      const leaf = heads.leaves(place, place + 1);
      const body = bodies?.subarray(heads.start(place), heads.end(place));
      if (body) log.entry(body, leaf);
      else log.missing(leaf);
    }
  }
  // Where there is more damage than is looked at one by one.
  while (log.entries < end) log.missing();
}
