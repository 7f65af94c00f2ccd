import { ServiceError } from '../../errors.ts';
import type { Share } from '../../storage/revisions/rows.ts';
import type { RevisionStore } from '../../storage/revisions/store.ts';
import type { Tenant } from '../../tenancy/tenants.ts';
import { Turns } from '../../turns.ts';
import type { Replayable, ReplayTask } from './replays.ts';
import type { Shadows } from './shadows.ts';

interface Trial {
  readonly as: 'shadow' | 'staged';
  readonly revision: string;
  readonly share: string;
  readonly only: string;
}

export interface TrialsOptions<Bundle extends Replayable> {
  readonly store: RevisionStore;
  readonly shadows: Shadows;
  /** A kept revision as this server would run it. */
  readonly bundleOf: (tenant: Tenant, revision: string) => Promise<Bundle>;
  /** The active one, with a package of a kept one in the place of its own. */
  readonly withPackage: (tenant: Tenant, revision: string, only: string) => Promise<Bundle>;
  readonly activeOf: (tenant: Tenant) => Bundle | undefined;
  readonly stage: (tenant: Tenant, staged: { bundle: Bundle; share: Share } | undefined) => void;
  readonly limitsOf: (tenant: Tenant) => ReplayTask['limits'];
  /** Writes what is tried, with its record. Answers whether it was done. */
  readonly write: (tenant: Tenant, caller: string, trial: Trial) => Promise<boolean>;
}

/** What is tried of a tenant's policy: a shadow, which is asked beside, and a staged revision, which decides for some. */
export class Trials<Bundle extends Replayable> {
  readonly #options: TrialsOptions<Bundle>;
  readonly #turns = new Turns<Tenant['id']>();

  constructor(options: TrialsOptions<Bundle>) {
    this.#options = options;
  }

  /**
   * An empty revision ends it. `only`: a package of it alone; empty: all. Throws `not_found`, `invalid_request` for a
   * package that there is not, and `conflict` for what is active.
   */
  shadow(tenant: Tenant, caller: string, revision: string, only: string): Promise<void> {
    return this.#try(tenant, caller, { as: 'shadow', revision, share: '', only });
  }

  /** The same for a share of the tenant's principals. */
  stage(tenant: Tenant, caller: string, revision: string, share: Share): Promise<void> {
    const text = revision === '' ? '' : JSON.stringify(share);
    return this.#try(tenant, caller, { as: 'staged', revision, share: text, only: '' });
  }

  #try(tenant: Tenant, caller: string, trial: Trial): Promise<void> {
    return this.#turns.run(tenant.id, async () => {
      // Before it is written: what is kept as a shadow is asked.
      using _place =
        trial.as === 'shadow' && trial.revision !== '' ? this.#options.shadows.reserve(tenant) : undefined;
      if (trial.revision !== '') await this.#bundleOf(tenant, trial.revision, trial.only);
      if (!(await this.#options.write(tenant, caller, trial)))
        throw new ServiceError('conflict', `${trial.revision} is active already, or kept no more`);
      await this.#follow(tenant);
    });
  }

  #bundleOf(tenant: Tenant, revision: string, only: string): Promise<Bundle> {
    const { bundleOf, withPackage } = this.#options;
    return only === '' ? bundleOf(tenant, revision) : withPackage(tenant, revision, only);
  }

  /** Brings what is tried into line with the store: at the start, and after another revision became active. */
  follow(tenant: Tenant): Promise<void> {
    return this.#turns.run(tenant.id, () => this.#follow(tenant));
  }

  async #follow(tenant: Tenant): Promise<void> {
    const { store, shadows, bundleOf, activeOf, stage, limitsOf } = this.#options;
    const { shadow, shadowPackage: only, staged, share } = store.policy(tenant.no);
    stage(
      tenant,
      staged === ''
        ? undefined
        : { bundle: await bundleOf(tenant, staged), share: JSON.parse(share) as Share },
    );
    if (shadow === '') return shadows.end(tenant);
    const named = { revision: shadow, only };
    try {
      const candidate = await this.#bundleOf(tenant, shadow, only);
      shadows.follow(tenant, { named, candidate, base: activeOf(tenant), limits: limitsOf(tenant) });
    } catch (error) {
      // Beside another active one a package may be of no use any more.
      if (only !== '') shadows.end(tenant);
      throw error;
    }
  }
}
