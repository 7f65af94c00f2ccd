import { ServiceError } from '../../errors.ts';
import type { RevisionRow } from '../../storage/revisions/rows.ts';
import type { RevisionStore } from '../../storage/revisions/store.ts';
import type { Tenant } from '../../tenancy/tenants.ts';
import type { Bundle } from '../bundle.ts';
import type { Compiler } from '../compiler.ts';
import type { Policies } from '../policies.ts';
import type { PolicySources } from '../sources.ts';
import { sourcesIn } from './contents.ts';
import { differingPackages, withPackage } from './packages.ts';

export interface KeptOptions {
  readonly store: RevisionStore;
  readonly policies: Pick<Policies, 'bundleOf'>;
  readonly compiler: Compiler;
}

/** The revisions that are kept of tenants, as this server would run them. */
export class KeptRevisions {
  readonly #options: KeptOptions;

  constructor(options: KeptOptions) {
    this.#options = options;
  }

  /** Throws `not_found`. */
  find(tenant: Tenant, revision: string): RevisionRow {
    const row = this.#options.store.find(tenant.no, revision);
    if (!row) throw notKept(revision);
    return row;
  }

  /** What a revision was made from; undefined where it is not kept. */
  async sourcesOf(tenant: Tenant, revision: string): Promise<PolicySources | undefined> {
    const row = this.#options.store.find(tenant.no, revision);
    return row && this.sourcesIn(tenant, row);
  }

  sourcesIn(tenant: Tenant, { contents }: Pick<RevisionRow, 'contents'>): Promise<PolicySources> {
    return sourcesIn(tenant.id, contents, (digest) => this.#options.store.file(tenant.no, digest));
  }

  /** Throws `not_found`. */
  async bundleOf(tenant: Tenant, revision: string): Promise<Bundle> {
    const { policies, compiler } = this.#options;
    const active = policies.bundleOf(tenant);
    if (active?.revision === revision) return active;
    return compiler.compile(await this.sourcesIn(tenant, this.find(tenant, revision)));
  }

  /**
   * What is active, with a package of a kept revision in the place of its own. Throws `not_found`, `invalid_request`, and
   * `policy_invalid` where they do not fit together.
   */
  async withPackage(tenant: Tenant, revision: string, only: string): Promise<Bundle> {
    const [base, candidate] = await this.#besideActive(tenant, revision);
    return this.#options.compiler.compile(withPackage(base, candidate, only));
  }

  /** In which packages a kept revision is another one than what is active. Throws `not_found`. */
  async differing(tenant: Tenant, revision: string): Promise<string[]> {
    return differingPackages(...(await this.#besideActive(tenant, revision)));
  }

  async #besideActive(tenant: Tenant, revision: string): Promise<[PolicySources, PolicySources]> {
    const { active } = this.#options.store.policy(tenant.no);
    const [base, candidate] = [this.find(tenant, active), this.find(tenant, revision)];
    return [await this.sourcesIn(tenant, base), await this.sourcesIn(tenant, candidate)];
  }
}

const notKept = (revision: string): ServiceError =>
  new ServiceError('not_found', revision === '' ? 'nothing is active' : `no revision ${revision} is kept`);
