import type { Connection } from '../../storage/database.ts';
import { type RecordStore, recordStore } from '../../storage/log/records.ts';
import { RECEIVED, SET_ASIDE, type TenantNo } from '../../storage/rows.ts';
import type { SinkSettings } from './settings.ts';

/** A record on its way out. */
export interface Outgoing {
  readonly tenant: string;
  /** What its log is called; empty before it has a name. */
  readonly origin: string;
  readonly index: number;
  /** JSON. */
  readonly body: Uint8Array;
}

/** Records, and where each log they are of is to be gone on with once they are delivered. */
export interface Parcelled {
  readonly records: readonly Outgoing[];
  readonly cursors: readonly Cursor[];
}

export interface Cursor {
  readonly tenantNo: TenantNo;
  readonly next: number;
}

/** How much of one log is taken before the next has its turn. */
const EACH = 512;
const EACH_BYTES = 256 * 1024;

interface Log {
  readonly no: TenantNo;
  readonly tenant: string;
  readonly origin: string | null;
  readonly size: number;
}

/** What of the logs a sink has still to be sent, in the order of each log. */
export class Backlog {
  readonly #settings: SinkSettings;
  readonly #records: RecordStore;
  readonly #logs;
  readonly #known;
  readonly #next = new Map<TenantNo, number>();
  /** The log that had its turn last. */
  #last = 0;

  constructor(db: Connection, settings: SinkSettings) {
    this.#settings = settings;
    this.#records = recordStore(db);
    // Follows the logs by a second at most, and is one look for all of them.
    this.#logs = db.prepare<[], Log>(
      `SELECT logs.tenant_no AS no, tenants.id AS tenant, origin, size FROM logs
       JOIN tenants ON tenants.no = logs.tenant_no LEFT JOIN log_keys ON log_keys.tenant_no = logs.tenant_no
       ORDER BY logs.tenant_no`,
    );
    this.#known = db.prepare<[string], Cursor>(
      'SELECT tenant_no AS tenantNo, next FROM sink_cursors WHERE sink = ?',
    );
  }

  /** Reads where it stands. Answers the places of a sink that is new and begins with what comes from now on. */
  begin(): readonly Cursor[] {
    const kept = this.#known.all(this.#settings.name);
    for (const { tenantNo, next } of kept) this.#next.set(tenantNo, next);
    if (kept.length > 0 || this.#settings.from === 'beginning') return [];
    // The store's own mark, so that a server without any log yet is not new again.
    const first = [{ tenantNo: 0 as TenantNo, next: 1 }];
    return [...first, ...this.#wanted().map(({ no, size }) => ({ tenantNo: no, next: size }))];
  }

  moved(cursors: readonly Cursor[]): void {
    for (const { tenantNo, next } of cursors) this.#next.set(tenantNo, next);
  }

  /** How many records are still to be sent, filtered ones too. */
  lag(): number {
    return this.#wanted().reduce((sum, { no, size }) => sum + Math.max(0, size - this.#nextOf(no)), 0);
  }

  /** The next ones, of every log that has some in turn; none where all is sent. */
  take(mostRecords: number, mostBytes: number): Parcelled {
    const records: Outgoing[] = [];
    const cursors: Cursor[] = [];
    let bytes = 0;
    for (const { no, tenant, origin, size } of this.#inTurn()) {
      const from = this.#nextOf(no);
      if (from >= size) continue;
      if (records.length >= mostRecords || bytes >= mostBytes) break;
      const limit = Math.min(EACH, mostRecords - records.length, size - from);
      const page = this.#records.read(no, from, limit, Math.min(EACH_BYTES, mostBytes - bytes));
      for (const { index, body } of page.records) {
        if (!this.#isWanted(body)) continue;
        records.push({ tenant, origin: origin ?? '', index, body });
        bytes += body.length;
      }
      cursors.push({ tenantNo: no, next: page.next });
      this.#last = no;
    }
    return { records, cursors };
  }

  #nextOf(no: TenantNo): number {
    return this.#next.get(no) ?? 0;
  }

  #wanted(): Log[] {
    const { tenants } = this.#settings;
    // Each server sends what it made itself.
    const logs = this.#logs.all().filter(({ tenant }) => !tenant.includes(RECEIVED));
    if (tenants.includes('*')) return logs;
    // Of a log that was set aside, too, what could be read and was not sent yet.
    return logs.filter(({ tenant }) => tenants.includes(tenant.split(SET_ASIDE, 1)[0] ?? ''));
  }

  /** From the one after that which had its turn last. */
  #inTurn(): Log[] {
    const logs = this.#wanted();
    const at = logs.findIndex(({ no }) => no > this.#last);
    return at < 0 ? logs : [...logs.slice(at), ...logs.slice(0, at)];
  }

  #isWanted(body: Uint8Array): boolean {
    const { kinds, outcomes } = this.#settings;
    if (!kinds && !outcomes) return true;
    const { kind, outcome } = JSON.parse(Buffer.from(body).toString('utf8')) as {
      kind: string;
      outcome: string;
    };
    return (kinds?.includes(kind) ?? true) && (outcomes?.includes(outcome) ?? true);
  }
}
