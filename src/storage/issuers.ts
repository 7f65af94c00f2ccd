import type { Connection } from './database.ts';
import type { TenantNo } from './rows.ts';

/** A trusted issuer that the API has put. `body`: JSON, see `tenancy/registry/issuers.ts`. */
export interface IssuerRow {
  readonly issuer: string;
  readonly body: string;
}

export interface IssuerStore {
  list(tenantNo: TenantNo): IssuerRow[];
}

export interface IssuerCommands {
  /** Creates or replaces it. `undefined` where the tenant would have more than `most`. */
  readonly putIssuer: (args: IssuerRow & { tenantNo: TenantNo; most: number }) => boolean | undefined;
  /** `undefined` where there is none. */
  readonly removeIssuer: (args: { tenantNo: TenantNo; issuer: string }) => boolean | undefined;
}

export function issuerStore(db: Connection): IssuerStore {
  const list = db.prepare<[number], IssuerRow>(
    'SELECT issuer, body FROM issuers WHERE tenant_no = ? ORDER BY issuer',
  );
  return { list: (no) => list.all(no) };
}

export function prepareIssuers(db: Connection): IssuerCommands {
  const others = db
    .prepare<[number, string], number>('SELECT count(*) FROM issuers WHERE tenant_no = ? AND issuer <> ?')
    .pluck();
  const put = db.prepare(
    'INSERT INTO issuers (tenant_no, issuer, body) VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET body = excluded.body',
  );
  const remove = db.prepare('DELETE FROM issuers WHERE tenant_no = ? AND issuer = ?');
  return {
    putIssuer: ({ tenantNo, issuer, body, most }) => {
      if ((others.get(tenantNo, issuer) ?? 0) >= most) return undefined;
      return put.run(tenantNo, issuer, body).changes === 1;
    },
    removeIssuer: ({ tenantNo, issuer }) => remove.run(tenantNo, issuer).changes === 1 || undefined,
  };
}
