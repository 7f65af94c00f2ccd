import { describe, ServiceError } from '../../errors.ts';
import { reportFault } from '../../storage/faults.ts';
import type { IssuerRow, IssuerStore } from '../../storage/issuers.ts';
import type { TenantNo } from '../../storage/rows.ts';
import type { Writer } from '../../storage/writer.ts';
import { parseIssuer, type TrustedIssuer } from '../manifest.ts';
import type { Tenant } from '../tenants.ts';
import type { Doubt } from './doubt.ts';
import type { Recording } from './principals.ts';

/** Of a tenant, as in a manifest. */
const MOST_ISSUERS = 16;

/** Trusted issuers that the API has put, of each tenant apart. */
export class RegisteredIssuers {
  readonly #of = new Map<TenantNo, Map<string, TrustedIssuer>>();
  readonly #trusting = new Map<string, Set<TenantNo>>();

  of(tenantNo: TenantNo): ReadonlyMap<string, TrustedIssuer> {
    return this.#own(tenantNo);
  }

  /** The tenants that have put the issuer. */
  trusting(issuer: string): ReadonlySet<TenantNo> {
    return this.#trusting.get(issuer) ?? NOBODY;
  }

  /** Takes what is stored for what is so. */
  load(tenantNo: TenantNo, rows: readonly IssuerRow[]): void {
    for (const issuer of this.#own(tenantNo).keys())
      if (!rows.some((row) => row.issuer === issuer)) this.put(tenantNo, issuer, undefined);
    for (const row of rows) this.put(tenantNo, row.issuer, read(tenantNo, row));
  }

  put(tenantNo: TenantNo, issuer: string, trusted: TrustedIssuer | undefined): void {
    if (!trusted) {
      this.#own(tenantNo).delete(issuer);
      const left = this.#trusting.get(issuer);
      left?.delete(tenantNo);
      if (left?.size === 0) this.#trusting.delete(issuer);
      return;
    }
    this.#own(tenantNo).set(issuer, trusted);
    this.#trusting.set(issuer, (this.#trusting.get(issuer) ?? new Set()).add(tenantNo));
  }

  #own(tenantNo: TenantNo): Map<string, TrustedIssuer> {
    const known = this.#of.get(tenantNo);
    if (known) return known;
    const own = new Map<string, TrustedIssuer>();
    this.#of.set(tenantNo, own);
    return own;
  }
}

const NOBODY: ReadonlySet<TenantNo> = new Set();

/** One that is damaged is trusted with nothing, and is told of. */
function read(tenantNo: TenantNo, { issuer, body }: IssuerRow): TrustedIssuer | undefined {
  try {
    return parseIssuer(JSON.parse(body));
  } catch (cause) {
    reportFault({ text: `the issuer ${issuer} is damaged: ${describe(cause)}`, lasts: true, tenantNo });
    return undefined;
  }
}

/** Changes of the issuers that a tenant trusts. Each is one transaction with its record. */
export class IssuerChanges {
  readonly #registered: RegisteredIssuers;
  readonly #store: IssuerStore;
  readonly #writer: Pick<Writer, 'run'>;
  readonly #record: Recording;
  readonly #doubt: Doubt;
  readonly #current: (tenant: Tenant) => Tenant;
  /** Those of the tenant's principals and manifest, too. */
  readonly #inTurn: <T>(tenantNo: TenantNo, work: () => Promise<T>) => Promise<T>;

  constructor(options: {
    registered: RegisteredIssuers;
    store: IssuerStore;
    writer: Pick<Writer, 'run'>;
    record: Recording;
    doubt: Doubt;
    current: (tenant: Tenant) => Tenant;
    inTurn: <T>(tenantNo: TenantNo, work: () => Promise<T>) => Promise<T>;
  }) {
    this.#registered = options.registered;
    this.#store = options.store;
    this.#writer = options.writer;
    this.#record = options.record;
    this.#doubt = options.doubt;
    this.#current = options.current;
    this.#inTurn = options.inTurn;
  }

  /** Those that were put, and that the manifest does not declare itself. */
  of({ no, manifest }: Tenant): TrustedIssuer[] {
    const declared = new Set(manifest.issuers.map(({ issuer }) => issuer));
    return [...this.#registered.of(no).values()].filter(({ issuer }) => !declared.has(issuer));
  }

  registered(tenantNo: TenantNo): ReadonlyMap<string, TrustedIssuer> {
    return this.#registered.of(tenantNo);
  }

  /** Throws `managed_by_manifest` or `invalid_request`. */
  put(asked: Tenant, caller: string, trusted: TrustedIssuer): Promise<void> {
    const { issuer } = trusted;
    return this.#inTurn(asked.no, async () => {
      const tenant = this.#current(asked);
      checkOurs(tenant, issuer);
      const before = this.#registered.of(tenant.no).get(issuer) ?? null;
      const record = this.#record(tenant, caller, 'issuer.put', undefined, {
        issuer,
        before,
        after: trusted,
      });
      const args = { tenantNo: tenant.no, issuer, body: JSON.stringify(trusted), most: MOST_ISSUERS };
      const { value } = await this.#answered(tenant, this.#writer.run('putIssuer', args, record));
      if (value === undefined)
        throw new ServiceError(
          'invalid_request',
          `a tenant trusts at most ${MOST_ISSUERS} issuers by the API`,
        );
      this.#registered.put(tenant.no, issuer, trusted);
    });
  }

  /** Its tokens are refused from then on. Throws `managed_by_manifest` or `not_found`. */
  remove(asked: Tenant, caller: string, issuer: string): Promise<void> {
    return this.#inTurn(asked.no, async () => {
      const tenant = this.#current(asked);
      checkOurs(tenant, issuer);
      await this.#remove(tenant, caller, issuer);
    });
  }

  async #remove(tenant: Tenant, caller: string, issuer: string): Promise<void> {
    const before = this.#registered.of(tenant.no).get(issuer) ?? null;
    const record = this.#record(tenant, caller, 'issuer.remove', undefined, { issuer, before, after: null });
    // Its tokens are refused from now on, whatever comes of the command: what is so is learnt after it.
    this.#registered.put(tenant.no, issuer, undefined);
    const args = { tenantNo: tenant.no, issuer };
    const { value } = await this.#answered(tenant, this.#writer.run('removeIssuer', args, record));
    if (value === undefined) throw new ServiceError('not_found', 'the tenant does not trust that issuer');
  }

  /** What was not answered may come to be: it is learnt once the store can tell. */
  async #answered<T>({ no }: Tenant, answer: Promise<T>): Promise<T> {
    try {
      return await answer;
    } catch (error) {
      this.#doubt.settle(() => this.learn(no));
      throw error;
    }
  }

  /** Learns what is stored. Where the store cannot tell, which it has reported, what is known stays. */
  learn(tenantNo: TenantNo): void {
    try {
      this.#registered.load(tenantNo, this.#store.list(tenantNo));
    } catch (error) {
      if (!(error instanceof ServiceError && error.code === 'unavailable')) throw error;
    }
  }

  /** What the manifest declares is its own from then on, and goes with it. */
  async giveWay(tenant: Tenant): Promise<void> {
    for (const { issuer } of tenant.manifest.issuers)
      if (this.#registered.of(tenant.no).has(issuer)) await this.#remove(tenant, 'manifest', issuer);
  }
}

function checkOurs({ manifest }: Tenant, issuer: string): void {
  if (manifest.issuers.some((each) => each.issuer === issuer))
    throw new ServiceError(
      'managed_by_manifest',
      `${issuer} is declared in the tenant's manifest, and is changed there`,
    );
}
