import type { Connection } from '../database.ts';
import type { LogAppender } from '../log/appender.ts';
import { checkTenantNo, RECEIVED, type TenantNo } from '../rows.ts';

/** The commands that are about logs of other servers. Their entries and checkpoints go the way of all others. */
export interface ReceivedCommands {
  /** Begins to keep a log; `undefined` where the tenant has one of that name, or there is no room for more logs. */
  readonly beginReceived: (args: {
    tenantNo: TenantNo;
    node: string;
    origin: string;
    /** Its verifier key, by which it is known from now on. */
    key: string;
    operator: string;
    at: number;
  }) => TenantNo | undefined;
  /** What the log stated: its entries are to come to that next. `undefined` where it has stated more. */
  readonly stateReceived: (args: {
    no: TenantNo;
    size: number;
    note: string;
    at: number;
  }) => boolean | undefined;
  /** Its entries have come to a checkpoint. `undefined` where there is a newer one. */
  readonly reachReceived: (args: {
    no: TenantNo;
    size: number;
    note: string;
    at: number;
  }) => boolean | undefined;
  /** Something was sent that did not fit. */
  readonly refuseReceived: (args: { no: TenantNo; why: string; at: number }) => boolean;
  /**
   * The log goes by another name from now on, so that one begins anew under its old one. Answers that name; `undefined`
   * where there is no such log.
   */
  readonly renewReceived: (args: { tenantNo: TenantNo; node: string }) => string | undefined;
}

/** Of the numbers that logs have, own and received ones, so many are for received ones; and how many of those one tenant has. */
const MOST_RECEIVED = 2 ** 16;
const MOST_OF_TENANT = 4_096;

/** How often one that was reached is kept for volumes: eight of them are made in the shortest time that records are kept. */
const KEPT_MS = 3 * 3_600_000;

export function prepareReceived(db: Connection, log: Pick<LogAppender, 'stated'>): ReceivedCommands {
  const count = db.prepare<[], number>('SELECT count(*) FROM received').pluck();
  const countOf = db.prepare<[number], number>('SELECT count(*) FROM received WHERE tenant_no = ?').pluck();
  const hasRoom = (no: TenantNo): boolean =>
    (count.get() ?? 0) < MOST_RECEIVED && (countOf.get(no) ?? 0) < MOST_OF_TENANT;
  const find = db
    .prepare<[number, string], TenantNo>('SELECT no FROM received WHERE tenant_no = ? AND node = ?')
    .pluck();
  const insertLog = db.prepare(
    `INSERT INTO tenants (id) SELECT id || '${RECEIVED}' || ? FROM tenants WHERE no = ?`,
  );
  const insert = db.prepare(
    `INSERT INTO received (no, tenant_no, node, origin, key, operator, begun_at, stated, note, heard_at)
     VALUES (@no, @tenantNo, @node, @origin, @key, @operator, @at, 0, '', @at)`,
  );
  const state = db.prepare(
    'UPDATE received SET stated = @size, note = @note, heard_at = @at WHERE no = @no AND stated <= @size',
  );
  const putCheckpoint = db.prepare(
    `INSERT INTO checkpoints (tenant_no, size, note) VALUES (@no, @size, @note)
     ON CONFLICT DO UPDATE SET size = excluded.size, note = excluded.note WHERE excluded.size > size`,
  );
  const keep = db.prepare(
    `INSERT INTO reached (no, size, note, at) SELECT @no, @size, @note, @at
     WHERE NOT EXISTS (SELECT 1 FROM reached WHERE no = @no AND (size >= @size OR at > @at - ${KEPT_MS}))`,
  );
  const made = db.prepare(
    `DELETE FROM reached WHERE no = @no AND size <=
       (SELECT max(end_id) FROM volumes WHERE id >= @no << 36 AND id < (@no + 1) << 36) - (@no << 36)`,
  );
  const refuse = db.prepare('UPDATE received SET refusal = @why, refused_at = @at WHERE no = @no');
  const earlier = db
    .prepare<[number, string], number>('SELECT count(*) FROM received WHERE tenant_no = ? AND node GLOB ?')
    .pluck();
  const renameLog = db.prepare(
    `UPDATE tenants SET id = substr(id, 1, instr(id, '${RECEIVED}')) || ? WHERE no = ?`,
  );
  const rename = db.prepare('UPDATE received SET node = ? WHERE no = ?');
  return {
    beginReceived: (args) => {
      const { tenantNo, node } = args;
      if (find.get(tenantNo, node) !== undefined || !hasRoom(tenantNo)) return undefined;
      const { changes, lastInsertRowid } = insertLog.run(node, tenantNo);
      if (changes !== 1) return undefined;
      const no = checkTenantNo(Number(lastInsertRowid));
      insert.run({ ...args, no });
      return no;
    },
    stateReceived: (args) => state.run(args).changes === 1 || undefined,
    reachReceived: (args) => {
      log.stated(args.no, args.size);
      // Those that volumes have come to are of no use any more.
      if (keep.run(args).changes === 1) made.run({ no: args.no });
      return putCheckpoint.run(args).changes === 1 || undefined;
    },
    refuseReceived: (args) => refuse.run(args).changes === 1,
    renewReceived: ({ tenantNo, node }) => {
      const no = find.get(tenantNo, node);
      if (no === undefined) return undefined;
      const name = `${node}.${(earlier.get(tenantNo, `${node}.*`) ?? 0) + 1}`;
      renameLog.run(name, no);
      rename.run(name, no);
      return name;
    },
  };
}
