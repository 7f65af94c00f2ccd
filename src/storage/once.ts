import type { Connection } from './database.ts';
import type { TenantNo } from './rows.ts';

export interface OnceCommands {
  /**
   * Takes a name that is good once, and is remembered until it could not be used any more; `undefined` where it was taken.
   * `name`: 32 bytes. Times in milliseconds since the epoch.
   */
  readonly takeOnce: (args: {
    tenantNo: TenantNo;
    name: Uint8Array;
    until: number;
    at: number;
  }) => boolean | undefined;
}

/** How many that are over are forgotten with each that is taken: more than one, so that they do not pile up. */
const FORGOTTEN = 4;

export function prepareOnce(db: Connection): OnceCommands {
  const take = db.prepare(
    'INSERT INTO once (tenant_no, name, until) VALUES (?, ?, ?) ON CONFLICT DO NOTHING',
  );
  const forget = db.prepare(
    `DELETE FROM once WHERE (tenant_no, name) IN
       (SELECT tenant_no, name FROM once WHERE tenant_no = ? AND until < ? ORDER BY until LIMIT ${FORGOTTEN})`,
  );
  return {
    takeOnce: ({ tenantNo, name, until, at }) => {
      forget.run(tenantNo, at);
      return take.run(tenantNo, name, until).changes === 1 || undefined;
    },
  };
}
